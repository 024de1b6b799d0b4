"""Where the chip around a feature lies: one rule for the chips of training and those of classification."""

import numpy as np


def middles_of(boxes: np.ndarray) -> np.ndarray:
    """Row and column of the middle of each box, (n, 2) float64; boxes as in :func:`windows_around`."""
    return (boxes[:, [1, 0]] + boxes[:, [3, 2]]) / 2


def windows_around(boxes: np.ndarray, tile: tuple[int, int], *, fixed: bool) -> np.ndarray:
    """The chip around each feature: first row and column, height and width, (n, 4) int64.

    A chip may reach beyond the raster.

    Parameters
    ----------
    boxes
        (n, 4) float64: bounds of the features as first column, first row, last column, last row, in pixels.
    tile
        Height and width of a whole chip.
    fixed
        True takes a whole chip around the middle; False only what the bounding box fills of it, a pixel at
        least.

    References
    ----------
    "Formats", 1.5: blacken_around_feature, fix_chip_size.
    """
    windows = np.zeros((len(boxes), 4), np.int64)
    middles = middles_of(boxes)
    for side in (0, 1):  # rows, columns
        start = np.floor(middles[:, side] - tile[side] / 2 + 0.5)
        stop = start + tile[side]
        if not fixed:
            start = np.maximum(start, np.floor(boxes[:, 1 - side]))
            stop = np.maximum(np.minimum(stop, np.ceil(boxes[:, 3 - side])), start + 1)
        windows[:, side], windows[:, side + 2] = start, stop - start
    return windows
