"""The ``model_arguments`` of change detection."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.arguments import PixelArguments, flag, pixel_arguments

NAMES = (
    "tile_size",
    "padding",
    "batch_size",
    "crop_predict",
    "test_time_augmentation",
    "merge_policy",
    "threshold",
    "return_probability_raster",
)
"""What can be given."""

MOST_WHOLE = 4096
"""Largest side, in pixels, of what is seen as a whole: a network holds a hundred times its bytes and more."""

_TILED = ("tile_size", "padding", "batch_size")
"""What has a meaning only where there are several tiles."""


@dataclass(frozen=True)
class Looks:
    """How a caller wants two dates to be looked at."""

    given: Mapping[str, Any]
    """What :func:`pixel_arguments` takes."""
    in_tiles: bool
    """Whether a window slides over the rasters; else they are seen as a whole."""

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> "Looks":
        """What a caller's arguments mean.

        Raises
        ------
        SettingError
            If a name is not known (the message lists those that are), or two do not go together.
        """
        values = dict(given or {})
        for name in values:
            if name not in NAMES:
                raise SettingError(
                    f"model argument {name!r} is not known: models for change take {', '.join(NAMES)}."
                )
        in_tiles = flag("crop_predict", values.pop("crop_predict", True))
        idle = [name for name in _TILED if name in values]
        if idle and not in_tiles:
            raise SettingError(
                f"{idle[0]} is about tiles, and crop_predict=False looks at the rasters as a whole: give one "
                "of the two."
            )
        return cls(values, in_tiles)

    def tiled(
        self, spec: ModelSpec, *, tile_multiple: int, device: str, blend: str, probability_type: str
    ) -> PixelArguments:
        """Arguments with tiles of the model's size, or the caller's; errors as :func:`pixel_arguments`."""
        return pixel_arguments(
            self.given,
            spec,
            tile_multiple=tile_multiple,
            device=device,
            blend=blend,
            probability_type=probability_type,
        )

    def whole(
        self,
        shape: tuple[int, int],
        spec: ModelSpec,
        *,
        tile_multiple: int,
        device: str,
        probability_type: str,
    ) -> PixelArguments:
        """Arguments with one tile that holds all of (height, width); what it has beyond is mirrored.

        Raises
        ------
        SettingError
            If that is more than a network can be expected to take.
        """
        side = -(-max(shape) // tile_multiple) * tile_multiple
        if side > MOST_WHOLE:
            raise SettingError(
                f"crop_predict=False sends all of {shape[0]} x {shape[1]} pixels through the network at "
                f"once, and at most {MOST_WHOLE} a side will do: leave it out, or give a smaller extent."
            )
        return pixel_arguments(
            {**self.given, "tile_size": side, "padding": 0, "batch_size": 1},
            spec,
            tile_multiple=tile_multiple,
            device=device,
            probability_type=probability_type,
        )
