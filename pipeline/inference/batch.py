"""The work of one task: predict cells, write what they own."""

import time

from rasterloom.cluster.jobs import BatchResult
from rasterloom.pipeline.inference.cell import predict_cell
from rasterloom.pipeline.inference.cells import CellBlock
from rasterloom.pipeline.inference.plan import PixelPlan, tile_name
from rasterloom.pipeline.inference.predict import resident_predictor, shared_cores
from rasterloom.pipeline.inference.tally import tally_of
from rasterloom.pipeline.outputs.tiles import write_tile


def run_batch(plan: PixelPlan, batch: CellBlock) -> BatchResult:
    """Predict the cells of ``batch`` and write one tile for each. No Dask inside; safe to repeat.

    Returns
    -------
    BatchResult
        Its summary is a :func:`rasterloom.pipeline.inference.tally.tally_of` the pixels written.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    OutputError
        If a tile cannot be written.
    MemoryError
        If not even one chip fits into memory.
    """
    assert plan.tiles is not None, "the plan has been brought home"
    started = time.perf_counter()
    predictor = resident_predictor(plan)
    tally, pixels = tally_of(plan), 0
    for row, col in batch.positions():
        window = plan.cells.window(row, col)
        with shared_cores(plan.device):
            found = predict_cell(plan, predictor, window)
        tally.count(found)
        write_tile(
            plan.tiles,
            tile_name(row, col),
            plan.written(found),
            plan.raster.grid.cropped(window),
            nodata=plan.nodata,
        )
        pixels += window.height * window.width
    return BatchResult(
        batch=batch.id,
        cells=batch.cells,
        pixels=pixels,
        seconds=time.perf_counter() - started,
        failed=(),
        summary=tally.summary(),
    )
