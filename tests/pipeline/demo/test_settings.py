"""What the demo chooses by itself."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings as examples, strategies as st

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.demo.settings import DemoSettings, choose_recipe, choose_stride, split_rows
from rasterloom.pipeline.rasters.grid import Grid, Window


def grid(height: int, width: int) -> Grid:
    return Grid("", (1, 0, 0, 0, -1, 0), height, width)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"raster": "scene.tif"}, "go together"),
        ({"labels": "labels.parquet"}, "go together"),
        ({"train_share": 0.95}, "0.1 to 0.9"),
        ({"tile_size": 100}, "multiple of 32"),
        ({"tile_size": 32}, "64 or more"),
        ({"epochs": 0}, "1 or more"),
        ({"stride": 0}, "1 or more"),
        ({"batch_size": 1}, "2 or more"),
    ],
)
def test_settings_that_cannot_work_are_refused(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        DemoSettings(**given_)


@examples(max_examples=50, deadline=None)
@given(
    height=st.integers(200, 20_000),
    width=st.integers(128, 5_000),
    share=st.floats(0.1, 0.9),
    tile=st.sampled_from([64, 128, 256]),
)
def test_no_row_is_both_trained_on_and_judged(height: int, width: int, share: float, tile: int) -> None:
    settings = DemoSettings(train_share=share, tile_size=tile)
    try:
        parts = split_rows(grid(height, width), settings)
    except SettingError:
        border = round(height * share)
        assert border < tile or width < tile or height - border < 2
        return
    assert parts.train.row == 0
    assert parts.test.row_stop == height
    gap = parts.test.row - parts.train.row_stop
    left = height - parts.train.row_stop
    assert gap == min(tile, left // 2)
    assert parts.test.height >= left / 2 > 0
    assert parts.train.height >= tile


def test_a_raster_that_is_too_small_is_refused() -> None:
    with pytest.raises(SettingError, match=re.escape("90 x 400 pixels are too few")):
        split_rows(grid(90, 400), DemoSettings())


def test_chips_overlap_where_they_are_few_and_stand_apart_where_they_are_many() -> None:
    settings = DemoSettings()
    assert choose_stride(Window(0, 0, 3072, 4096), settings) == 128
    assert choose_stride(Window(0, 0, 384, 512), settings) == 64
    stride = choose_stride(Window(0, 0, 75_000, 100_000), settings)
    assert 10_000 / 4 < (75_000 // stride) * (100_000 // stride) <= 20_000
    assert choose_stride(Window(0, 0, 384, 512), replace(settings, stride=7)) == 7


@pytest.mark.parametrize("chips", [2, 35, 768, 20_000])
@pytest.mark.parametrize("own", [False, True])
def test_training_sees_what_a_few_minutes_allow_whatever_the_raster(chips: int, own: bool) -> None:
    source = {"raster": "scene.tif", "labels": "labels.parquet"} if own else {}
    recipe = choose_recipe(chips, DemoSettings(**source))
    seen = recipe.epochs * recipe.iterations * recipe.batch_size * 128**2 / 1e6
    assert seen == pytest.approx(160 if own else 72, rel=0.1)
    assert 0 < recipe.validation * chips <= 200


def test_the_caller_chooses_epochs_backbone_and_batch() -> None:
    recipe = choose_recipe(768, DemoSettings(epochs=3, backbone="resnet34", batch_size=16))
    assert (recipe.epochs, recipe.model["backbone"], recipe.batch_size) == (3, "resnet34", 16)
    assert recipe.model["pretrained"] is False, "the demo needs no network"
