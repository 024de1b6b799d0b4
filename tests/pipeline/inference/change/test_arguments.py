"""Arguments of change detection: by tiles, or all at once."""

import dataclasses
from typing import Any

import pytest

from rasterloom.models.contract import ModelSpec, Task
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.change.arguments import MOST_WHOLE, NAMES, Looks
from tests.support.dates import CHANGE
from tests.support.models import pixel_spec

SPEC: ModelSpec = dataclasses.replace(
    pixel_spec(tile_size=64), model="ChangeDetector", task=Task.CHANGE, classes=CHANGE
)


def _tiled(given: Any) -> Any:
    return Looks.of(given).tiled(SPEC, tile_multiple=32, device="cpu", blend="crop", probability_type="uint8")


def _whole(given: Any, shape: tuple[int, int]) -> Any:
    return Looks.of(given).whole(shape, SPEC, tile_multiple=32, device="cpu", probability_type="uint8")


def test_without_arguments_tiles_are_those_of_the_model() -> None:
    assert Looks.of(None).in_tiles
    found = _tiled(None)
    assert (found.tile_size, found.padding, found.thinning) == (64, 16, False)


def test_values_may_be_text() -> None:
    looks = Looks.of({"crop_predict": "yes", "tile_size": "96", "threshold": "0.7"})
    assert looks.in_tiles
    assert "crop_predict" not in looks.given
    found = _tiled({"tile_size": "96", "padding": "0", "threshold": "0.7"})
    assert (found.tile_size, found.padding, found.threshold) == (96, 0, 0.7)


@pytest.mark.parametrize(
    ("shape", "side"), [((1, 1), 32), ((32, 31), 32), ((20, 33), 64), ((MOST_WHOLE, 5), MOST_WHOLE)]
)
def test_one_tile_holds_everything(shape: tuple[int, int], side: int) -> None:
    found = _whole({"crop_predict": False, "test_time_augmentation": True}, shape)
    assert (found.tile_size, found.padding, found.batch_size) == (side, 0, 1)
    assert found.test_time_augmentation


def test_what_is_too_large_to_be_seen_at_once_is_refused() -> None:
    with pytest.raises(SettingError, match=r"all of 50 x 4097 pixels .* at most 4096 a side"):
        _whole({"crop_predict": False}, (50, MOST_WHOLE + 1))


@pytest.mark.parametrize("name", ["tile_size", "padding", "batch_size"])
def test_tiles_and_all_at_once_do_not_go_together(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} is about tiles"):
        Looks.of({"crop_predict": False, name: 64})


@pytest.mark.parametrize("name", ["thinning", "predict_background", "nms_overlap"])
def test_arguments_of_other_tools_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"'{name}' is not known: models for change take") as caught:
        Looks.of({name: True})
    assert all(known in str(caught.value) for known in NAMES)
