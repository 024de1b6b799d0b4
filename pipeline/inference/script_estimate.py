"""What a run of an inference function would take: counted from the plan, timed on a few tiles."""

from typing import Any

import numpy as np
import psutil

from rasterloom.pipeline.functions.files import FunctionFiles
from rasterloom.pipeline.functions.pixels import PixelFunction
from rasterloom.pipeline.functions.tiles import FunctionTile
from rasterloom.pipeline.inference.estimate import BASE_BYTES, Estimate, seconds_per_pass
from rasterloom.pipeline.inference.planner import Wishes
from rasterloom.pipeline.inference.script_plan import ScriptPlan
from rasterloom.pipeline.inference.script_planner import plan_script
from rasterloom.pipeline.inference.scripts import staged_script
from rasterloom.pipeline.rasters.raster import Raster


def estimate_script(raster: Raster, files: FunctionFiles, wishes: Wishes, *, client: Any = None) -> Estimate:
    """Price a run; the function is loaded and run on a few empty tiles here. Writes nothing."""
    before = psutil.Process().memory_info().rss
    with staged_script(files) as staged:
        plan = plan_script(raster, staged, wishes, client=client)
        function = PixelFunction(files, dict(plan.scalars))
    seconds = _seconds_per_tile(plan, function)
    held = max(0, psutil.Process().memory_info().rss - before)
    threads = 1 if client is None else max(client.nthreads().values(), default=1)
    processes = (
        1 if client is None else max(1, len(client.nthreads()))
    )  # a script runs once at a time in each
    return _priced(plan, seconds / processes, BASE_BYTES + held + threads * _cell_bytes(plan))


def _priced(plan: ScriptPlan, seconds_per_tile: float, memory: int) -> Estimate:
    extent, tile = plan.cells.extent, plan.cells.tile
    down = _tiles_of_cells(extent.row, extent.row_stop, plan.cells.sides[0], tile[0])
    across = _tiles_of_cells(extent.col, extent.col_stop, plan.cells.sides[1], tile[1])
    border = 2 * plan.cells.padding
    read = sum(n * tile[0] + border for n in down) * sum(n * tile[1] + border for n in across)
    tiles, pixels = sum(down) * sum(across), extent.height * extent.width
    return Estimate(
        chips=tiles,
        pixels=pixels,
        bytes_read=read * len(plan.bands) * np.dtype(plan.raster.dtype).itemsize,
        bytes_written=pixels * plan.output.pixel_bytes,
        batches=plan.batch_count,
        peak_memory=memory,
        seconds=tiles * seconds_per_tile,
    )


def _tiles_of_cells(start: int, stop: int, side: int, tile: int) -> list[int]:
    """Tiles along one axis of each cell that meets start..stop."""
    counts = []
    for cell in range(start // side, -(-stop // side)):
        first, last = max(cell * side, start), min((cell + 1) * side, stop)
        counts.append(-(-last // tile) - first // tile)
    return counts


def _cell_bytes(plan: ScriptPlan) -> int:
    """What a thread holds of one cell: what was read twice over, what is valid, what comes out, its file."""
    height, width = (side + 2 * plan.cells.padding for side in plan.cells.sides)
    value_bytes = np.dtype(plan.raster.dtype).itemsize
    return height * width * (2 * len(plan.bands) * value_bytes + 4 + 3 * plan.output.pixel_bytes)


def _seconds_per_tile(plan: ScriptPlan, function: PixelFunction) -> float:
    seen, output = function.configuration.seen, function.output_info(plan.facts)
    pixels = np.zeros((len(plan.bands), *seen), plan.raster.dtype)
    tile = FunctionTile(pixels, np.ones(seen, bool), (0.0, 0.0))
    return seconds_per_pass(lambda: function.run(tile, plan.facts, output))
