"""What passes between the pipeline and a model: plain, torch-free values.

The pipeline speaks coordinates, a model speaks pixels. Everything that both must agree on stands here.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from rasterloom.models.errors import SettingError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Red, green, blue on a 0..1 scale (torchvision's documented values)."""


class Task(StrEnum):
    """What a model is for; the same word in every room."""

    PIXELS = "pixels"
    """One class for each pixel."""
    OBJECTS = "objects"
    """Boxes or outlines of things."""
    SCENES = "scenes"
    """One label for a whole chip."""
    CHANGE = "change"
    """What differs between two dates."""
    IMAGES = "images"
    """Image to image."""


@dataclass(frozen=True)
class ClassInfo:
    """One class of the labels."""

    value: int
    """Class value in label rasters and outputs, 0 or more. 0 means background."""
    name: str
    """What people call it."""
    color: tuple[int, int, int]
    """Red, green, blue, 0..255."""


BACKGROUND = ClassInfo(0, "background", (0, 0, 0))
"""What an output stands for that belongs to no class."""


@dataclass(frozen=True)
class Normalization:
    """Per-band affine scaling: the network sees ``(pixel - mean) / std``."""

    mean: tuple[float, ...]
    """Per band, in the raster's own pixel units."""
    std: tuple[float, ...]
    """Per band, in the raster's own pixel units, greater than 0."""

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std):
            raise SettingError(f"normalization has {len(self.mean)} means and {len(self.std)} deviations.")
        if not all(math.isfinite(s) and s > 0 for s in self.std):
            raise SettingError(f"normalization needs deviations above 0, not {self.std}.")


@dataclass(frozen=True)
class ModelSpec:
    """Everything about a model except its weights."""

    model: str
    """Name of its class in the catalog, such as ``UnetClassifier``."""
    task: Task
    bands: tuple[str, ...]
    """Names of the input bands, in the network's order; its length is the number of bands."""
    extract_bands: tuple[int, ...]
    """0-based positions of those bands in the source raster."""
    dtype: str
    """Pixel type of the training raster, such as ``uint8``; empty where nobody knows."""
    normalization: Normalization
    tile_size: int
    """Side of the chips it was trained on, in pixels."""
    classes: tuple[ClassInfo, ...]
    """In ascending value; value 0 only where background is a class of its own."""
    cell_size: tuple[float, float]
    """Pixel width and height of the training chips, in units of ``crs``; 0 where nobody knows."""
    crs: str
    """WKT or authority code of the training chips; empty where nobody knows."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The constructor's settings, JSON-able, such as ``{"backbone": "resnet18"}``."""
    background: bool = True
    """Whether output 0 is what belongs to no class. Without effect where 0 is a class of its own."""

    @property
    def band_count(self) -> int:
        return len(self.bands)

    @property
    def output_values(self) -> tuple[int, ...]:
        """Class value of each network output, ascending: 0 for background where there is one, the classes."""
        named = {c.value for c in self.classes}
        return tuple(sorted(named | {0} if self.background else named))

    @property
    def output_classes(self) -> tuple[ClassInfo, ...]:
        """The class of each network output; output 0 is background unless 0 is a class of its own."""
        known = {info.value: info for info in self.classes}
        return tuple(known.get(value, BACKGROUND) for value in self.output_values)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary that :meth:`from_json` reads back."""
        plain = asdict(replace(self, parameters={}))
        plain["parameters"] = dict(self.parameters)
        plain["task"] = str(self.task)
        if self.background:
            del plain["background"]  # packages and digests of older versions stay what they are
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "ModelSpec":
        """The value that :meth:`to_json` wrote."""
        return cls(
            model=str(plain["model"]),
            task=Task(plain["task"]),
            bands=tuple(plain["bands"]),
            extract_bands=tuple(plain["extract_bands"]),
            dtype=str(plain["dtype"]),
            normalization=Normalization(
                tuple(plain["normalization"]["mean"]), tuple(plain["normalization"]["std"])
            ),
            tile_size=int(plain["tile_size"]),
            classes=classes_from_json(plain["classes"]),
            cell_size=(float(plain["cell_size"][0]), float(plain["cell_size"][1])),
            crs=str(plain["crs"]),
            parameters=dict(plain["parameters"]),
            background=bool(plain.get("background", True)),
        )


def classes_from_json(plain: Sequence[Mapping[str, Any]]) -> tuple[ClassInfo, ...]:
    """Class list from ``[{"value": .., "name": .., "color": [r, g, b]}, ..]``, in ascending value."""
    rows = (ClassInfo(int(c["value"]), str(c["name"]), _color(c["color"])) for c in plain)
    return tuple(sorted(rows, key=lambda c: c.value))


def _color(value: Sequence[int]) -> tuple[int, int, int]:
    red, green, blue = (int(v) for v in value)
    return red, green, blue
