"""The work of one task: read cells with their halo, run the network, write what the cells own."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from rasterloom.cluster.jobs import BatchResult
from rasterloom.pipeline.inference.cells import CellBlock, cell_id
from rasterloom.pipeline.inference.plan import PixelPlan
from rasterloom.pipeline.inference.predict import PixelPredictor, load_predictor
from rasterloom.pipeline.outputs.tiles import write_tile
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.read import read_padded


def run_batch(plan: PixelPlan, batch: CellBlock) -> BatchResult:
    """Classify the cells of ``batch`` and write one tile for each. No Dask inside; safe to repeat.

    Returns
    -------
    BatchResult
        Its summary counts the pixels of each class value.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    OutputError
        If a tile cannot be written.
    """
    started = time.perf_counter()
    predictor = load_predictor(plan.package, plan.digest, plan.device)
    counts = np.zeros(len(plan.values) + 1, np.int64)
    pixels = 0
    for row, col in batch.positions():
        window = plan.cells.window(row, col)
        index = classify_cell(plan, predictor, window)
        counts += np.bincount(index.ravel(), minlength=len(counts))
        _write(plan, window, cell_id(row, col), index)
        pixels += index.size
    summary = {"pixels_per_value": {str(v): int(n) for v, n in zip(plan.values, counts, strict=False) if n}}
    return BatchResult(
        batch=batch.id,
        cells=batch.cells,
        pixels=pixels,
        seconds=time.perf_counter() - started,
        failed=(),
        summary=summary,
    )


def classify_cell(plan: PixelPlan, predictor: PixelPredictor, window: Window) -> np.ndarray:
    """Class index of every pixel of a cell; the number of outputs stands for pixels that hold nothing.

    Returns
    -------
    ndarray of int16, (window.height, window.width)
    """
    cells = plan.cells
    chips = cells.chip_span(window)
    pixels, valid = read_padded(plan.raster, cells.read_window(chips), plan.bands)
    stride, nothing = cells.stride, len(plan.values)
    kept = np.full((chips.height * stride, chips.width * stride), nothing, np.int16)
    inner = (
        slice(cells.padding, cells.padding + kept.shape[0]),
        slice(cells.padding, cells.padding + kept.shape[1]),
    )
    for places in _mini_batches(valid[inner], stride, plan.batch_size):
        found = _forward(plan, predictor, pixels, valid, places)
        for (row, col), index in zip(places, found, strict=False):
            kept[row : row + stride, col : col + stride] = index
    kept[~valid[inner]] = nothing
    top, left = window.row - chips.row * stride, window.col - chips.col * stride
    return kept[top : top + window.height, left : left + window.width]


def _mini_batches(valid: np.ndarray, stride: int, size: int) -> Iterator[list[tuple[int, int]]]:
    """Upper-left corners of the chips that keep a valid pixel, ``size`` at a time."""
    places: list[tuple[int, int]] = []
    for row in range(0, valid.shape[0], stride):
        for col in range(0, valid.shape[1], stride):
            if valid[row : row + stride, col : col + stride].any():
                places.append((row, col))
                if len(places) == size:
                    yield places
                    places = []
    if places:
        yield places


def _forward(
    plan: PixelPlan,
    predictor: PixelPredictor,
    pixels: np.ndarray,
    valid: np.ndarray,
    places: list[tuple[int, int]],
) -> np.ndarray:
    """One forward pass of the full batch shape, so that no pixel's arithmetic depends on its company."""
    tile = plan.cells.tile
    chips = np.zeros((plan.batch_size, pixels.shape[0], tile, tile), pixels.dtype)
    masks = np.zeros((plan.batch_size, tile, tile), bool)
    for index, (row, col) in enumerate(places):
        chips[index] = pixels[:, row : row + tile, col : col + tile]
        masks[index] = valid[row : row + tile, col : col + tile]
    if np.issubdtype(chips.dtype, np.floating):
        # what is not valid may be NaN, which no multiplication takes away
        np.nan_to_num(chips, copy=False)
    try:
        return predictor.classify(
            chips, masks, padding=plan.cells.padding, background=plan.predict_background
        )
    except torch.OutOfMemoryError as error:
        # the driver's word for what another worker, or another moment, may have room for
        raise MemoryError(
            f"{plan.batch_size} chips of {tile} pixels do not fit on {plan.device}: use a smaller batch_size."
        ) from error


def _write(plan: PixelPlan, window: Window, name: str, index: np.ndarray) -> None:
    table = np.array([*plan.values, plan.nodata], plan.dtype)
    grid = plan.raster.grid.cropped(window)
    write_tile(Path(plan.tiles) / f"{name}.tif", table[index][None], grid, nodata=plan.nodata)
