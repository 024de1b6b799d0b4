"""Find the things in pictures that are in memory: chip by chip without seams, or the whole made small."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import shapely
import torch
from torch.nn import functional as F

from rasterloom.models.contract import Task
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.pipeline.inference.devices import has_gpu
from rasterloom.pipeline.inference.objects.chips import candidates_of
from rasterloom.pipeline.inference.objects.predict import ObjectPredictor
from rasterloom.pipeline.rasters.grid import reflect_indices
from rasterloom.pipeline.seams.candidates import Candidates, ChipViews
from rasterloom.pipeline.seams.found import Found
from rasterloom.pipeline.seams.resolve import SeamRules, resolve


@dataclass(frozen=True, kw_only=True)
class Looking:
    """How a detector looks at pictures."""

    threshold: float = 0.5
    """Least score of a thing, 0..1."""
    nms_overlap: float = 0.1
    """Of things of a class that overlap more than this, the most certain one is kept; 0..1."""
    resize: bool = False
    """Whether a picture is seen once, at the size of the model's chips, instead of chip by chip."""
    batch_size: int = 1
    """Chips that the network sees at once."""
    augmented: bool = False
    """Whether every chip is seen in its eight flips and rotations."""

    def __post_init__(self) -> None:
        for name in ("threshold", "nms_overlap"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise SettingError(f"{name}={value!r} cannot work: use a number from 0 to 1.")
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise SettingError(f"batch_size={self.batch_size!r} cannot work: use a whole number, 1 or more.")


@dataclass(frozen=True)
class Picture:
    """Pixels without a place on the ground."""

    pixels: np.ndarray
    """(C, H, W), the bands that the model sees, uint8 or float32."""
    valid: np.ndarray | None = field(default=None)
    """(H, W) of bool: which pixels hold something. None: all."""


class PictureFinder:
    """A detector, ready to look at one picture after the other."""

    def __init__(self, model: Any, looking: Looking) -> None:
        self._predictor = ObjectPredictor(model, "cuda" if has_gpu() else "cpu")
        self._looking = looking
        self._tile: int = model.spec.tile_size

    @property
    def batch_size(self) -> int:
        """Chips that the network sees at once."""
        return self._looking.batch_size

    def find(self, pictures: Sequence[Picture]) -> list[Found]:
        """The things in each picture, in its pixels, the most certain first.

        Chips of several pictures share batches.

        Warns
        -----
        UserWarning
            If the detector gave things that are nowhere.
        """
        if self._looking.resize:
            return [
                _scaled(found, picture.pixels.shape[2] / self._tile, picture.pixels.shape[1] / self._tile)
                for found, picture in zip(self._in_small(pictures), pictures, strict=True)
            ]
        padding = self._tile // 4
        shapes = [picture.pixels.shape[1:] for picture in pictures]
        return self._by_chips(
            pictures, [ChipViews(tile=self._tile, padding=padding, shape=shape) for shape in shapes]
        )

    def _by_chips(self, pictures: Sequence[Picture], views: Sequence[ChipViews]) -> list[Found]:
        looking, parts = self._looking, [[Candidates.empty()] for _ in pictures]
        places = [(number, place) for number, view in enumerate(views) for place in _places(view)]
        unusable = 0
        for start in range(0, len(places), looking.batch_size):
            some = places[start : start + looking.batch_size]
            chips, valid = _chips(pictures, views, some, looking.batch_size)
            found = self._predictor.find(
                chips,
                valid,
                threshold=looking.threshold,
                nms_overlap=looking.nms_overlap,
                tta=looking.augmented,
            )
            for (number, place), finds, seen in zip(some, found, valid, strict=False):
                unusable += finds["unusable"]
                there = candidates_of([finds], np.array([place]), views[number], seen[None])
                parts[number].append(there)
        if unusable:
            warnings.warn(
                f"{unusable} things are left out: the detector gave them a score or a box that is no number, "
                "or a box without an area.",
                stacklevel=4,
            )
        rules = [SeamRules(views=view, nms_overlap=looking.nms_overlap) for view in views]
        return [resolve(Candidates.joined(part), rule) for part, rule in zip(parts, rules, strict=True)]

    def _in_small(self, pictures: Sequence[Picture]) -> list[Found]:
        """What one look at each whole picture shows, at the size of a chip."""
        side, small = self._tile, []
        for picture in pictures:
            pixels = torch.from_numpy(np.ascontiguousarray(picture.pixels)).float()[None]
            less = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)
            small.append(Picture(less[0].numpy(), _nearest(picture.valid, side)))
        return self._by_chips(small, [ChipViews(tile=side, padding=0, shape=(side, side))] * len(small))


