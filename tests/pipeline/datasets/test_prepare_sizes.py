"""Chips of different sizes are trained on together."""

import numpy as np
import pytest

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.datasets.prepare import prepare_data
from tests.pipeline.datasets.stores import THINGS, outlined_objects, square_chips, toy_chips, write_store


def test_stores_of_different_tiles_are_cut_to_one_size(tmp_path):
    _, outlines, values = square_chips(4, side=40)
    images = np.zeros((4, 3, 40, 40), np.uint8)
    for image, chip in zip(images, outlines, strict=True):
        image[:, chip.any(axis=0)] = 200
    wide = np.zeros((4, 3, 44, 60), np.uint8)
    wide[..., :40, :40] = images
    wide_outlines = [np.pad(chip, ((0, 0), (0, 4), (0, 20))) for chip in outlines]
    paths = [
        write_store(
            tmp_path / f"{len(pictures[0, 0])}.zarr",
            pictures,
            metadata_format="RCNN_Masks",
            classes=THINGS,
            objects=outlined_objects(shapes, values),
        )
        for pictures, shapes in ((images, outlines), (wide, wide_outlines))
    ]
    data = prepare_data(paths, chip_size=224, batch_size=8, transforms=(None, None), val_split_pct=0.2)
    assert data.chip_size == 40
    for pictures, targets in data.train_dl:
        assert pictures.shape[2:] == (40, 40)
        for picture, target in zip(pictures, targets, strict=True):
            bright = picture[0] > picture[0].min() + 0.1
            for mask in target["masks"].bool():
                assert bright[mask].all()
    with pytest.raises(StoreError, match="let chip_size cut them"):
        prepare_data(paths, transforms=False)
    with pytest.raises(StoreError, match="metadata_format"):
        prepare_data([paths[0], write_store(tmp_path / "other.zarr", *toy_chips(4, bands=3))])


def test_chips_of_several_sizes_are_resized_each(tmp_path):
    images = np.zeros((6, 3, 20, 30), np.uint8)
    sizes = np.array([[20, 30], [10, 10], [20, 15]] * 2)
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:, :height, :width] = 50
        image[:, : height // 2, :width] = 200
    path = write_store(
        tmp_path / "sizes.zarr", images, metadata_format="Imagenet", labels=np.ones(6, int), sizes=sizes
    )
    data = prepare_data(
        path, resize_to=16, chip_size=16, transforms=(None, None), imagery_type="multispectral"
    )
    for pictures, _ in data.train_dl:
        shown = pictures[:, 0] * data.normalization.std[0] + data.normalization.mean[0]
        assert (shown[:, :6] > 195).all()
        assert (shown[:, 10:] < 55).all()
