"""The faces of a block of pixels, and the borders between them."""

import numpy as np
from skimage.measure import label

from rasterloom.pipeline.outputs.polygons import NOTHING, Chains, Faces, Patch, followed, offsets
from rasterloom.pipeline.rasters.grid import Window

SHARE = 2.0**-24
"""Unit in which probabilities are added up: whole numbers have the same sum in any order."""


def trace(
    values: np.ndarray,
    wanted: np.ndarray,
    window: Window,
    shape: tuple[int, int],
    *,
    connectivity: int = 4,
    shares: np.ndarray | None = None,
) -> Patch:
    """All faces of a block of pixels.

    Parameters
    ----------
    values
        (row, column) whole numbers.
    wanted
        (row, column) bool. Where false, there is nothing.
    window
        Where the block lies.
    shape
        Of the raster.
    connectivity
        4 or 8: whether pixels of one value that meet at a corner only are one feature.
    shares
        (row, column) probability of each pixel's value, NaN where nobody knows it.
    """
    ranks = np.where(wanted, _ranks(values), 0)
    labels = np.asarray(label(ranks, background=0, connectivity=1)).astype(np.int32)
    faces = _faces(labels, values, window, shape, shares)
    if connectivity == 8:
        faces.groups[:] = _groups(labels, np.asarray(label(ranks, background=0, connectivity=2)))
    return Patch(
        window,
        shape,
        faces,
        _chains(labels, faces.values, window, shape),
        np.zeros((0, 2), np.int32),
        *(side.astype(np.int64) for side in (labels[0], labels[:, -1], labels[-1], labels[:, 0])),
    )


def _ranks(values: np.ndarray) -> np.ndarray:
    """A number above 0 for each value, the same for the same."""
    if values.dtype.itemsize < 4:
        return values.astype(np.int32) - (np.iinfo(values.dtype).min - 1)
    return np.asarray(np.unique(values, return_inverse=True)[1].reshape(values.shape) + 1)


def _faces(
    labels: np.ndarray, values: np.ndarray, window: Window, shape: tuple[int, int], shares: np.ndarray | None
) -> Faces:
    flat = labels.ravel()
    pixels = np.bincount(flat, minlength=1)
    count = len(pixels)
    first = np.zeros(count, np.int64)
    first[flat[::-1]] = np.arange(flat.size - 1, -1, -1)  # the first of a face is written last
    row, col = np.divmod(first, window.width)
    anchors = (row + window.row) * shape[1] + col + window.col
    held = values.ravel()[first].astype(np.int64)
    held[0], anchors[0], pixels[0] = NOTHING, -1, 0
    total, sure = np.zeros(count, np.int64), np.zeros(count, np.int64)
    if shares is not None:
        known = np.isfinite(shares.ravel())
        units = np.rint(shares.ravel()[known].astype(np.float64) / SHARE)
        # float64 holds whole numbers up to 2^53: sums of 2^29 pixels
        total = np.bincount(flat[known], weights=units, minlength=count).astype(np.int64)
        sure = np.bincount(flat[known], minlength=count)
        total[0] = sure[0] = 0
    return Faces(held, anchors, np.arange(count), pixels, total, sure)


def _groups(labels: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """Row of the first face of those that share a wide label."""
    wide_of = np.zeros(int(labels.max(initial=0)) + 1, np.int64)
    wide_of[labels.ravel()] = wide.ravel()
    _, first, back = np.unique(wide_of, return_index=True, return_inverse=True)
    return np.asarray(first[back.reshape(-1)], np.int64)


def _chains(labels: np.ndarray, values: np.ndarray, window: Window, shape: tuple[int, int]) -> Chains:
    height, width = labels.shape
    top, right, bottom, left = (
        window.row > 0,
        window.col_stop < shape[1],
        window.row_stop < shape[0],
        window.col > 0,
    )
    padded = np.full((height + 2, width + 2), -1, np.int32)
    padded[1:-1, 1:-1] = labels
    for inner, side in (
        (top, padded[0]),
        (right, padded[:, -1]),
        (bottom, padded[-1]),
        (left, padded[:, 0]),
    ):
        if not inner:
            side[:] = 0
    across = _runs(padded[:-1, 1:-1], padded[1:, 1:-1])
    down = _runs(padded[1:-1, :-1].T, padded[1:-1, 1:].T)
    degree = np.zeros((height + 1, width + 1), np.uint8)
    for cracks, touched in (
        (across[0], (degree[:, :-1], degree[:, 1:])),
        (down[0].T, (degree[:-1], degree[1:])),
    ):
        for corners in touched:
            corners += cracks
    for inner, side in ((top, degree[0]), (right, degree[:, -1]), (bottom, degree[-1]), (left, degree[:, 0])):
        if inner:
            side[:] = 0
    begins, ends, left_face, right_face, way = _segments(across[1:], down[1:], values)
    stride = width + 1
    start, stop = begins[:, 1] * stride + begins[:, 0], ends[:, 1] * stride + ends[:, 0]
    leaving = np.full(degree.size, -1, np.int64)
    leaving[start] = np.arange(len(start))
    after = np.where(degree.ravel()[stop] == 2, leaving[stop], -1)
    order, bounds, opened = followed(after)
    heads, tails = order[bounds[:-1]], order[bounds[1:] - 1]
    lengths = np.diff(bounds) + 1
    points = np.empty((int(lengths.sum()), 2), np.int32)
    starts = offsets(lengths)
    last = np.zeros(len(points), bool)
    last[starts[1:] - 1] = True
    points[~last], points[last] = begins[order], ends[tails]
    points += np.array([window.col, window.row], np.int32)
    return Chains(
        points,
        starts,
        left_face[heads].astype(np.int64),
        right_face[heads].astype(np.int64),
        way[heads],
        way[tails],
        np.zeros(len(heads), bool),
        np.arange(len(heads)) >= opened,
    )


def _runs(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, ...]:
    """Stretches along rows where two different faces lie side by side, and the same two all the way.

    Returns
    -------
    cracks : ndarray of bool
        Where the two differ.
    row, start, stop, first, second : ndarrays
        Of each stretch: where it is, and the face in ``one`` and in ``other``.
    """
    cracks = (one != other) & (one >= 0) & (other >= 0)
    cut = (one[:, 1:] != one[:, :-1]) | (other[:, 1:] != other[:, :-1])
    starts, stops = cracks.copy(), cracks.copy()
    starts[:, 1:] &= ~cracks[:, :-1] | cut
    stops[:, :-1] &= ~cracks[:, 1:] | cut
    row, start = np.nonzero(starts)
    stop = np.nonzero(stops)[1] + 1
    return cracks, row, start, stop, one[row, start], other[row, start]


def _segments(
    across: tuple[np.ndarray, ...], down: tuple[np.ndarray, ...], values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Begin, end, left face, right face and direction of straight borders, the smaller value to the left."""
    row, start, stop, up, low = across
    col, begin, end, west, east = down
    one = np.concatenate([np.stack([start, row], 1), np.stack([col, begin], 1)]).astype(np.int32)
    other = np.concatenate([np.stack([stop, row], 1), np.stack([col, end], 1)]).astype(np.int32)
    # going east, up is to the left; going south, east is
    left, right = np.concatenate([up, east]), np.concatenate([low, west])
    way = np.repeat(np.array([0, 1], np.int8), [len(row), len(col)])
    back = values[left] > values[right]
    return (
        np.where(back[:, None], other, one),
        np.where(back[:, None], one, other),
        np.where(back, right, left),
        np.where(back, left, right),
        np.where(back, way + 2, way).astype(np.int8),
    )
