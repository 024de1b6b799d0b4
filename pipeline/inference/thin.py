"""Thin what was found to lines one pixel wide, the same wherever the raster is cut."""

import numpy as np
from skimage.morphology import thin

ROUNDS = 32
"""Rounds of thinning: each takes a pixel off every side, so shapes up to twice as wide become lines."""

REACH = 2 * ROUNDS
"""Pixels that can have a say in whether a pixel stays: two steps a round look at direct neighbours."""


def thinned(index: np.ndarray, *, background: int, nothing: int) -> np.ndarray:
    """The (row, column) class indices with everything but lines turned into background.

    A pixel further than REACH from the array's edge does not depend on where that edge is.

    References
    ----------
    Guo and Hall (1989), Parallel thinning with two-subiteration algorithms, doi:10.1145/62065.62074.
    """
    found = (index != background) & (index != nothing)
    if not found.any():
        return index
    gone = found & ~thin(found, max_num_iter=ROUNDS)
    return np.where(gone, index.dtype.type(background), index)
