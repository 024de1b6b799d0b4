"""Runs of pixels of images that are narrower than the chips they are put into."""

import numpy as np

from rasterloom.pipeline.formats.layout import Found


def widened(found: Found, width: int, tile_width: int) -> Found:
    """The same objects with runs that count along rows of the tile instead of the image's."""
    if found.runs is None or width == tile_width:
        return found
    return Found(found.values, found.boxes, tuple(_wider(runs, width, tile_width) for runs in found.runs))


def _wider(runs: np.ndarray, width: int, tile_width: int) -> np.ndarray:
    start, stop = runs[:, 0].astype(np.int64), runs[:, 1].astype(np.int64)
    rows = (stop - 1) // width - start // width + 1  # a run may go on in the rows below
    owner = np.repeat(np.arange(len(runs)), rows)
    row = start[owner] // width + np.arange(len(owner)) - np.repeat(np.cumsum(rows) - rows, rows)
    first = np.maximum(start[owner], row * width)
    last = np.minimum(stop[owner], (row + 1) * width)
    shift = row * (tile_width - width)
    return np.stack([first + shift, last + shift], axis=1).astype(np.int32)
