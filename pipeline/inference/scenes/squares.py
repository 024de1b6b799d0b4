"""Chips of any size on a square of what the network sees."""

import numpy as np
import torch
from torch.nn import functional as F


def on_square(pixels: np.ndarray, side: int) -> np.ndarray:
    """A chip brought to a square, in the way that ``prepare_data(resize_to=)`` does it for training.

    Parameters
    ----------
    pixels
        (C, H, W). As it is where it has that size; else bilinear, over as many pixels as shrink into one.
    side
        Height and width of the result.

    Returns
    -------
    ndarray, (C, side, side)
        Of float32, unless nothing had to be done.
    """
    if pixels.shape[1:] == (side, side):
        return pixels
    whole = torch.from_numpy(pixels.astype(np.float32))[None]
    return F.interpolate(whole, (side, side), mode="bilinear", antialias=True)[0].numpy()