@contextmanager
def looking_with(model: Any, looking: Looking) -> Iterator[PictureFinder]:
    """A finder of a model that afterwards is where it was, and trains if it did.

    Raises
    ------
    SettingError
        If the model finds no objects.
    """
    if model.spec.task != Task.OBJECTS:
        raise SettingError(f"{model.spec.model} is for {model.spec.task}: use a model that finds objects.")
    network = model.network
    training = {part: part.training for part in network.modules()}
    weight = next(network.parameters(), None)
    home = None if weight is None else weight.device
    try:
        yield PictureFinder(model, looking)
    finally:
        network.to(home)
        for part, was_training in training.items():
            part.training = was_training


def picture_of(pixels: np.ndarray, model: Any, name: str, valid: np.ndarray | None = None) -> Picture:
    """The bands of an image (C, H, W) that a model sees.

    An image with as many bands as the model sees is taken as it is; of one with more, those that the model
    was trained on by their positions.

    Raises
    ------
    ModelMismatchError
        If the image has too few bands.
    """
    wanted, count = model.spec.band_count, len(pixels)
    positions = list(model.spec.extract_bands) if count != wanted else list(range(count))
    if count < wanted or max(positions) >= count:
        raise ModelMismatchError(
            f"{name} has {count} bands, and the model sees {wanted} ({', '.join(model.spec.bands)}): "
            "give an image with these bands."
        )
    chosen = pixels[positions]
    if chosen.dtype.kind == "f" and not np.isfinite(chosen).all():
        finite = np.isfinite(chosen).all(axis=0)
        valid = finite if valid is None else valid & finite
    return Picture(chosen if chosen.dtype == np.uint8 else chosen.astype(np.float32), valid)


def _places(views: ChipViews) -> list[tuple[int, int]]:
    """Row and column of every chip of a picture, row by row."""
    rows, cols = (-(-side // views.stride) for side in views.shape)
    return [(row, col) for row in range(rows) for col in range(cols)]


def _chips(
    pictures: Sequence[Picture],
    views: Sequence[ChipViews],
    places: Sequence[tuple[int, tuple[int, int]]],
    size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Chips of the full batch shape, mirrored beyond their picture."""
    tile, first = views[0].tile, pictures[0].pixels
    chips = np.zeros((size, len(first), tile, tile), first.dtype)
    valid = np.ones((size, tile, tile), bool)
    for slot, (number, (row, col)) in enumerate(places):
        picture, view = pictures[number], views[number]
        top, left = row * view.stride - view.padding, col * view.stride - view.padding
        down = np.asarray(reflect_indices(top, top + tile, view.shape[0]))
        across = np.asarray(reflect_indices(left, left + tile, view.shape[1]))
        chips[slot] = picture.pixels[:, down[:, None], across]
        if picture.valid is not None:
            valid[slot] = picture.valid[down[:, None], across]
    return chips, valid


def _nearest(valid: np.ndarray | None, side: int) -> np.ndarray | None:
    if valid is None:
        return None
    rows, cols = (((np.arange(side) + 0.5) * length / side).astype(int) for length in valid.shape)
    return np.asarray(valid[rows[:, None], cols])


def _scaled(found: Found, across: float, down: float) -> Found:
    factors = np.array([across, down])
    outlines = np.array(found.outlines, object)
    for row, outline in enumerate(outlines):
        if outline:
            shape = shapely.transform(shapely.from_wkb(outline), lambda points: points * factors)
            outlines[row] = shapely.to_wkb(shape)
    return replace(found, boxes=found.boxes * np.tile(factors, 2), outlines=outlines)


def classes_of(found: Found, classes: Sequence[Any]) -> list[Any]:
    """The class of each thing; label 1 is the first class."""
    return [classes[label - 1] for label in found.labels.tolist()]
