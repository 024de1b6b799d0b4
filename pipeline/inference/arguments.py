"""The ``model_arguments`` of the inference tools: known names, values as numbers or as text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.tiles import stride_of

BATCH_SIZE = {"cpu": 4, "cuda": 32}
"""Chips in a forward pass where neither caller nor package says: enough to keep the device busy."""

_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no")


@dataclass(frozen=True)
class PixelArguments:
    """How a pixel classifier is run."""

    tile_size: int
    """Side of what the network sees, in pixels."""
    padding: int
    """Pixels of each prediction that are dropped on each side. Less than half of ``tile_size``."""
    batch_size: int
    """Chips in a forward pass, 1 or more."""
    predict_background: bool
    """Whether class value 0 may be given to a pixel."""


def pixel_arguments(
    given: Mapping[str, Any] | None, spec: ModelSpec, *, tile_multiple: int, device: str
) -> PixelArguments:
    """The caller's arguments, the rest from the model.

    Parameters
    ----------
    given
        Names and values, values also as text ("0.5", "true").
    spec
        The model, for the defaults: its own tile size, and a quarter of that as padding.
    tile_multiple
        The tile size must be a multiple of this.
    device
        ``cpu`` or ``cuda``, for the default batch size.

    Raises
    ------
    SettingError
        If a name is not known (the message lists those that are) or a value cannot work.

    References
    ----------
    "Deep learning arguments", inferencing arguments of pixel classification.
    """
    known: dict[str, Callable[[str, Any], Any]] = {
        "tile_size": _whole,
        "padding": _whole,
        "batch_size": _whole,
        "predict_background": _flag,
    }
    values = {}
    for name, value in (given or {}).items():
        if name not in known:
            raise SettingError(f"model argument {name!r} is not known: this model takes {', '.join(known)}.")
        values[name] = known[name](name, value)
    tile = values.get("tile_size", spec.tile_size)
    if tile < 1 or tile % tile_multiple:
        lower, upper = (
            max(1, tile // tile_multiple) * tile_multiple,
            -(-tile // tile_multiple) * tile_multiple,
        )
        raise SettingError(
            f"tile_size={tile} cannot go through this network: use a multiple of {tile_multiple}, "
            f"such as {max(lower, tile_multiple)} or {max(upper, 2 * tile_multiple)}."
        )
    padding = values.get("padding", tile // 4)
    stride_of(tile, padding)
    batch = values.get("batch_size", BATCH_SIZE[device])
    if batch < 1:
        raise SettingError(f"batch_size={batch} cannot work: use 1 or more.")
    return PixelArguments(tile, padding, batch, values.get("predict_background", True))


def _whole(name: str, value: Any) -> int:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{name}={value!r} is not a number: give a whole number of pixels.") from error
    if number != int(number):
        raise SettingError(f"{name}={value!r} is not a whole number.")
    return int(number)


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise SettingError(f"{name}={value!r} is neither true nor false.")
