"""The objects of chips: boxes, classes, and the pixels of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rasterloom.models.errors import LabelError
from rasterloom.pipeline.labels.clips import clip_runs, clip_to_chips
from rasterloom.pipeline.labels.features import Labels
from rasterloom.pipeline.labels.outlines import even_runs, expanded, filled, region_runs, run_boxes, united
from rasterloom.pipeline.rasters.grid import Grid, Window


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of some chips, those of the first chip first."""

    counts: np.ndarray
    """(n,) int64: objects of each chip."""
    boxes: np.ndarray
    """(m, 4) float32: xmin, ymin, xmax, ymax in pixels from the chip's upper-left corner, inside the chip."""
    values: np.ndarray
    """(m,) int64: class value of each object."""
    shares: np.ndarray
    """(m,) float32: part of the object's whole area that lies in the chip, above 0 up to 1."""
    areas: np.ndarray
    """(m,) float64: area inside the chip, in squared units of the CRS."""
    features: np.ndarray
    """(m,) int64: position of the feature in its layer; -1 where there is none."""
    run_counts: np.ndarray | None = None
    """(m,) int64: runs of each object; None where only boxes are known."""
    runs: np.ndarray | None = None
    """(r, 2) int32: first and one past the last pixel, counted along the rows of the chip. Those of an object
    ascend and do not touch; objects may overlap each other."""

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def none(cls, chips: int, *, outlines: bool = False) -> "Objects":
        """No objects in so many chips."""
        nothing = np.zeros(0, np.int64)
        return cls(
            counts=np.zeros(chips, np.int64),
            boxes=np.zeros((0, 4), np.float32),
            values=nothing,
            shares=np.zeros(0, np.float32),
            areas=np.zeros(0, np.float64),
            features=nothing,
            run_counts=nothing if outlines else None,
            runs=np.zeros((0, 2), np.int32) if outlines else None,
        )

    @classmethod
    def joined(cls, parts: Iterable["Objects"]) -> "Objects":
        """The chips of all parts, one part after the other. Outlines are kept where every object has one."""
        given = list(parts)
        holding = [part for part in given if len(part)] or given
        outlines = bool(holding) and all(part.runs is not None for part in holding)
        if not given or not any(len(part) for part in given):
            return cls.none(sum(len(part.counts) for part in given), outlines=outlines)

        def column(name: str) -> np.ndarray:
            return np.concatenate([getattr(part, name) for part in holding])

        return cls(
            counts=np.concatenate([part.counts for part in given]),
            boxes=column("boxes"),
            values=column("values"),
            shares=column("shares"),
            areas=column("areas"),
            features=column("features"),
            run_counts=column("run_counts") if outlines else None,
            runs=column("runs") if outlines else None,
        )

    @cached_property
    def starts(self) -> np.ndarray:
        """(n + 1,) int64: position of each chip's first object, and their number at the end."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)

    @cached_property
    def run_starts(self) -> np.ndarray:
        """(m + 1,) int64: position of each object's first run, and their number at the end."""
        return np.concatenate([[0], np.cumsum(self._outlined()[0])]).astype(np.int64)

    @property
    def chips(self) -> np.ndarray:
        """(m,) int64: position of the chip that each object is in."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def of(self, chips: Any) -> "Objects":
        """The objects of some chips, in any order and with repeats."""
        wanted = np.atleast_1d(np.asarray(chips, np.int64))
        wanted = np.where(wanted < 0, wanted + len(self.counts), wanted)
        counts = self.counts[wanted]
        return self._rows(expanded(self.starts[:-1][wanted], counts), counts)

    def kept(self, which: np.ndarray) -> "Objects":
        """The objects for which ``which`` (m,) bool is true; every chip stays, maybe without any."""
        counts = np.bincount(self.chips[which], minlength=len(self.counts))
        return self._rows(np.flatnonzero(which), counts.astype(np.int64))

    def outlines(self, chip: int, shape: tuple[int, int]) -> np.ndarray:
        """The pixels of a chip's objects, (k, H, W) bool.

        Parameters
        ----------
        shape
            Height and width of the chips. Runs count along rows, so they mean nothing without it.

        Raises
        ------
        LabelError
            If only boxes are known.
        """
        run_counts, runs = self._outlined()
        first, last = self.starts[:-1][chip], self.starts[1:][chip]
        counts = run_counts[first:last]
        return filled(counts, runs[self.run_starts[first] : self.run_starts[last]], shape)

    def _outlined(self) -> tuple[np.ndarray, np.ndarray]:
        if self.run_counts is None or self.runs is None:
            raise LabelError("only the boxes of these objects are known: export chips with outlines.")
        return self.run_counts, self.runs

    def _rows(self, rows: np.ndarray, counts: np.ndarray) -> "Objects":
        run_counts, runs = self.run_counts, self.runs
        if run_counts is not None and runs is not None:
            runs = runs[expanded(self.run_starts[:-1][rows], run_counts[rows])]
            run_counts = run_counts[rows]
        return Objects(
            counts=counts,
            boxes=self.boxes[rows],
            values=self.values[rows],
            shares=self.shares[rows],
            areas=self.areas[rows],
            features=self.features[rows],
            run_counts=run_counts,
            runs=runs,
        )


def objects_in(
    labels: Labels, grid: Grid, window: Window, *, min_share: float = 0.0, outlines: bool = False
) -> Objects:
    """The features that lie in one chip; see :func:`objects_of_chips`."""
    return objects_of_chips(labels, grid, [window], min_share=min_share, outlines=outlines)


def objects_of_chips(
    labels: Labels,
    grid: Grid,
    windows: Sequence[Window],
    *,
    min_share: float = 0.0,
    outlines: bool = False,
) -> Objects:
    """The features that lie in chips, each clipped to its chip, in the order of the features.

    A feature of several parts is one object. One that only touches a chip, or has no area, is none.

    Parameters
    ----------
    labels
        In the grid's CRS.
    grid
        May be turned or sheared: chips are cut along its rows.
    windows
        Chips on the grid; they may reach beyond it. The answer for one does not depend on the others.
    min_share
        Least part of a feature's area that must lie in the chip, 0 to 1.
    outlines
        Whether to find the pixels of each object too: those whose centre it holds. An object
        without a pixel is left out then.
    """
    clips = clip_to_chips(labels, grid, windows)
    clips = clips.kept(clips.shares >= min_share)
    run_counts = runs = None
    if outlines:
        run_counts, runs = clip_runs(clips, labels, grid, windows)
        seen = run_counts > 0
        clips, run_counts = clips.kept(seen), run_counts[seen]
    a, b, _, d, e, _ = grid.transform
    return Objects(
        counts=np.bincount(clips.chip, minlength=len(windows)).astype(np.int64),
        boxes=clips.boxes,
        values=labels.values[clips.feature],
        shares=clips.shares.astype(np.float32),
        areas=clips.pixels * abs(a * e - b * d),
        features=labels.positions[clips.feature],
        run_counts=run_counts,
        runs=runs,
    )


def regions_of(classes: np.ndarray, pixel_area: float = 1.0) -> Objects:
    """The regions of equal class in a class map: pixels that touch, also at corners, are of one.

    Parameters
    ----------
    classes
        (H, W) class value of each pixel of a chip, or (n, H, W) of several; 0 is no class.
    pixel_area
        Area of a pixel in squared units of the CRS.

    Returns
    -------
    Objects
        With outlines, in the order in which regions are met row by row. What lies beyond the chip is not
        known, so the share is 1.
    """
    maps = classes.reshape(-1, *classes.shape[-2:])
    region, start, stop, chip, values = region_runs(maps)
    run_counts, runs = united(region, start, stop, len(values))
    counts = np.bincount(chip, minlength=len(maps)).astype(np.int64)
    return _from_runs(counts, values, run_counts, runs, maps.shape[2], pixel_area)


def instances_of(
    ids: np.ndarray, values: Mapping[int, int] | None = None, pixel_area: float = 1.0
) -> Objects:
    """The objects of a numbered map, one for each number above 0 that occurs, in ascending number.

    Parameters
    ----------
    ids
        (H, W) number of the object that each pixel of a chip belongs to, or (n, H, W) of several.
    values
        Class value of each number; numbers that are not in it are no objects. None makes all of class 1.
    pixel_area
        Area of a pixel in squared units of the CRS.
    """
    maps = ids.reshape(-1, *ids.shape[-2:])
    chip, start, stop, number = even_runs(maps)
    seen = number > 0
    if values is not None:
        seen &= np.isin(number, np.fromiter(values, np.int64, len(values)))
    chip, start, stop, number = chip[seen], start[seen], stop[seen], number[seen].astype(np.int64)
    pairs, owner = np.unique(np.stack([chip, number], axis=1), axis=0, return_inverse=True)
    run_counts, runs = united(owner.reshape(-1), start, stop, len(pairs))
    classes = [1 if values is None else values[number] for number in pairs[:, 1].tolist()]
    counts = np.bincount(pairs[:, 0], minlength=len(maps)).astype(np.int64)
    return _from_runs(counts, np.array(classes, np.int64), run_counts, runs, maps.shape[2], pixel_area)


def objects_from_masks(masks: np.ndarray, values: Any, pixel_area: float = 1.0) -> Objects:
    """The objects of one chip from a mask for each; masks may overlap, and empty ones are left out.

    Parameters
    ----------
    masks
        (k, H, W); what is not 0 belongs to the object.
    values
        (k,) class value of each.
    pixel_area
        Area of a pixel in squared units of the CRS.
    """
    owner, start, stop, inside = even_runs(masks != 0)
    run_counts, runs = united(owner[inside], start[inside], stop[inside], len(masks))
    seen = run_counts > 0
    given = np.asarray(values, np.int64).reshape(-1)[seen]
    counts = np.array([len(given)], np.int64)
    return _from_runs(counts, given, run_counts[seen], runs, masks.shape[2], pixel_area)


def _from_runs(
    counts: np.ndarray,
    values: np.ndarray,
    run_counts: np.ndarray,
    runs: np.ndarray,
    width: int,
    pixel_area: float,
) -> Objects:
    boxes, pixels = run_boxes(run_counts, runs, width)
    return Objects(
        counts=counts,
        boxes=boxes,
        values=values.astype(np.int64),
        shares=np.ones(len(values), np.float32),
        areas=pixels * float(pixel_area),
        features=np.full(len(values), -1, np.int64),
        run_counts=run_counts.astype(np.int64),
        runs=runs,
    )
