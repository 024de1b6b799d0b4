"""The ``model_arguments`` of the inference tools: known names, values as numbers or as text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rasterloom.models.catalog import find_adapter
from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.tiles import stride_of

BATCH_SIZE = {"cpu": 4, "cuda": 32}
"""Chips in a forward pass where neither caller nor package says: enough to keep the device busy."""

MERGE_POLICIES = ("mean", "max", "min")
BLENDS = ("crop", "linear", "gaussian")
PROBABILITY_TYPES = ("uint8", "float32")

_TRUE = ("true", "1", "yes")
_FALSE = ("false", "0", "no")


@dataclass(frozen=True, kw_only=True)
class PixelArguments:
    """How a pixel classifier is run."""

    tile_size: int
    """Side of what the network sees, in pixels."""
    padding: int
    """Border of a tile, in pixels, that is dropped or blended. Less than half of ``tile_size``."""
    batch_size: int
    """Chips in a forward pass, 1 or more."""
    predict_background: bool = True
    """Whether class value 0 may be given to a pixel."""
    test_time_augmentation: bool = False
    """Whether each chip is seen in its eight flips and rotations."""
    merge_policy: str = "mean"
    """How their probabilities are merged: one of MERGE_POLICIES."""
    threshold: float | None = None
    """Least probability of a class other than background, 0..1. None lets the most probable class win."""
    probability: str | None = None
    """Pixel type of a raster of probabilities, one of PROBABILITY_TYPES. None makes a class map."""
    thinning: bool = False
    """Whether what is found is thinned to lines one pixel wide; models for edges do so unless told not to."""
    blend: str = "crop"
    """What becomes of the borders of tiles: one of BLENDS."""


def pixel_arguments(
    given: Mapping[str, Any] | None,
    spec: ModelSpec,
    *,
    tile_multiple: int,
    device: str,
    blend: str = "crop",
    probability_type: str = "uint8",
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
    blend, probability_type
        As in :func:`rasterloom.pipeline.classify_pixels`.

    Raises
    ------
    SettingError
        If a name is not known (the message lists those that are) or a value cannot work.

    References
    ----------
    "Deep learning arguments", inferencing arguments of pixel classification.
    """
    known = _known(spec)
    if "thinning" in (given or {}) and "thinning" not in known:
        raise SettingError("thinning makes lines of what is found: it is for models with one class.")
    values = read_arguments(given, known, device)
    wanted = values.pop("return_probability_raster", False)
    if find_adapter(spec.model).lines and "thinning" in known and not wanted:
        values.setdefault("thinning", True)
    tile = values.setdefault("tile_size", spec.tile_size)
    check_tile(tile, tile_multiple)
    stride_of(tile, values.setdefault("padding", tile // 4))
    choice("blend", blend, BLENDS)
    kind = choice("probability_type", probability_type, PROBABILITY_TYPES)
    arguments = PixelArguments(**values, blend=blend, probability=kind if wanted else None)
    _check_together(arguments, values)
    return arguments


def _known(spec: ModelSpec) -> dict[str, Callable[[str, Any], Any]]:
    known: dict[str, Callable[[str, Any], Any]] = {
        "tile_size": whole,
        "padding": whole,
        "batch_size": whole,
        "predict_background": flag,
        "test_time_augmentation": flag,
        "merge_policy": lambda name, value: choice(name, value, MERGE_POLICIES),
        "threshold": share,
        "return_probability_raster": flag,
    }
    if len(spec.output_values) == 2 and 0 in spec.output_values:
        known["thinning"] = flag  # lines of one kind on a background
    return known


def read_arguments(
    given: Mapping[str, Any] | None, known: Mapping[str, Callable[[str, Any], Any]], device: str
) -> dict[str, Any]:
    """What a caller gives, each value read by the function of its name; and how many chips make a batch.

    Raises SettingError if a name is not known, listing those that are, or a value cannot work.
    """
    values = {"batch_size": BATCH_SIZE[device]}
    for name, value in (given or {}).items():
        if name not in known:
            raise SettingError(f"model argument {name!r} is not known: this model takes {', '.join(known)}.")
        values[name] = known[name](name, value)
    if values["batch_size"] < 1:
        raise SettingError(f"batch_size={values['batch_size']} cannot work: use 1 or more.")
    return values


def check_tile(tile: int, multiple: int) -> None:
    """Refuse a tile size that the network cannot take. Raises SettingError with sizes that it can."""
    if tile >= 1 and tile % multiple == 0:
        return
    lower, upper = max(1, tile // multiple) * multiple, -(-tile // multiple) * multiple
    raise SettingError(
        f"tile_size={tile} cannot go through this network: use a multiple of {multiple}, "
        f"such as {max(lower, multiple)} or {max(upper, 2 * multiple)}."
    )


def _check_together(arguments: PixelArguments, given: Mapping[str, Any]) -> None:
    if arguments.threshold is not None and not arguments.predict_background:
        raise SettingError(
            "threshold makes background of what is not probable enough, and predict_background=False "
            "forbids background: give one of the two."
        )
    if arguments.probability is None:
        return
    for name, idle in (("threshold", None), ("thinning", False), ("predict_background", True)):
        if given.get(name, idle) != idle:
            raise SettingError(
                f"{name} decides on classes, and return_probability_raster=True writes the probabilities "
                "themselves: give one of the two."
            )


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """The value in lower case. Raises SettingError, listing what is allowed, if it is something else."""
    text = str(value).strip().lower()
    if text not in allowed:
        raise SettingError(f"{name}={value!r} is not known: use {', '.join(allowed)}.")
    return text


def whole(name: str, value: Any) -> int:
    """The value as a whole number. Raises SettingError if it is none."""
    number = _number(name, value)
    if number != int(number):
        raise SettingError(f"{name}={value!r} is not a whole number.")
    return int(number)


def share(name: str, value: Any) -> float:
    """The value as a number from 0 to 1. Raises SettingError if it is none."""
    number = _number(name, value)
    if not 0 <= number <= 1:
        raise SettingError(f"{name}={value!r} is no probability: give 0 to 1.")
    return number


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
        int(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingError(f"{name}={value!r} is not a number.") from error
    return number


def flag(name: str, value: Any) -> bool:
    """The value as true or false. Raises SettingError if it is neither."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise SettingError(f"{name}={value!r} is neither true nor false.")
