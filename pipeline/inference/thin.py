"""Thin what was found to lines one pixel wide, the same wherever the raster is cut."""

import numpy as np

from rasterloom.pipeline.outputs.lines_thin import REACH as REACH_OF_A_ROUND, thin_passes

ROUNDS = 32
"""Rounds of thinning: each takes a pixel off every side, so shapes up to twice as wide become lines."""

REACH = REACH_OF_A_ROUND * ROUNDS
"""Pixels around a pixel that can have a say in whether it stays."""


def thinned(index: np.ndarray, *, background: int, nothing: int) -> np.ndarray:
    """The (row, column) class indices with everything but lines turned into background.

    It is what ``skimage.morphology.thin(found, max_num_iter=ROUNDS)`` makes of the whole raster at once: a
    pixel further than REACH from the array's edge does not depend on where that edge is.

    References
    ----------
    Guo and Hall (1989), Parallel thinning with two-subiteration algorithms, doi:10.1145/62065.62074.
    """
    found = (index != background) & (index != nothing)
    if not found.any():
        return index
    left, _ = thin_passes(found, ROUNDS)
    return np.where(found & ~left, index.dtype.type(background), index)
