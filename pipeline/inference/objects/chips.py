"""Put what chips have found into the raster: boxes and outlines in its pixels, and which are cut."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from rasterloom.pipeline.inference.objects.finds import Finds
from rasterloom.pipeline.seams.candidates import Candidates, ChipViews

NEAR = 2.0
"""A box that comes this near, in pixels, to where a chip's view ends may be cut there."""

LEAST_INSIDE = 0.25
"""Least share of a box's width and height that lies on the raster; what is less is an image in its mirror.

A thing that touches the raster's edge grows together with its image, and half of that lies on the raster.
"""


def candidates_of(
    found: Sequence[Finds], places: np.ndarray, views: ChipViews, valid: np.ndarray | None = None
) -> Candidates:
    """What chips have found, in pixels of the raster.

    Images in the mirror beyond the raster's edge are left out, and so is what shows no valid pixel.

    Parameters
    ----------
    found
        What is in each chip.
    places
        (n, 2) of int: row and column of each in the grid of chips.
    views
        Where chips look.
    valid
        (n, T, T) of bool: which pixels of a chip hold something. None: all.

    Returns
    -------
    Candidates
        In the order of the chips, and of their findings.
    """
    parts = [
        _placed(finds, place, views, None if valid is None else valid[number])
        for number, (finds, place) in enumerate(zip(found, places, strict=True))
    ]
    return Candidates.joined(parts)


def _placed(finds: Finds, place: np.ndarray, views: ChipViews, valid: np.ndarray | None) -> Candidates:
    count = len(finds["scores"])
    if not count:
        return Candidates.empty()
    origin = place[::-1].astype(np.float64) * views.stride - views.padding  # x, y
    low, high = finds["boxes"][:, :2] + origin, finds["boxes"][:, 2:] + origin
    size = np.array(views.shape[::-1], np.float64)
    view = views.views(place[None])[0]  # x1, y1, x2, y2, on the raster
    chip_low, chip_high = origin, origin + views.tile
    low, high = np.clip(low, chip_low, chip_high), np.clip(high, chip_low, chip_high)
    inside_low, inside_high = np.clip(low, 0, size), np.clip(high, 0, size)
    share_kept = (inside_high - inside_low >= LEAST_INSIDE * (high - low)) | ((low <= 0) & (high >= size))
    kept = share_kept.all(axis=1) & (inside_high > inside_low).all(axis=1)
    boxes = np.concatenate([inside_low, inside_high], axis=1)
    if valid is not None:
        kept &= _on_something(boxes, valid, origin)
    cut_low = (boxes[:, :2] < view[:2] + NEAR) & (view[:2] > 0)
    cut_high = (boxes[:, 2:] > view[2:] - NEAR) & (view[2:] < size)
    outlines = np.full(count, b"", object)
    if "masks" in finds:
        for row in np.flatnonzero(kept):
            outlines[row] = _outline(finds["masks"][row], origin, view)
    elif "outlines" in finds:
        for row in np.flatnonzero(kept):
            outlines[row] = _clipped(finds["outlines"][row], origin, view)
    return Candidates(
        boxes=boxes,
        scores=finds["scores"].astype(np.float32),
        labels=finds["labels"].astype(np.int32),
        chips=np.repeat(np.asarray(place, np.int32)[None], count, axis=0),
        cut=np.concatenate([cut_low, cut_high], axis=1),
        outlines=outlines,
    ).taken(kept)


def _on_something(boxes: np.ndarray, valid: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Whether each box holds a valid pixel of its chip."""
    if valid.all():
        return np.ones(len(boxes), bool)
    height, width = valid.shape
    total = np.zeros((height + 1, width + 1), np.int64)
    total[1:, 1:] = valid.cumsum(0).cumsum(1)
    x1, y1 = np.floor(boxes[:, :2] - origin).astype(int).clip(0, (width, height)).T
    x2, y2 = np.ceil(boxes[:, 2:] - origin).astype(int).clip(0, (width, height)).T
    held: np.ndarray = total[y2, x2] - total[y1, x2] - total[y2, x1] + total[y1, x1] > 0
    return held


def _outline(mask: np.ndarray, origin: np.ndarray, view: np.ndarray) -> bytes:
    """The pixels of a mask that lie on the raster as one outline along their edges; b"" for none."""
    x1, y1, x2, y2 = (view - np.tile(origin, 2)).astype(int)
    seen = mask[y1:y2, x1:x2]
    rows, cols = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not len(rows):
        return b""
    part = seen[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    steps = np.diff(np.pad(part, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (y, x1), (_, x2) = np.nonzero(steps == 1), np.nonzero(steps == -1)  # runs of pixels, row by row
    left, top = view[:2] + (cols[0], rows[0])
    whole = shapely.union_all(shapely.box(left + x1, top + y, left + x2, top + y + 1))
    # first each ring begins at a corner, then points between corners go
    return bytes(shapely.to_wkb(shapely.simplify(shapely.normalize(whole), 0)))


def _clipped(outline: Any, origin: np.ndarray, view: np.ndarray) -> bytes:
    """The part of an outline that its chip sees of the raster; b"" where that is a box."""
    moved = shapely.transform(outline, lambda points: points + origin)
    seen = shapely.intersection(shapely.make_valid(moved), shapely.box(*view))
    areas = [part for part in shapely.get_parts(seen) if part.area > 0]
    whole = shapely.union_all(areas)
    if not areas or whole.equals(shapely.envelope(whole)):
        return b""
    return bytes(shapely.to_wkb(shapely.normalize(whole)))
