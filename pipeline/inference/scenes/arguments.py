"""The ``model_arguments`` of classify_objects: known names, values as numbers or as text."""

import math
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

THRESHOLD = {False: 0.0, True: 0.5}
"""Least certainty of a label, of models that give one label and of those that give several."""

GROUP = 64
"""Chips that are computed together at least: what a failure takes with it."""

_LEAST = 4
"""Chips in a pass at least: below, products of matrices are summed in another order (seen with MKL)."""

_LANES = 16
"""Numbers in the widest vector of a CPU: those that fill none are computed by another route."""


@dataclass(frozen=True, kw_only=True)
class SceneArguments:
    """How a classifier of chips is run."""

    tile_size: int
    """Side of what the network sees, in pixels."""
    batch_size: int
    """Chips in a forward pass, 1 or more."""
    score_threshold: float
    """Least certainty of a label, 0..1."""
    fix_chip_size: bool = True
    """Whether a chip is a whole tile around an object; else what the object's box fills of it, enlarged."""
    blacken_around_feature: bool = False
    """Whether pixels outside the object are 0."""
    test_time_augmentation: bool = False
    """Whether each chip is seen in its eight flips and rotations."""
    merge_policy: str = "mean"
    """How their probabilities are merged: one of MERGE_POLICIES."""

    @property
    def merge(self) -> str | None:
        """The policy where there is something to merge."""
        return self.merge_policy if self.test_time_augmentation else None

    def chips_in_pass(self, classes: int) -> int:
        """Chips that go through the network together, ``batch_size`` or a little more.

        What a chip is given then depends on no other: not on their number, nor on its place among them.
        """
        step = math.lcm(_LEAST, _LANES // math.gcd(_LANES, classes))
        return -(-self.batch_size // step) * step

    def group(self, classes: int) -> int:
        """Chips of a group: whole passes."""
        size = self.chips_in_pass(classes)
        return -(-GROUP // size) * size


_KNOWN: dict[str, Callable[[str, Any], Any]] = {
    "batch_size": whole,
    "score_threshold": share,
    "test_time_augmentation": flag,
    "merge_policy": lambda name, value: choice(name, value, MERGE_POLICIES),
    "tile_size": whole,
    "fix_chip_size": flag,
    "blacken_around_feature": flag,
}

_OF_CHIPS = {"fix_chip_size": ("crop_size_fixed", True), "blacken_around_feature": ("", False)}
"""Name of a setting in a model's description, if it is another, and what holds where it says nothing."""


def scene_arguments(
    given: Mapping[str, Any] | None, spec: ModelSpec, *, tile_multiple: int, device: str
) -> SceneArguments:
    """The caller's arguments, the rest from the model.

    Parameters
    ----------
    given
        Names and values, values also as text ("0.5", "true").
    spec
        The model: its tile size, and how the chips were cut that it was trained on.
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
    "Deep learning arguments", inferencing arguments of object classification.
    """
    values = read_arguments(given, _KNOWN, device)
    for name, (called, usual) in _OF_CHIPS.items():
        values.setdefault(name, flag(name, spec.parameters.get(called or name, usual)))
    check_tile(values.setdefault("tile_size", spec.tile_size), tile_multiple)
    values.setdefault("score_threshold", THRESHOLD[several_labels(spec)])
    return SceneArguments(**values)


def several_labels(spec: ModelSpec) -> bool:
    """Whether a model gives several labels to a chip, or none."""
    return bool(spec.parameters.get("multilabel", False))
