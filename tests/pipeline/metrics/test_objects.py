"""Average precision, against the COCO evaluation itself."""

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics.objects import MOST_FOUND, Matches, mask_overlaps, overlaps

CLASSES = 3


def boxes_of(rng, count, *, side=12):
    """Boxes on whole and half pixels, so small a field that many overlap."""
    corner = rng.integers(0, side, (count, 2)) / 2
    return np.concatenate([corner, corner + rng.integers(1, side, (count, 2)) / 2], axis=1)


def scene(seed, chips, *, most=8, scores=6):
    """Truth and findings of some chips: few scores, so that many are equal; some findings are true boxes."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(chips):
        true, near = boxes_of(rng, rng.integers(0, most)), boxes_of(rng, rng.integers(0, most))
        labels = rng.integers(1, CLASSES + 1, len(true))
        kept = rng.random(len(true)) < 0.7
        truth.append({"boxes": true, "labels": labels})
        all_boxes = np.concatenate([true[kept], near])
        found.append(
            {
                "boxes": all_boxes,
                "labels": np.concatenate([labels[kept], rng.integers(1, CLASSES + 1, len(near))]),
                "scores": rng.integers(1, scores, len(all_boxes)) / scores,
            }
        )
    return truth, found


def ours(truth, found, iou):
    parts = [Matches.of(t, f, classes=CLASSES, iou=iou) for t, f in zip(truth, found, strict=True)]
    return Matches.merged([Matches.empty(CLASSES), *parts])


def of_coco(truth, found, iou):
    """(K,) of the COCO evaluation at one IoU, all sizes of object, nan for -1."""

    def rows(chips):
        number = 0
        for image, chip in enumerate(chips, start=1):
            scores = chip.get("scores", np.ones(len(chip["labels"])))
            for box, label, score in zip(chip["boxes"], chip["labels"], scores, strict=True):
                number += 1
                (left, top), (width, height) = box[:2].tolist(), (box[2:] - box[:2]).tolist()
                place = {"bbox": [left, top, width, height], "area": width * height, "iscrowd": 0}
                yield {
                    "id": number,
                    "image_id": image,
                    "category_id": int(label),
                    "score": float(score),
                    **place,
                }

    def opened(chips):
        data = COCO()
        data.dataset = {
            "info": {},
            "images": [{"id": number} for number in range(1, len(truth) + 1)],
            "categories": [{"id": number} for number in range(1, CLASSES + 1)],
            "annotations": list(rows(chips)),
        }
        data.createIndex()
        return data

    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(opened(truth), opened(found), "bbox")
        judge.params.iouThrs = np.array([iou])
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][0, :, :, 0, -1].mean(axis=0)  # (recall, class) -> (class,)
    return np.where(precision < 0, np.nan, precision)


@settings(max_examples=60)
@given(seed=st.integers(0, 99_999), chips=st.integers(1, 5), iou=st.sampled_from([0.1, 0.5, 0.75, 1.0]))
def test_average_precision_is_that_of_the_coco_evaluation(seed, chips, iou):
    truth, found = scene(seed, chips)
    expected = of_coco(truth, found, iou)
    matches = ours(truth, found, iou)
    np.testing.assert_allclose(matches.average_precision(), expected, rtol=0, atol=1e-12)
    known = expected[~np.isnan(expected)]
    if known.size:
        assert matches.mean_average_precision() == pytest.approx(known.mean(), abs=1e-12)
    else:
        assert np.isnan(matches.mean_average_precision())


def test_the_least_certain_of_too_many_objects_in_a_chip_are_left_out():
    truth, found = scene(3, 2, most=2 * CLASSES * MOST_FOUND, scores=1000)
    assert max(np.bincount(chip["labels"]).max() for chip in found) > MOST_FOUND
    np.testing.assert_allclose(
        ours(truth, found, 0.5).average_precision(), of_coco(truth, found, 0.5), rtol=0, atol=1e-12
    )


@given(seed=st.integers(0, 99_999))
def test_the_parts_of_a_validation_set_add_up_to_the_whole(seed):
    truth, found = scene(seed, 6)
    whole = ours(truth, found, 0.5)
    halves = [ours(truth[:2], found[:2], 0.5), ours(truth[2:], found[2:], 0.5)]
    again = Matches.merged(halves)
    for name in ("labels", "scores", "right", "truths"):
        assert np.array_equal(getattr(whole, name), getattr(again, name))
    assert again.truths.sum() == sum(len(chip["labels"]) for chip in truth)


def test_objects_found_just_as_they_are_score_one_and_a_class_without_objects_has_no_figure():
    truth = {"boxes": [[0, 0, 4, 4], [6, 6, 9, 9]], "labels": [1, 3]}
    perfect = Matches.of(truth, {**truth, "scores": [0.9, 0.2]}, classes=CLASSES)
    assert np.array_equal(perfect.average_precision(), [1.0, np.nan, 1.0], equal_nan=True)
    nothing = Matches.of(truth, {"boxes": [], "labels": [], "scores": []}, classes=CLASSES)
    assert np.array_equal(nothing.average_precision(), [0.0, np.nan, 0.0], equal_nan=True)
    assert (perfect.mean_average_precision(), nothing.mean_average_precision()) == (1.0, 0.0)


def test_boxes_without_any_area_overlap_nothing():
    assert overlaps(np.array([[1.0, 1, 1, 1]]), np.array([[1.0, 1, 1, 1], [0, 0, 2, 2]])).tolist() == [[0, 0]]


@pytest.mark.parametrize(("labels", "iou"), [([4], 0.5), ([0], 0.5), ([1], 0.0), ([1], 1.5)])
def test_labels_and_shares_that_cannot_be_are_refused(labels, iou):
    truth = {"boxes": [[0, 0, 1, 1]], "labels": labels}
    with pytest.raises(SettingError, match=r"go from 1 to 3|above 0 and at most 1"):
        Matches.of(truth, {**truth, "scores": [1.0]}, classes=CLASSES, iou=iou)


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_outlines_that_are_rectangles_match_as_their_boxes_do(seed):
    rng = np.random.default_rng(seed)

    def objects(count):
        corner = rng.integers(0, 10, (count, 2))
        boxes = np.concatenate([corner, corner + rng.integers(1, 8, (count, 2))], axis=1)
        rows, cols = np.mgrid[:20, :20]
        masks = [(cols >= x0) & (cols < x1) & (rows >= y0) & (rows < y1) for x0, y0, x1, y1 in boxes]
        labels = rng.integers(1, CLASSES + 1, count)
        return {"boxes": boxes * 1.0, "labels": labels, "masks": np.array(masks, bool).reshape(count, 20, 20)}

    truth, found = objects(rng.integers(0, 6)), objects(rng.integers(0, 6))
    found["scores"] = rng.random(len(found["labels"]))
    by_box, by_outline = (
        Matches.of(truth, found, classes=CLASSES, iou=0.3, masks=masks) for masks in (False, True)
    )
    assert by_box.right.tolist() == by_outline.right.tolist()
    assert by_box.scores.tolist() == by_outline.scores.tolist()
    np.testing.assert_allclose(
        mask_overlaps(found["masks"], truth["masks"]), overlaps(found["boxes"], truth["boxes"]), rtol=1e-12
    )


def test_outlines_tell_what_boxes_cannot():
    corner = np.tri(8, dtype=bool)[None]
    truth = {"boxes": np.array([[0, 0, 8, 8]]), "labels": [1], "masks": corner}
    found = {**truth, "scores": [0.9], "masks": ~corner}
    assert Matches.of(truth, found, classes=1).right.tolist() == [True]
    assert Matches.of(truth, found, classes=1, masks=True).right.tolist() == [False]
