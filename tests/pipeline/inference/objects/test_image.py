import sys

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from rasterloom.models.errors import MissingInputError, ModelMismatchError, ReadError, SettingError
from rasterloom.pipeline.inference.objects.image import predict_image
from tests.support.videos import BrightFinder, scene

BOXES = [(10, 10, 40, 30), (60, 30, 90, 61), (40, 70, 60, 95)]
WANTED = sorted([x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in BOXES)


@pytest.fixture
def pixels():
    return scene((120, 100), BOXES)


def test_boxes_are_corner_width_and_height_and_labels_are_class_values(pixels):
    pixels[70:95, 40:60] = (255, 30, 30)
    boxes, labels = predict_image(BrightFinder(), pixels)
    assert sorted(boxes) == WANTED
    assert sorted(labels) == [7, 7, 9]
    assert labels[boxes.index([40, 70, 20, 25])] == 9
    assert all(type(side) is float for box in boxes for side in box)


def test_scores_come_third_and_the_most_certain_first(pixels):
    pixels[30:61, 60:90] = 240
    boxes, _, scores = predict_image(BrightFinder(), pixels, return_scores=True)
    assert scores == pytest.approx([240 / 255, 200 / 255, 200 / 255])
    assert boxes[0] == [60, 30, 30, 31]
    assert [len(part) for part in predict_image(BrightFinder(), pixels, threshold=0.9)] == [1, 1]


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "array", "str"])
def test_images_of_every_kind_are_seen_alike(pixels, tmp_path, kind):
    path = tmp_path / f"a.{'png' if kind == 'str' else kind}"
    if kind == "tif":
        profile = {"width": 120, "height": 100, "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
        with rasterio.open(
            path, "w", driver="GTiff", transform=from_origin(0, 100, 2, 2), **profile
        ) as target:
            target.write(np.moveaxis(pixels, -1, 0))
    elif kind != "array":
        Image.fromarray(pixels).save(path, quality=100, subsampling=0)
    image = {"array": pixels, "str": str(path)}.get(kind, path)
    boxes, _ = predict_image(BrightFinder(), image)
    assert np.abs(np.array(sorted(boxes)) - WANTED).max() <= (1 if kind == "jpg" else 0)


def test_transparent_pixels_hold_no_objects(pixels, tmp_path):
    alpha = np.full((100, 120, 1), 255, np.uint8)
    alpha[:35, :45] = 0
    Image.fromarray(np.concatenate([pixels, alpha], axis=2)).save(tmp_path / "a.png")
    boxes, _ = predict_image(BrightFinder(), tmp_path / "a.png")
    assert sorted(boxes) == [box for box in WANTED if box[0] != 10]


def test_masks_are_the_pixels_of_each_object(pixels):
    pixels[30:61, 60:75] = 20  # of a box an L is left
    pixels[50:61, 60:90] = 200
    boxes, _, masks = predict_image(BrightFinder(masks=True), pixels, return_masks=True)
    assert masks.shape == (3, 100, 120)
    assert (masks.any(axis=0) == (pixels[..., 0] == 200)).all()
    for box, mask in zip(boxes, masks, strict=True):
        rows, cols = np.nonzero(mask)
        assert [cols.min(), rows.min(), np.ptp(cols) + 1, np.ptp(rows) + 1] == box
    filled = predict_image(BrightFinder(), pixels, return_masks=True)[2]
    assert filled.sum() == sum(
        width * height for _, _, width, height in predict_image(BrightFinder(), pixels)[0]
    )


def test_objects_that_are_too_small_are_left_out(pixels):
    counts = [len(predict_image(BrightFinder(), pixels, min_obj_size=size)[0]) for size in (0, 20, 21, 31)]
    assert counts == [3, 3, 1, 0]


def test_an_image_of_nothing_has_no_objects():
    found = predict_image(
        BrightFinder(), np.zeros((9, 7, 3), np.uint8), return_scores=True, return_masks=True
    )
    assert found[:3] == ([], [], [])
    assert found[3].shape == (0, 9, 7)


def test_one_band_may_come_without_an_axis_of_its_own(pixels):
    boxes, _ = predict_image(BrightFinder(bands=("grey",)), pixels[..., 0])
    assert sorted(boxes) == WANTED


def test_the_picture_shows_the_objects(pixels, tmp_path):
    def drawn(image, name, **options):
        predict_image(BrightFinder(**options), image, visualize=tmp_path / name)
        return np.asarray(Image.open(tmp_path / name).convert("RGB")).astype(int)

    empty = drawn(np.full_like(pixels, 20), "a.png")
    boxes, masks = drawn(pixels, "b.png"), drawn(pixels, "c.png", masks=True)
    assert empty.shape == boxes.shape == masks.shape
    assert (boxes != empty).any()
    assert (boxes != masks).any()


def test_without_a_window_the_picture_needs_a_path(pixels, monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    with pytest.warns(UserWarning, match=r"visualize='objects\.png'"):
        assert len(predict_image(BrightFinder(), pixels, visualize=True)[0]) == 3


def test_images_that_cannot_be_seen_are_refused(pixels, tmp_path, monkeypatch):
    damaged = tmp_path / "a.png"
    damaged.write_bytes(b"nothing")
    grey = tmp_path / "grey.png"
    Image.fromarray(pixels[..., 0]).save(grey)
    for error, told, image in [
        (MissingInputError, "there is no image", tmp_path / "none.png"),
        (ReadError, "cannot be read as an image", damaged),
        (ModelMismatchError, "has 1 bands, and the model sees 3", grey),
        (SettingError, r"an array of \(4,\)", np.zeros(4)),
        (SettingError, "image_path is int", 5),
    ]:
        with pytest.raises(error, match=told):
            predict_image(BrightFinder(), image)
    monkeypatch.setattr("rasterloom.pipeline.inference.objects.image.MOST_PIXELS", 100)
    with pytest.raises(SettingError, match="use detect_objects"):
        predict_image(BrightFinder(), pixels)
