"""The work of one task: find what is in cells, keep it for whoever joins them."""

from typing import Any

from rasterloom.cluster.jobs import BatchResult
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.inference.cell_work import run_cells
from rasterloom.pipeline.inference.cells import CellBlock
from rasterloom.pipeline.inference.objects.cell import CellFinds, Look, find_in_cell, with_network
from rasterloom.pipeline.inference.objects.plan import ObjectPlan
from rasterloom.pipeline.inference.objects.predict import resident_detector
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.seams.tree import cell_file

NOTHING = "nothing"
"""A file that stands for all cells that have found nothing: the run has begun, and has not ended."""


def run_object_batch(plan: ObjectPlan, batch: CellBlock) -> BatchResult:
    """Find what is in the cells of ``batch`` and write one file for each. No Dask inside; safe to repeat.

    Returns
    -------
    BatchResult
        Its summary says how many candidates there are, from how many chips, and how many were unusable.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    OutputError
        If a file cannot be written.
    MemoryError
        If not even one chip fits into memory.
    """
    predictor = resident_detector(plan.package, plan.digest, plan.device, plan.precision)
    return run_cells(ObjectCells(plan, with_network(plan, predictor)), batch, plan.device)


class ObjectCells:
    """What is done to the cells of a detection, whoever looks."""

    def __init__(self, plan: ObjectPlan, look: Look) -> None:
        assert plan.tiles is not None, "the plan has been brought home"
        self._plan, self._tiles, self._look = plan, plan.tiles, look
        self._candidates = self._chips = self._unusable = 0

    def window(self, row: int, col: int) -> Window:
        """Pixels that a cell owns."""
        return self._plan.cells.window(row, col)

    def compute(self, row: int, col: int) -> CellFinds:
        """What the chips of a cell find."""
        return find_in_cell(self._plan, self._look, self.window(row, col))

    def write(self, row: int, col: int, found: CellFinds) -> None:
        """Keep it; a cell without a file of its own has found nothing."""
        self._candidates += len(found.candidates)
        self._chips += found.chips
        self._unusable += found.unusable
        name, content = cell_file(row, col), found.candidates.to_bytes()
        if not len(found.candidates):
            name, content = NOTHING, b""
        try:
            self._tiles.write(name, content)
        except OSError as error:
            raise OutputError(f"what was found cannot be written to {self._tiles}: {error}.") from error

    def summary(self) -> dict[str, Any]:
        """How much there was."""
        return {"candidates": self._candidates, "chips": self._chips, "unusable": self._unusable}
