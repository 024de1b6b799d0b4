"""The work of one task: predict cells, write what they own."""

from typing import Any

import numpy as np

from rasterloom.cluster.jobs import BatchResult
from rasterloom.pipeline.inference.cell import predict_cell
from rasterloom.pipeline.inference.cell_work import run_cells
from rasterloom.pipeline.inference.cells import CellBlock
from rasterloom.pipeline.inference.plan import PixelPlan, tile_name
from rasterloom.pipeline.inference.predict import resident_predictor
from rasterloom.pipeline.inference.tally import tally_of
from rasterloom.pipeline.outputs.tiles import write_tile
from rasterloom.pipeline.rasters.grid import Window


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
    return run_cells(_PixelCells(plan), batch, plan.device)


class _PixelCells:
    def __init__(self, plan: PixelPlan) -> None:
        assert plan.tiles is not None, "the plan has been brought home"
        self._plan, self._tiles = plan, plan.tiles
        self._predictor, self._tally = resident_predictor(plan), tally_of(plan)

    def window(self, row: int, col: int) -> Window:
        return self._plan.cells.window(row, col)

    def compute(self, row: int, col: int) -> np.ndarray:
        return predict_cell(self._plan, self._predictor, self.window(row, col))

    def write(self, row: int, col: int, found: np.ndarray) -> None:
        plan = self._plan
        self._tally.count(found)
        grid = plan.raster.grid.cropped(self.window(row, col))
        write_tile(self._tiles, tile_name(row, col), plan.written(found), grid, nodata=plan.nodata)

    def summary(self) -> dict[str, Any]:
        return self._tally.summary()
