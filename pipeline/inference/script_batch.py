"""The work of one task: run an inference function over the tiles of cells, write what they own."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from rasterloom.cluster.jobs import BatchResult
from rasterloom.cluster.memory import share_free_memory
from rasterloom.cluster.resident import resident
from rasterloom.models.errors import PackageError
from rasterloom.pipeline.functions.host import CPU
from rasterloom.pipeline.functions.pixels import PixelFunction
from rasterloom.pipeline.functions.tiles import FunctionTile
from rasterloom.pipeline.inference.cell_work import run_cells
from rasterloom.pipeline.inference.cells import CellBlock
from rasterloom.pipeline.inference.forward import is_out_of_memory
from rasterloom.pipeline.inference.plan import tile_name
from rasterloom.pipeline.inference.script_plan import ScriptPlan
from rasterloom.pipeline.inference.script_product import ScriptTally
from rasterloom.pipeline.inference.scripts import load_script
from rasterloom.pipeline.inference.wanted import inside_mask
from rasterloom.pipeline.outputs.tiles import write_tile
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.read import read_padded


def run_script_batch(plan: ScriptPlan, batch: CellBlock) -> BatchResult:
    """Compute the cells of ``batch`` and write one tile for each. No Dask inside; safe to repeat.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    PackageError
        If the function fails; the message says at which tile.
    OutputError
        If a tile cannot be written.
    MemoryError
        If the function runs out of memory.
    """
    return run_cells(_ScriptCells(plan), batch, plan.device)


class _ScriptCells:
    def __init__(self, plan: ScriptPlan) -> None:
        assert plan.tiles is not None, "the plan has been brought home"
        self._plan, self._tiles = plan, plan.tiles
        self._function, self._tally = _function_of(plan), ScriptTally(plan)

    def window(self, row: int, col: int) -> Window:
        return self._plan.cells.window(row, col)

    def compute(self, row: int, col: int) -> np.ndarray:
        return compute_cell(self._plan, self._function, self.window(row, col))

    def write(self, row: int, col: int, found: np.ndarray) -> None:
        self._tally.count(found)
        grid = self._plan.raster.grid.cropped(self.window(row, col))
        write_tile(self._tiles, tile_name(row, col), found, grid, nodata=self._plan.output.nodata)

    def summary(self) -> dict[str, Any]:
        return self._tally.summary()


def compute_cell(plan: ScriptPlan, function: PixelFunction, window: Window) -> np.ndarray:
    """What the function makes of the pixels of a cell: (B, height, width) of the output's type.

    A tile is handed over whole, or not at all where nothing that it sees is valid, so that its result does
    not depend on the cell.
    """
    seen = plan.cells.read_window(window)
    pixels, valid = read_padded(plan.raster, seen, plan.bands)
    wanted = np.ones((window.height, window.width), bool)
    if plan.mask is not None:
        wanted = inside_mask(plan.mask, plan.raster.grid, window)
    found = np.full((plan.output.bands, *wanted.shape), plan.nothing)
    for made in plan.cells.tile_windows(window):
        place, part = _meeting(made, window)
        look = (..., *_moved(made.padded(plan.cells.padding), seen).slices)
        if not wanted[place].any() or not valid[look].any():
            continue
        tile = FunctionTile(pixels[look], valid[look], (float(made.col), float(made.row)))
        values, told = _run(plan, function, tile, made)
        found[:, *place] = np.where(told[:, *part] & wanted[place], values[:, *part], plan.nothing)
    return found


def device_number(device: str) -> int:
    """A device as functions are told it: a worker process sees its own GPU as the first."""
    return CPU if device == "cpu" else 0


def keep_function(plan: ScriptPlan, function: PixelFunction) -> None:
    """Have the tasks of this process use a function that has been loaded to plan the run."""
    resident(_key(plan), lambda: function)


def _function_of(plan: ScriptPlan) -> PixelFunction:
    """The function of a plan, loaded and asked once in this process."""

    def load() -> PixelFunction:
        share_free_memory()
        files = replace(load_script(plan.package), source=plan.name)
        made = PixelFunction(files, dict(plan.scalars), device=device_number(plan.device))
        made.output_info(plan.facts)  # it may remember what it answered
        asked = made.configuration
        if (asked.tile, asked.padding) != (plan.cells.tile, plan.cells.padding):
            raise PackageError(
                f"{plan.name} asks for tiles of {asked.tile} pixels and a padding of {asked.padding} where "
                f"it runs, and asked for {plan.cells.tile} and {plan.cells.padding} where the run was "
                "planned: its configuration must not depend on the machine."
            )
        return made

    return resident(_key(plan), load)


def _key(plan: ScriptPlan) -> str:
    told = hashlib.sha256(repr((plan.scalars, plan.facts)).encode()).hexdigest()
    return f"function-{plan.digest}-{plan.device}-{told}"


def _run(
    plan: ScriptPlan, function: PixelFunction, tile: FunctionTile, made: Window
) -> tuple[np.ndarray, np.ndarray]:
    try:
        return function.run(tile, plan.facts, plan.output)
    except PackageError as error:
        if error.__cause__ is not None and is_out_of_memory(error.__cause__):
            raise MemoryError(str(error)) from error
        raise PackageError(f"tile at row {made.row}, column {made.col}: {error}") from error


def _meeting(made: Window, window: Window) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a tile and a window meet: in the window, and in the tile."""
    row, col = max(made.row, window.row), max(made.col, window.col)
    row_stop, col_stop = min(made.row_stop, window.row_stop), min(made.col_stop, window.col_stop)
    both = Window(row, col, row_stop - row, col_stop - col)
    return _moved(both, window).slices, _moved(both, made).slices


def _moved(inner: Window, outer: Window) -> Window:
    return replace(inner, row=inner.row - outer.row, col=inner.col - outer.col)
