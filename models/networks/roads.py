"""A network that finds lines, and in training also where they lead: its shape, and what it answers."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rasterloom.models.backbones.encoder import EncoderSettings
from rasterloom.models.errors import SettingError
from rasterloom.models.settings import checked_integers

DESIGNS = ("linknet", "hourglass")
HALF_TURN = 180
"""Degrees that tell all orientations apart: a line has no beginning."""
HOURGLASS_STEM = 4
"""Side of the image over that of the map that an hourglass begins with."""


@dataclass(frozen=True, kw_only=True)
class RoadSettings(EncoderSettings):
    """The shape of a network for lines, and what its labels become in training."""

    mtl_model: str = "hourglass"
    """``linknet`` stands on a backbone; ``hourglass`` is a network of its own, without trained weights, so
    that ``backbone``, ``pretrained`` and ``encoder_depth`` are left aside."""
    gaussian_thresh: float = 0.76
    """Height, above 0 and up to 1, at which a bell over the centre line is cut to get the width that is
    learnt: 0.76 is the width of the labels, less is wider, 1 is the centre line alone."""
    orient_bin_size: int = 20
    """Degrees of a class of orientation, 1 to 90; there are as many as fill half a turn."""
    orient_theta: int = 8
    """Pixels to each side of a centre line that have its orientation, 1 to 255."""
    hourglass_stacks: int = 2
    """Hourglasses one after the other, 1 to 8."""
    hourglass_depth: int = 3
    """How many times each of them halves a map of a quarter of the image's side, 1 to 6."""
    hourglass_channels: int = 128
    """Channels of their maps, 4 to 1024."""

    def __post_init__(self) -> None:
        super().__post_init__()
        design = str(self.mtl_model).strip().lower()
        if design not in DESIGNS:
            raise SettingError(f"mtl_model={self.mtl_model!r} is not known: use 'linknet' or 'hourglass'.")
        object.__setattr__(self, "mtl_model", design)
        object.__setattr__(self, "gaussian_thresh", _checked_height(self.gaussian_thresh))
        for name, least, most in (
            ("orient_bin_size", 1, HALF_TURN // 2),
            ("orient_theta", 1, 255),
            ("hourglass_stacks", 1, 8),
            ("hourglass_depth", 1, 6),
            ("hourglass_channels", 4, 1024),
        ):
            _check_whole(name, getattr(self, name), least, most)
        if design == "hourglass":
            object.__setattr__(self, "pretrained", False)  # there are no such weights to start from

    @property
    def orientations(self) -> int:
        """Classes of orientation, each of ``HALF_TURN / orientations`` degrees."""
        return -(-HALF_TURN // self.orient_bin_size)

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        if self.mtl_model == "hourglass":
            return int(HOURGLASS_STEM * 2**self.hourglass_depth)
        return int(2**self.encoder_depth)


@dataclass(frozen=True)
class RoadLogits:
    """What such a network answers in training, from its first guess to its last; all on the image's grid."""

    classes: tuple[Tensor, ...]
    """(N, K, H, W) each: the class of a pixel."""
    orientations: tuple[Tensor, ...]
    """(N, 1 + orientations, H, W) each: no line near, then the orientations against the clock from east."""


def _checked_height(value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= 1:
        raise SettingError(
            f"gaussian_thresh={value!r} cannot work: use a number above 0, where lines are widest, up to 1, "
            "where they are one pixel wide. 0.76 keeps the width of the labels."
        )
    return float(value)


def _check_whole(name: str, value: Any, least: int, most: int) -> None:
    try:
        checked_integers(name, [value], least=least, most=most)
    except SettingError as error:
        raise SettingError(
            f"{name}={value!r} cannot work: use a whole number from {least} to {most}."
        ) from error
