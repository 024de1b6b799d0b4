"""Model arguments are numbers or text, known, and possible."""

import pytest

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.arguments import PixelArguments, pixel_arguments
from tests.support.models import pixel_spec

SPEC = pixel_spec(tile_size=64)


def _read(**given: object) -> PixelArguments:
    return pixel_arguments(given, SPEC, tile_multiple=32, device="cpu")


def test_what_is_not_given_comes_from_the_model() -> None:
    found = _read()
    assert (found.tile_size, found.padding, found.predict_background) == (64, 16, True)


def test_values_may_be_text() -> None:
    found = _read(padding="8", tile_size="96", batch_size="2", predict_background="False")
    assert found == PixelArguments(tile_size=96, padding=8, batch_size=2, predict_background=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"padding": 32}, "padding=32 leaves nothing of a 64-pixel tile: use 31 or less"),
        ({"padding": -1}, "use 0 or more"),
        ({"tile_size": 70}, "use a multiple of 32, such as 64 or 96"),
        ({"tile_size": 0}, "multiple of 32, such as 32 or 64"),
        ({"batch_size": 0}, "use 1 or more"),
        ({"batch_size": "many"}, "is not a number"),
        ({"padding": 1.5}, "not a whole number"),
        ({"predict_background": "perhaps"}, "neither true nor false"),
        ({"pading": 3}, "takes tile_size, padding, batch_size, predict_background"),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        _read(**given)
