"""The answer for one cell: read it with its halo, see its chips in mini-batches, put the answers together."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rasterloom.pipeline.inference.blend import BlendedCanvas, Canvas, CroppedCanvas
from rasterloom.pipeline.inference.plan import PixelPlan
from rasterloom.pipeline.inference.predict import PixelPredictor
from rasterloom.pipeline.inference.thin import thinned
from rasterloom.pipeline.inference.wanted import inside_mask
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.read import read_padded


@dataclass(frozen=True)
class Sight:
    """What the network gets to see for the sake of some pixels."""

    window: Window
    """Rows and columns of the raster; it may reach beyond."""
    pixels: np.ndarray
    """(C, H, W), in the raster's own type."""
    valid: np.ndarray
    """(H, W) of bool."""


def predict_cell(plan: PixelPlan, predictor: PixelPredictor, window: Window) -> np.ndarray:
    """What the pixels of a cell are, read from the raster.

    Returns
    -------
    ndarray of ``plan.decision.dtype``, (B, window.height, window.width)

    Raises
    ------
    ReadError
        If pixels cannot be read.
    """
    seen = plan.cells.read_window(plan.cells.chip_span(plan.cells.target(window)))
    pixels, valid = read_padded(plan.raster, seen, plan.bands)
    return predict_seen(plan, predictor, window, Sight(seen, pixels, valid))


def predict_seen(plan: PixelPlan, predictor: PixelPredictor, window: Window, sight: Sight) -> np.ndarray:
    """What the pixels of a cell are, from pixels at hand."""
    target = plan.cells.target(window)
    place = _place(target, sight.window)
    wanted = sight.valid[place]
    if plan.mask is not None:
        wanted = wanted & inside_mask(plan.mask, plan.raster.grid, target)
    found = _canvas_of(plan, predictor, sight, target, wanted).finish()[:, *place]
    found[:, ~wanted] = plan.decision.nothing
    if plan.arguments.thinning:
        found[0] = thinned(found[0], background=0, nothing=int(plan.decision.nothing))
    return found[:, *_place(window, target)]


def _canvas_of(
    plan: PixelPlan, predictor: PixelPredictor, sight: Sight, target: Window, wanted: np.ndarray
) -> Canvas:
    """A canvas with the predictions of all chips that count for a wanted pixel."""
    arguments = plan.arguments
    tile, shape = arguments.tile_size, sight.valid.shape
    canvas: Canvas = (
        CroppedCanvas(shape, tile=tile, padding=arguments.padding, decision=plan.decision)
        if arguments.blend == "crop"
        else BlendedCanvas(shape, tile=tile, blend=arguments.blend, decision=plan.decision)
    )
    origin = replace(target, row=target.row - sight.window.row, col=target.col - sight.window.col)
    merge = arguments.merge_policy if arguments.test_time_augmentation else None
    for places in mini_batches(_useful(plan, canvas.centre, shape, origin, wanted), arguments.batch_size):
        chips, valid = cut_chips(sight, places, tile=tile, size=arguments.batch_size)
        found = predictor.predict(chips, valid, centre=canvas.centre, merge=merge, scores=plan.by_scores)
        canvas.put(places, found)
    return canvas


def _useful(
    plan: PixelPlan, centre: slice, shape: tuple[int, int], target: Window, wanted: np.ndarray
) -> Iterator[tuple[int, int]]:
    """Upper-left corners, in what is seen, of the chips whose prediction meets a wanted pixel."""
    tile, stride = plan.arguments.tile_size, plan.cells.stride
    for row in range(0, shape[0] - tile + 1, stride):
        for col in range(0, shape[1] - tile + 1, stride):
            top, left = row + centre.start - target.row, col + centre.start - target.col
            bottom, right = row + centre.stop - target.row, col + centre.stop - target.col
            if wanted[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)].any():
                yield row, col


def mini_batches(places: Iterable[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    """The places in groups of ``size``, the last one perhaps smaller."""
    batch: list[tuple[int, int]] = []
    for place in places:
        batch.append(place)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def cut_chips(
    sight: Sight, places: list[tuple[int, int]], *, tile: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Chips of the full batch shape, so that no pixel's arithmetic depends on its company.

    Parameters
    ----------
    places
        Row and column in what is seen of the upper-left corner of each, at most ``size``.
    tile
        Their side, in pixels.
    size
        Chips of a batch; those that are missing hold nothing valid.
    """
    dtype = np.uint8 if sight.pixels.dtype == np.uint8 else np.float32
    chips = np.zeros((size, sight.pixels.shape[0], tile, tile), dtype)
    valid = np.zeros((size, tile, tile), bool)
    for index, (row, col) in enumerate(places):
        chips[index] = sight.pixels[:, row : row + tile, col : col + tile]
        valid[index] = sight.valid[row : row + tile, col : col + tile]
    return chips, valid


def _place(inner: Window, outer: Window) -> tuple[slice, slice]:
    return replace(inner, row=inner.row - outer.row, col=inner.col - outer.col).slices
