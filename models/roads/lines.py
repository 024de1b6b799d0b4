"""Centre lines of labelled bodies on one chip: where they run, how they lie, how wide the bodies are."""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import distance_transform_edt
from skimage.morphology import skeletonize

BEYOND = 16
"""Pixels by which bodies are thought to go on beyond the chip, so that their lines do not end before it."""
REACH = 8
"""Pixels to each side along which an orientation is measured."""
_SPREAD = 4.0
"""Standard deviation, in pixels, of what a pixel of the line counts for its neighbour's orientation."""


@dataclass(frozen=True)
class CentreLines:
    """For every pixel of a chip what is known of the nearest place on a centre line; all (row, column)."""

    distance: np.ndarray
    """Pixels to that place, 0 on the line."""
    angle: np.ndarray
    """How the line lies there: degrees against the clock from east, 0 up to but without 180."""
    certainty: np.ndarray
    """0 where the line has no orientation, as at a crossing, 1 where it is straight."""
    half_width: np.ndarray
    """Pixels from that place to the side of the body, half a pixel at least."""
    value: np.ndarray
    """The label of that place."""


def centre_lines(labels: np.ndarray, body: np.ndarray) -> CentreLines | None:
    """The centre lines of a chip's bodies, or None where there is no body.

    Parameters
    ----------
    labels
        (row, column) of anything.
    body
        (row, column) of bool: which pixels belong to lines of some width.

    References
    ----------
    Zhang and Suen (1984), A fast parallel algorithm for thinning digital patterns: what scikit-image's
    ``skeletonize`` does.
    """
    if not body.any():
        return None
    wide = np.pad(body, BEYOND, mode="edge")
    line = skeletonize(wide)
    distance, nearest = distance_transform_edt(~line, return_indices=True)
    angles, certainties = _orientations(line)
    # beyond an empty frame, so that a chip that is all body has a width too
    widths = distance_transform_edt(np.pad(wide, 1))[1:-1, 1:-1] - 0.5
    inside = (slice(BEYOND, -BEYOND),) * 2
    place = tuple(index[inside] for index in nearest)
    return CentreLines(
        distance=distance[inside],
        angle=angles[place],
        certainty=certainties[place],
        half_width=widths[place],
        value=np.pad(labels, BEYOND, mode="edge")[place],
    )


def _orientations(line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees and certainty at each pixel of a line, (row, column), 0 elsewhere.

    The direction in which the line's pixels around each one spread most.
    """
    rows, cols = np.nonzero(line)
    around = sliding_window_view(np.pad(line, REACH), (2 * REACH + 1,) * 2)[rows, cols]
    sums = around.reshape(len(rows), -1).astype(np.float32) @ _MOMENTS  # (pixel, moment)
    sums = sums.astype(np.float64)
    count = sums[:, 0]
    x, y, xx, xy, yy = (sums[:, column] / count for column in range(1, 6))
    xx, xy, yy = xx - x * x, xy - x * y, yy - y * y
    longer = np.hypot(2 * xy, xx - yy)
    angles, certainties = np.zeros(line.shape), np.zeros(line.shape)
    angles[rows, cols] = np.degrees(np.arctan2(2 * xy, xx - yy) / 2) % 180
    certainties[rows, cols] = longer / np.maximum(xx + yy, 1e-6)
    return angles, certainties


def _moments() -> np.ndarray:
    """Weights (pixels of a window, 6) that sum up 1, x, y, xx, xy and yy; x goes east and y north."""
    steps = np.arange(-REACH, REACH + 1, dtype=np.float64)
    y, x = np.meshgrid(-steps, steps, indexing="ij")
    weight = np.exp(-(x * x + y * y) / (2 * _SPREAD**2))
    columns = [weight * part for part in (np.ones_like(x), x, y, x * x, x * y, y * y)]
    return np.stack([column.reshape(-1) for column in columns], axis=1).astype(np.float32)


_MOMENTS = _moments()
