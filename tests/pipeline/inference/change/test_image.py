"""What changed between two images that are in memory or in files."""

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from rasterloom.models import from_torch
from rasterloom.models.errors import (
    MissingInputError,
    ModelMismatchError,
    OutputError,
    OutputExistsError,
    SettingError,
)
from rasterloom.models.networks.stanet import Stanet
from tests.support.adapters import adapter_model
from tests.support.models import random_model

TRANSFORM = rasterio.Affine(2.0, 0, 1000, 0, -2.0, 5000)


class Brighter(nn.Module):
    """Built where the mean of 3 x 3 pixels rose by 20, gone where it fell by 20."""

    def forward(self, before, after):
        rise = nn.functional.avg_pool2d((after - before).mean(1, keepdim=True), 3, 1, 1)
        return torch.cat([torch.full_like(rise, 20.0), rise, -rise], dim=1)


@pytest.fixture
def model():
    classes = {1: "built", 7: "gone"}
    return from_torch(Brighter(), task="change", classes=classes, bands=3, tile_size=16)


def dates(height=45, width=38, bands=3):
    rng = np.random.default_rng(4)
    before = rng.integers(60, 90, (height, width, bands), np.uint8)
    after = before.copy()
    after[10:22, 5:17] += 80
    after[30:40, 20:37] -= 50
    return before, after


def written(path, image, **place):
    height, width, bands = image.shape
    kind = {"driver": "GTiff", "count": bands, "dtype": image.dtype, "height": height, "width": width}
    with rasterio.open(path, "w", **kind, **place) as raster:
        raster.write(np.moveaxis(image, 2, 0))
    return path


def expected(before, after):
    """The rule of the network, pixel by pixel, away from the border."""
    rise = (after.astype(float) - before).mean(2)
    means = np.lib.stride_tricks.sliding_window_view(rise, (3, 3)).mean((2, 3))
    return np.where(means > 20, 1, np.where(means < -20, 7, 0))


@pytest.mark.parametrize("settings", [{}, {"crop_predict": True}, {"crop_predict": True, "batch_size": 100}])
def test_every_pixel_gets_the_class_of_its_change(model, settings):
    found = model.predict(*dates(), **settings)
    assert found.dtype == torch.int64
    assert found.shape == (45, 38)
    assert (found.numpy()[1:-1, 1:-1] == expected(*dates())).all()
    assert set(found.unique().tolist()) == {0, 1, 7}


def test_chip_by_chip_is_the_same_as_at_once(model):
    both = dates(70, 51)
    assert torch.equal(model.predict(*both), model.predict(*both, crop_predict=True))


def test_a_trained_kind_of_model_compares_two_files_and_stays_as_it_was(tmp_path):
    from rasterloom.models.catalog import find_adapter

    detector = adapter_model(find_adapter("ChangeDetector"))
    assert isinstance(detector.network, Stanet)
    detector.network.train()
    before, after = (
        written(tmp_path / f"{name}.tif", image, crs="EPSG:32633", transform=TRANSFORM)
        for name, image in zip(("before", "after"), dates(40, 40), strict=True)
    )
    found = detector.predict(before, after)
    assert found.shape == (40, 40)
    assert set(found.unique().tolist()) <= {0, 1, 2, 7}
    assert detector.network.training


def test_the_classes_are_saved_on_the_grid_of_the_later_image(model, tmp_path):
    before, after = dates()
    path = written(tmp_path / "later.tif", after, crs="EPSG:32633", transform=TRANSFORM)
    found = model.predict(before, path, save=True)
    with rasterio.open(tmp_path / "later_change.tif") as raster:
        assert (raster.read(1) == found.numpy()).all()
        assert raster.crs.to_epsg() == 32633
        assert raster.transform == TRANSFORM
    with pytest.raises(OutputExistsError, match=r"later_change\.tif exists.*overwrite=True"):
        model.predict(before, path, save=True)
    model.predict(after, path, save=True, overwrite=True)
    with rasterio.open(tmp_path / "later_change.tif") as raster:
        assert not raster.read(1).any()
    model.predict(before, after, save=tmp_path / "mine.tif")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["later.tif", "later_change.tif", "mine.tif"]


def test_a_picture_shows_both_images_and_the_change(model, tmp_path):
    model.predict(*dates(), visualize=tmp_path / "change.png")
    assert (tmp_path / "change.png").stat().st_size > 5000


def test_pixels_that_hold_nothing_at_one_date_are_no_change(model, tmp_path):
    before, after = dates()
    holes = before.astype(np.float32)
    holes[12:16, 6:12] = np.nan
    found = model.predict(holes, after).numpy()
    assert (found[12:16, 6:12] == 0).all()
    assert (found[18:20, 7:15] == 1).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"after_image": np.zeros((45, 37, 3), np.uint8)}, SettingError, "45 x 38 and 45 x 37 pixels"),
        ({"after_image": np.zeros((45, 38, 2), np.uint8)}, ModelMismatchError, "has 2 bands"),
        ({"after_image": "nowhere.tif"}, MissingInputError, r"no image nowhere\.tif"),
        ({"save": True}, SettingError, "give a path"),
        ({"save": "no/such/folder.tif"}, OutputError, "cannot be written"),
        ({"batch_size": 0}, SettingError, "batch_size=0"),
        ({"before_image": np.zeros((1, 5000, 3), np.uint8)}, SettingError, "45 x 38"),
    ],
)
def test_what_cannot_work_is_explained(model, change, error, message):
    before, after = dates()
    with pytest.raises(error, match=message):
        model.predict(**({"before_image": before, "after_image": after} | change))


def test_images_too_large_to_be_seen_at_once_are_cut(model):
    image = np.zeros((2, 4100, 3), np.uint8)
    with pytest.raises(SettingError, match="crop_predict=True"):
        model.predict(image, image)
    assert not model.predict(image, image, crop_predict=True, batch_size=64).any()


def test_a_model_for_another_task_is_refused():
    from rasterloom.pipeline.inference.change.image import predict_change

    with pytest.raises(SettingError, match="UnetClassifier is for pixels"):
        predict_change(random_model(), *dates())
