"""What the demo is asked for, and what it chooses by itself to fit raster and time."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.rasters.grid import Grid, Window

TRAINING_MEGAPIXELS = {"generated": 72.0, "own": 160.0}
"""Million pixels that training sees where the caller names no epochs: some minutes on two cores."""

_EPOCH_MEGAPIXELS = (2.0, 12.0)
"""Least and most pixels of an epoch, in millions: short enough to watch, long enough to mean something."""
_FEWEST_CHIPS, _MOST_CHIPS = 256, 20_000
_VALIDATION_CHIPS = 200
_BATCH_PIXELS = 8 * 128 * 128
_SMALLEST_TILE = 64


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What the caller chose. None means that the demo chooses."""

    raster: Any = None
    """None: a generated scene."""
    labels: Any = None
    class_field: str | None = None
    size: int = 4096
    """Side of the generated scene in pixels."""
    seed: int = 0
    tile_size: int = 128
    """Side of the training chips in pixels of the grid that is worked on, a multiple of 32."""
    stride: int | None = None
    epochs: int | None = None
    backbone: str | None = None
    train_share: float = 0.75
    """Share of the rows, from the top, that is trained on."""
    cell_size: float | None = None
    out_crs: str | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if (self.raster is None) != (self.labels is None):
            raise SettingError("raster and labels go together: give both for your own data, or neither.")
        if not 0.1 <= self.train_share <= 0.9:
            raise SettingError(f"train_share={self.train_share} cannot work: use a share from 0.1 to 0.9.")
        if self.tile_size < _SMALLEST_TILE or self.tile_size % 32:
            raise SettingError(
                f"tile_size={self.tile_size} cannot work: use a multiple of 32, {_SMALLEST_TILE} or more."
            )
        for name in ("size", "stride", "epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name}={value} cannot work: use 1 or more.")
        if self.batch_size is not None and self.batch_size < 2:
            raise SettingError(f"batch_size={self.batch_size} cannot work: use 2 or more chips.")

    @property
    def generated(self) -> bool:
        """Whether the scene is the generated one."""
        return self.raster is None

    @property
    def grid_context(self) -> dict[str, Any]:
        """The grid to work on, in the words of the tools' ``context``."""
        given = {"cellSize": self.cell_size, "outSR": self.out_crs}
        return {key: value for key, value in given.items() if value is not None}


@dataclass(frozen=True)
class Parts:
    """Which rows are trained on and which are judged."""

    train: Window
    """From the top."""
    test: Window
    """The rest, without the rows next to the border that a training chip nearly shows."""
    border: float
    """Where the training rows end, 0 (top) to 1 (bottom)."""


def split_rows(grid: Grid, settings: DemoSettings) -> Parts:
    """Part a grid by rows: the upper ones to train on, the lower ones to judge.

    Between them one tile's width is left out, and never more than half of what is left.

    Raises
    ------
    SettingError
        If a part is too small to work with.
    """
    height, width = grid.shape
    border = round(height * settings.train_share)
    margin = min(settings.tile_size, (height - border) // 2)
    if border < settings.tile_size or width < settings.tile_size or height - border < 2:
        raise SettingError(
            f"{height} x {width} pixels are too few for chips of {settings.tile_size} pixels out of "
            f"{settings.train_share:.0%} of the rows: use a larger raster, smaller tiles or smaller cells."
        )
    test = Window(border + margin, 0, height - border - margin, width)
    return Parts(Window(0, 0, border, width), test, border / height)


def choose_stride(train: Window, settings: DemoSettings) -> int:
    """Pixels from one chip to the next: one tile, less where chips are few, more where they are too many."""
    if settings.stride is not None:
        return settings.stride
    stride = settings.tile_size
    if _chips(train, settings.tile_size, stride) < _FEWEST_CHIPS:
        stride //= 2
    while _chips(train, settings.tile_size, stride) > _MOST_CHIPS:
        stride *= 2
    return stride


def _chips(area: Window, tile: int, stride: int) -> int:
    return ((area.height - tile) // stride + 1) * ((area.width - tile) // stride + 1)


@dataclass(frozen=True)
class Recipe:
    """How the demo trains."""

    batch_size: int
    """Chips in a step."""
    epochs: int
    iterations: int
    """Steps of an epoch; chips go round where they are fewer."""
    validation: float
    """Share of the chips to validate with."""
    learning_rate: float
    model: Mapping[str, Any]
    """Settings of the U-Net, its backbone among them."""


def choose_recipe(chips: int, settings: DemoSettings) -> Recipe:
    """How to train on so many chips in the time that a demo may take.

    Parameters
    ----------
    chips
        Number of chips, 2 or more.
    """
    tile = settings.tile_size**2 / 1e6  # million pixels
    batch = settings.batch_size or max(2, round(_BATCH_PIXELS / settings.tile_size**2))
    least, most = _EPOCH_MEGAPIXELS
    epoch = min(max(chips * tile, least), most)
    budget = TRAINING_MEGAPIXELS["generated" if settings.generated else "own"]
    return Recipe(
        batch_size=batch,
        epochs=settings.epochs or max(1, round(budget / epoch)),
        iterations=max(1, math.ceil(epoch / (batch * tile))),
        validation=min(0.1, _VALIDATION_CHIPS / chips),
        learning_rate=0.004,
        model={
            # measured on two cores: mobilenet_v2 learns the generated scene in half the time of resnet18
            "backbone": settings.backbone or ("mobilenet_v2" if settings.generated else "resnet18"),
            "pretrained": False,
            "decoder_channels": [128, 64, 48, 32, 16],  # half the usual: twice as fast on two cores
            "dice_loss_fraction": 0.3,
            "dice_loss_average": "macro",  # small classes count as much as large ones
        },
    )
