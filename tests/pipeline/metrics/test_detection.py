"""Whole layers are matched as pycocotools matches one image."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from rasterloom.pipeline.metrics import detection
from rasterloom.pipeline.metrics.detection import COCO_IOUS, Pairs, best_overlaps, match
from rasterloom.pipeline.metrics.objects import Matches, overlaps


@st.composite
def objects(draw: st.DrawFn, most: int) -> dict[str, np.ndarray]:
    """Boxes on a small grid, so that they overlap, touch and coincide."""
    number = draw(st.integers(0, most))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    corner, size = random.integers(0, 12, (number, 2)), random.integers(1, 7, (number, 2))
    return {
        "boxes": np.concatenate([corner, corner + size], axis=1).astype(float),
        "labels": random.integers(1, 3, number),
        "scores": random.integers(1, 6, number) / 8,
        "inside": random.random(number) < 0.8,
    }


def _coco(truth: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> COCOeval:
    """pycocotools on one image; what is not inside has an area that is out of range."""
    with contextlib.redirect_stdout(io.StringIO()):
        true, given_ = COCO(), COCO()
        true.dataset, given_.dataset = (_dataset(each) for each in (truth, found))
        true.createIndex()
        given_.createIndex()
        judge = COCOeval(true, given_, "bbox")
        judge.params.iouThrs = np.array(COCO_IOUS)
        judge.params.maxDets = [10_000]
        judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
        judge.evaluate()
        judge.accumulate()
    return judge


def _dataset(each: dict[str, np.ndarray]) -> dict[str, Any]:
    rows = zip(each["boxes"].tolist(), each["labels"].tolist(), each["scores"], each["inside"], strict=True)
    listed = [
        {
            "id": number,
            "image_id": 1,
            "category_id": label,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "area": 1.0 if inside else -1.0,
            "iscrowd": 0,
            "score": float(score),
        }
        for number, (box, label, score, inside) in enumerate(rows, 1)
    ]
    return {"images": [{"id": 1}], "categories": [{"id": 1}, {"id": 2}], "annotations": listed}


def _ranks(scores: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return ranks


def _pairs(found: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> Pairs:
    labels = {"found_labels": found["labels"], "true_labels": truth["labels"]}
    return Pairs.of_boxes(found["boxes"], truth["boxes"], **labels)


@settings(max_examples=60, deadline=None)
@given(truth=objects(30), found=objects(40))
def test_matches_and_precision_are_those_of_pycocotools(
    truth: dict[str, np.ndarray], found: dict[str, np.ndarray]
) -> None:
    judge, pairs = _coco(truth, found), _pairs(found, truth)
    seen = [image for image in judge.evalImgs if image is not None]
    for column, iou in enumerate(COCO_IOUS):
        given_ = match(pairs, _ranks(found["scores"]), ~truth["inside"], iou=iou)
        theirs = np.full(len(found["scores"]), -1)
        for image in seen:
            theirs[np.array(image["dtIds"], int) - 1] = image["dtMatches"][column].astype(int) - 1
        assert given_.tolist() == theirs.tolist()
        ignored = np.where(given_ >= 0, np.append(~truth["inside"], False)[given_], ~found["inside"])
        counted = Matches(
            found["labels"][~ignored],
            found["scores"][~ignored],
            given_[~ignored] >= 0,
            np.bincount(truth["labels"][truth["inside"]], minlength=3)[1:],
        )
        precision = judge.eval["precision"][column, :, :, 0, 0].mean(axis=0)  # (class,)
        expected = np.where(precision < 0, np.nan, precision)
        np.testing.assert_allclose(counted.average_precision(), expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(truth=objects(30), found=objects(30), block=st.integers(1, 9))
def test_pairs_are_all_that_overlap_whatever_the_block(
    truth: dict[str, np.ndarray], found: dict[str, np.ndarray], block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection, "BLOCK", block)
        pairs = _pairs(found, truth)
    table = overlaps(found["boxes"], truth["boxes"]) * (found["labels"][:, None] == truth["labels"])
    rebuilt = np.zeros_like(table)
    rebuilt[pairs.found, pairs.true] = pairs.iou
    assert len(pairs.iou) == np.count_nonzero(table)
    np.testing.assert_allclose(rebuilt, table)
    mine, theirs = best_overlaps(pairs, len(found["boxes"]), len(truth["boxes"]))
    np.testing.assert_allclose(mine, table.max(axis=1, initial=0))
    np.testing.assert_allclose(theirs, table.max(axis=0, initial=0))


def test_outlines_are_compared_by_their_own_area() -> None:
    square = shapely.box(0, 0, 2, 2)
    half = shapely.Polygon([(0, 0), (2, 0), (0, 2)])
    boxes, labels = np.array([[0.0, 0, 2, 2]]), np.ones(1, int)
    wkb = tuple(np.array([shapely.to_wkb(shape)], object) for shape in (square, half))
    known = {"found_labels": labels, "true_labels": labels}
    assert Pairs.of_boxes(boxes, boxes, **known).iou.tolist() == [1.0]
    assert Pairs.of_boxes(boxes, boxes, shapes=wkb, **known).iou.tolist() == [0.5]


def test_an_outline_that_crosses_itself_is_repaired() -> None:
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    wkb = np.array([shapely.to_wkb(bow)], object)
    boxes, labels = np.array([[0.0, 0, 2, 2]]), np.ones(1, int)
    pairs = Pairs.of_boxes(boxes, boxes, found_labels=labels, true_labels=labels, shapes=(wkb, wkb))
    assert pairs.iou.tolist() == [1.0]


def test_boxes_without_a_place_overlap_nothing() -> None:
    boxes, labels = np.array([[np.nan] * 4, [0.0, 0, 1, 1], [np.nan] * 4]), np.array([1, 1, 2])
    pairs = Pairs.of_boxes(boxes, boxes, found_labels=labels, true_labels=labels)
    assert pairs.found.tolist() == pairs.true.tolist() == [1]
