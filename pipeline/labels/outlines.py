"""Runs of pixels that outline objects: joined, found in maps, and turned into boxes.

A run is a first pixel and one past the last, counted along the rows of a chip; it may go on in the next row.
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def expanded(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """All positions of the ranges ``starts`` to ``starts + counts``, one after the other, int64."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - counts), counts)


def united(
    owner: np.ndarray, start: np.ndarray, stop: np.ndarray, owners: int
) -> tuple[np.ndarray, np.ndarray]:
    """The union of the runs of each owner.

    Parameters
    ----------
    owner
        (r,) position of the object that a run belongs to, 0 up to ``owners``.
    start, stop
        (r,) first pixel, and one past the last; in any order, they may overlap.

    Returns
    -------
    counts, runs
        (owners,) int64 runs of each, and all runs, (r, 2) int32; those of an owner ascend and do not touch.
    """
    if not len(owner):
        return np.zeros(owners, np.int64), np.zeros((0, 2), np.int32)
    # owners lie so far apart that runs of two of them never meet
    apart = owner.astype(np.int64) * (int(stop.max()) + 1)
    order = np.argsort(
        apart + start, kind="stable"
    )  # quick where they are nearly in order, as they mostly are
    owner, start, stop, apart = owner[order], start[order], stop[order], apart[order]
    reached = np.maximum.accumulate(apart + stop)
    first = np.flatnonzero(np.concatenate([[True], apart[1:] + start[1:] > reached[:-1]]))
    runs = np.stack([start[first], np.maximum.reduceat(stop, first)], axis=1).astype(np.int32)
    return np.bincount(owner[first], minlength=owners), runs


def run_boxes(counts: np.ndarray, runs: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Bounding box (k, 4) float32 and number of pixels (k,) int64 of objects that all have a run."""
    if not len(counts):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    start, last = runs[:, 0].astype(np.int64), runs[:, 1].astype(np.int64) - 1
    over = start // width < last // width  # goes on in the next row, so it touches both sides
    left, right = np.where(over, 0, start % width), np.where(over, width, last % width + 1)
    first = np.cumsum(counts) - counts
    sides = [
        np.minimum.reduceat(left, first),
        np.minimum.reduceat(start // width, first),
        np.maximum.reduceat(right, first),
        np.maximum.reduceat(last // width + 1, first),
    ]
    return np.stack(sides, axis=1).astype(np.float32), np.add.reduceat(last + 1 - start, first)


def filled(counts: np.ndarray, runs: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels of objects as (k, H, W) bool."""
    size = shape[0] * shape[1]
    masks = np.zeros((len(counts), *shape), bool)
    starts = runs[:, 0] + np.repeat(np.arange(len(counts)) * size, counts)
    masks.reshape(-1)[expanded(starts, runs[:, 1].astype(np.int64) - runs[:, 0])] = True
    return masks


def even_runs(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Runs of one value, also of 0, that end with their row: map, start, stop, value, each (r,).

    Parameters
    ----------
    maps
        (n, H, W)
    """
    count, height, width = maps.shape
    rows = maps.reshape(count * height, width)
    begins = np.ones(rows.shape, bool)
    np.not_equal(rows[:, 1:], rows[:, :-1], out=begins[:, 1:])
    first = np.flatnonzero(begins)
    after = np.append(first[1:], rows.size)
    chip = first // (height * width)
    offset = chip * (height * width)
    return chip, first - offset, after - offset, maps.reshape(-1)[first]


def region_runs(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Runs of the 8-connected regions of equal values above 0, regions in the order of their first pixels.

    Parameters
    ----------
    maps
        (n, H, W)

    Returns
    -------
    region, start, stop
        (r,) of each run.
    chip, value
        (k,) of each region.
    """
    chip, start, stop, value = even_runs(maps)
    upper, lower = _neighbours(chip, start, stop, maps.shape)
    joined = (value[upper] == value[lower]) & (value[upper] > 0)
    ones = np.ones(int(joined.sum()), np.int8)
    graph = coo_array((ones, (upper[joined], lower[joined])), shape=(len(start), len(start)))
    _, component = connected_components(graph, directed=False)
    kept = np.flatnonzero(value > 0)
    _, first, region = np.unique(component[kept], return_index=True, return_inverse=True)
    order = np.argsort(first)  # in which regions are met, row by row
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    first = kept[first[order]]
    return rank[region], start[kept], stop[kept], chip[first], value[first]


def _neighbours(
    chip: np.ndarray, start: np.ndarray, stop: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of runs that touch, also at a corner, one in the row under the other's."""
    _, height, width = shape
    # one key for all runs in reading order; with a spare row and column, nothing touches across the sides
    row, col = start // width, start % width
    line = chip * (height + 1) + row
    begins = line * (width + 2) + col
    ends = begins + stop - start
    down = width + 2
    low = np.searchsorted(ends, begins + down, side="left")
    high = np.searchsorted(begins, ends + down, side="right")
    counts = np.maximum(high - low, 0)
    return np.repeat(np.arange(len(start)), counts), expanded(low, counts)
