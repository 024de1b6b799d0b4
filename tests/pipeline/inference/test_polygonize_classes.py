"""What a class raster says of its values, in each of the ways that it can be said."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.polygonize_classes import certainty_of, class_names, nothing_values
from rasterloom.pipeline.rasters.open import describe
from tests.support.rasters import write_pixels

_CATEGORIES = "<CategoryNames><Category/><Category>road</Category><Category>roof</Category></CategoryNames>"


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    return write_pixels(tmp_path / "map.tif", np.array([[[0, 1], [2, 1]]], np.uint8))


def test_a_raster_may_say_nothing(classes: Path) -> None:
    assert class_names(describe(classes)) == {}
    assert nothing_values({}) == (), "without names, nobody knows that 0 is nothing"


def test_category_names_of_gdal_are_names(classes: Path) -> None:
    classes.with_name("map.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1">{_CATEGORIES}</PAMRasterBand></PAMDataset>'
    )
    assert class_names(describe(classes)) == {1: "road", 2: "roof"}


def test_the_list_of_a_class_map_goes_before_categories(classes: Path) -> None:
    classes.with_name("map.tif.aux.xml").write_text(
        f'<PAMDataset><PAMRasterBand band="1">{_CATEGORIES}</PAMRasterBand></PAMDataset>'
    )
    with rasterio.open(classes, "r+") as target:
        target.update_tags(CLASSES=json.dumps([{"value": 2, "name": "tin roof", "color": [1, 2, 3]}]))
    assert class_names(describe(classes)) == {2: "tin roof"}


@pytest.mark.parametrize("listed", ["not json", "[1, 2]", '[{"value": "two", "name": "x"}]', '[{"name": 1}]'])
def test_a_list_that_cannot_be_read_is_no_list(classes: Path, listed: str) -> None:
    with rasterio.open(classes, "r+") as target:
        target.update_tags(CLASSES=listed)
    assert class_names(describe(classes)) == {}


def test_zero_is_nothing_unless_it_is_a_class() -> None:
    assert nothing_values({1: "road"}) == (0,)
    assert nothing_values({0: "Background ", 1: "road"}) == (0,)
    assert nothing_values({0: "water", 1: "road"}) == ()


def _shares(path: Path, count: int, **changes: object) -> Path:
    return write_pixels(path, np.full((count, 2, 2), 0.5, np.float32), **changes)


def test_bands_are_found_by_the_names_of_classes(classes: Path, tmp_path: Path) -> None:
    shares = _shares(tmp_path / "shares.tif", 3)
    with rasterio.open(shares, "r+") as target:
        for band, name in enumerate(("background", "roof", "road"), 1):
            target.set_band_description(band, name)
    names = {1: "road", 2: "roof"}
    assert certainty_of(shares, describe(classes), names, None).bands == ((1, 2), (2, 1))
    assert certainty_of(shares, describe(classes), names, (2,)).bands == ((2, 1),)
    assert certainty_of(_shares(tmp_path / "one.tif", 1), describe(classes), names, None).bands == ()


def test_bands_that_name_no_class_are_refused(classes: Path, tmp_path: Path) -> None:
    shares = _shares(tmp_path / "shares.tif", 2)
    with pytest.raises(SettingError, match=r"no band of .*shares.* has the name of a class \(road\)"):
        certainty_of(shares, describe(classes), {1: "road"}, None)


def test_whole_numbers_need_a_scale(classes: Path, tmp_path: Path) -> None:
    shares = write_pixels(tmp_path / "shares.tif", np.full((1, 2, 2), 100, np.uint8))
    with pytest.raises(SettingError, match="does not say what stands for a probability of 1"):
        certainty_of(shares, describe(classes), {}, None)
    with rasterio.open(shares, "r+") as target:
        target.scales = (0.004,)
    assert certainty_of(shares, describe(classes), {}, None).scale == pytest.approx(0.004)
