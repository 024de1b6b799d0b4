"""The ``model_arguments`` of detect_objects: known names, values as numbers or as text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rasterloom.models.contract import ModelSpec
from rasterloom.pipeline.inference.arguments import (
    MERGE_POLICIES,
    check_tile,
    choice,
    flag,
    read_arguments,
    share,
    whole,
)
from rasterloom.pipeline.rasters.tiles import stride_of

THRESHOLD = 0.5
NMS_OVERLAP = 0.1


@dataclass(frozen=True, kw_only=True)
class ObjectArguments:
    """How a detector is run."""

    tile_size: int
    """Side of what the network sees, in pixels."""
    padding: int
    """Border of a tile, in pixels, that its neighbours own. Less than half of ``tile_size``."""
    batch_size: int
    """Chips in a forward pass, 1 or more."""
    threshold: float = THRESHOLD
    """Least score of a thing, 0..1."""
    nms_overlap: float = NMS_OVERLAP
    """Most that two things of a class may overlap, as intersection over union, 0..1."""
    exclude_pad_detections: bool = True
    """Whether things are dropped that only a tile has seen that does not own their centre."""
    test_time_augmentation: bool = False
    """Whether each chip is seen in its eight flips and rotations."""
    merge_policy: str = "mean"
    """What becomes of what they show: one of MERGE_POLICIES."""


_KNOWN: dict[str, Callable[[str, Any], Any]] = {
    "tile_size": whole,
    "padding": whole,
    "batch_size": whole,
    "threshold": share,
    "nms_overlap": share,
    "exclude_pad_detections": flag,
    "test_time_augmentation": flag,
    "merge_policy": lambda name, value: choice(name, value, MERGE_POLICIES),
}


def object_arguments(
    given: Mapping[str, Any] | None, spec: ModelSpec, *, tile_multiple: int, device: str
) -> ObjectArguments:
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
    "Deep learning arguments", inferencing arguments of object detection.
    """
    values = read_arguments(given, _KNOWN, device)
    tile = values.setdefault("tile_size", spec.tile_size)
    check_tile(tile, tile_multiple)
    stride_of(tile, values.setdefault("padding", tile // 4))
    return ObjectArguments(**values)
