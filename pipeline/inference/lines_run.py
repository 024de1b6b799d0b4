"""Extract the lines of one raster: thin it, cut it into arcs, put them together, write the network."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from rasterloom.cluster.driver import execute
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.cluster.progress import progress_bar
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.cells import CellGrid, cell_id
from rasterloom.pipeline.inference.devices import batches_at_once
from rasterloom.pipeline.inference.lines_bodies import large_bodies
from rasterloom.pipeline.inference.lines_cell import from_bytes
from rasterloom.pipeline.inference.lines_plan import Body, LinesPlan
from rasterloom.pipeline.inference.lines_stages import (
    AREAS,
    ENDS,
    PATHS,
    ThinPlan,
    TracePlan,
    still_open,
    thin_cells,
    trace_cells,
)
from rasterloom.pipeline.inference.names import check_no_input
from rasterloom.pipeline.inference.planner import ground
from rasterloom.pipeline.inference.wanted import read_mask
from rasterloom.pipeline.inference.work import RunSettings
from rasterloom.pipeline.outputs.features import FeatureBlock, check_output, write_features
from rasterloom.pipeline.outputs.lines_draw import (
    FIELDS,
    PROBABILITY,
    WIDTH,
    Drawing,
    Path,
    draw_lines,
)
from rasterloom.pipeline.outputs.lines_network import Network, network_of
from rasterloom.pipeline.rasters.pinned import pinned
from rasterloom.pipeline.rasters.raster import Raster

_SIDE = 2048
"""Side of a cell, in pixels, unless the raster is small."""

_BLOCK = 5000
"""Lines that are drawn at once."""

_KEPT = 32
"""Cells whose arcs are held in memory while lines are drawn."""


@dataclass(frozen=True, kw_only=True)
class LineWishes:
    """How a caller wants lines extracted, besides the raster."""

    body: Body
    context: Mapping[str, Any]
    minimum_length: float = 0.0
    minimum_area: float = 0.0
    simplify: float | None = None
    smooth: bool = False
    cell_size: int | None = None


def plan_lines(raster: Raster, wishes: LineWishes) -> LinesPlan:
    """What a run will do. Raises SettingError, CrsError or LabelError if it cannot be done as wished."""
    raster, extent = ground(raster, wishes.context, 1)
    mask = wishes.context.get("mask")
    side = wishes.cell_size
    if side is None:
        side = min(_SIDE, max(256, int(np.ceil(np.sqrt(extent.height * extent.width / 4)))))
    if side < 1:
        raise SettingError(f"cell_size={side} cannot work: use a positive number of pixels.")
    return LinesPlan(
        raster=raster,
        cells=CellGrid(raster.grid.shape, extent, tile=side, padding=0, strides=1),
        body=wishes.body,
        labelled=wishes.minimum_area > 0,
        mask=None if mask is None else read_mask(mask, raster.grid),
    )


def lines_of_raster(raster: Raster, output: str, wishes: LineWishes, settings: RunSettings) -> str:
    """Plan and run; says where the network stands."""
    check_no_input(output, raster, None, wishes.context)
    if settings.retry_failed and Place.of(output).parent.exists(Place.of(output).name):
        return output  # an item that an earlier call has finished
    check_output(output, overwrite=settings.overwrite)
    plan = plan_lines(raster, wishes)
    folder = RunFolder(Place.of(output).parent / "_run" / plan.id[:16])
    plan = replace(
        plan,
        raster=pinned(plan.raster, folder.inputs),
        mask=plan.mask and plan.mask.at_home(folder.inputs),
        tiles=folder.tiles,
    )
    run = _Run(
        plan,
        folder,
        settings,
        batches_at_once(wishes.context.get("parallelProcessingFactor"), settings.client, plan.batch_count),
        f"extract lines for {Place.of(output).name}",
    )
    failed = run.thin_and_trace()
    _write(plan, output, wishes)
    if failed:
        warnings.warn(
            f"{failed} of {plan.cell_count} cells could not be read with what is around them, and have no "
            "lines: "
            f"{folder.place}/failed.parquet says why. The same call with overwrite=True tries them again.",
            stacklevel=5,  # the line that called the tool
        )
    else:
        folder.forget_batches()
        for made in (folder.tiles, folder.inputs, folder.place / run.later(())):
            made.remove_all()
    return output


@dataclass(frozen=True)
class _Run:
    plan: LinesPlan
    folder: RunFolder
    settings: RunSettings
    threads: int | None
    title: str

    def thin_and_trace(self) -> int:
        """Compute what is missing of all cells; says how many could not be read."""
        most = self.settings.max_failed
        report = self._execute(ThinPlan(self.plan, 0), thin_cells, self.folder, most)
        # cells that are read after all in a later call make what followed from their absence invalid
        gaps = sorted(failure.cell for failure in report.failed)
        later = self.folder.place / self.later(gaps)
        turn = 0
        while active := still_open(self.plan, turn):
            turn += 1
            self._execute(ThinPlan(self.plan, turn, active), thin_cells, RunFolder(later / f"thin_{turn}"))
        traced = self._execute(TracePlan(self.plan, turn), trace_cells, RunFolder(later / "trace"), most)
        return len({*gaps, *(failure.cell for failure in traced.failed)})

    def later(self, gaps: Sequence[str]) -> str:
        """Name of the folder for what is done after the first turn, without some cells."""
        return f"after_{hashlib.sha256(repr(list(gaps)).encode()).hexdigest()[:16]}"

    def _execute(self, plan: Any, run: Any, folder: RunFolder, max_failed: float = 0.0) -> Any:
        with ExitStack() as stack:
            bar = self.settings.on_progress or stack.enter_context(
                progress_bar(self.title, show=self.settings.progress)
            )
            return execute(
                self.settings.client,
                plan,
                run,
                folder,
                max_failed=max_failed,
                threads=self.threads,
                on_progress=bar,
                title=self.title,
            )


def _write(plan: LinesPlan, output: str, wishes: LineWishes) -> None:
    names = (WIDTH,) if plan.body.threshold is None else (WIDTH, PROBABILITY)
    steps = plan.ground.steps
    drawing = Drawing(
        ground=plan.ground,
        simplify=max(steps[:2]) if wishes.simplify is None else wishes.simplify,
        smooth=wishes.smooth,
        names=names,
    )
    write_features(
        output,
        _drawn(plan, drawing, wishes),
        fields=FIELDS | dict.fromkeys(names, "float64"),
        crs=plan.raster.grid.crs,
        geometry="LineString",
        bounds=plan.raster.grid.window_bounds(plan.cells.extent),
        overwrite=True,  # what may not be replaced was refused at the start
    )


def _drawn(plan: LinesPlan, drawing: Drawing, wishes: LineWishes) -> Iterator[FeatureBlock]:
    ends, steps, rows, begins = _arcs(plan, wishes)
    network = network_of(
        ends, steps, plan.ground.columns, sizes=plan.ground.steps, minimum_length=wishes.minimum_length
    )

    @lru_cache(maxsize=_KEPT)
    def cell(number: int) -> dict[str, np.ndarray]:
        return from_bytes(plan.place.read(f"{begins[number][0]}.{PATHS}"))

    first = np.array([start for _, start in begins], np.int64)

    def path_of(arc: int) -> Path:
        row = int(rows[arc])
        number = int(np.searchsorted(first, row, side="right")) - 1
        paths, place = cell(number), row - int(first[number])
        part = slice(*paths["starts"][place : place + 2].tolist())
        return Path(paths["pixels"][part], paths["values"][part])

    network = _by_place(network)
    for start in range(0, len(network), _BLOCK):
        yield draw_lines(network, start, min(start + _BLOCK, len(network)), path_of, drawing)


def _by_place(network: Network) -> Network:
    """The lines in the order of their first arcs, so that few cells are needed at a time."""
    if not len(network):
        return network
    sizes = np.diff(network.starts)
    order = np.argsort(np.minimum.reduceat(network.arcs, network.starts[:-1]), kind="stable")
    starts = np.append(0, np.cumsum(sizes[order]))
    place = np.repeat(network.starts[:-1][order] - starts[:-1], sizes[order]) + np.arange(starts[-1])
    return replace(
        network,
        arcs=network.arcs[place],
        turned=network.turned[place],
        starts=starts,
        nodes=network.nodes[order],
        rings=network.rings[order],
    )


def _arcs(
    plan: LinesPlan, wishes: LineWishes
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[tuple[str, int]]]:
    """Ends and steps of the arcs of bodies that are large enough, their rows among all arcs, and where each
    cell's begin."""
    names = plan.place.names()
    large, body_begins = _large(plan, wishes, names)
    begins, count = [], 0
    ends, steps = [np.zeros((0, 2), np.int64)], [np.zeros((0, 4), np.int64)]
    rows = [np.zeros(0, np.int64)]
    for row, col in plan.cells.whole.positions():
        name = cell_id(row, col)
        if f"{name}.{ENDS}" not in names:
            continue
        found = from_bytes(plan.place.read(f"{name}.{ENDS}"))
        kept = np.ones(len(found["ends"]), bool)
        if plan.labelled:
            kept = large[body_begins[row, col] + found["body"]]
        ends.append(found["ends"][kept])
        steps.append(found["steps"][kept])
        rows.append(count + np.flatnonzero(kept))
        begins.append((name, count))
        count += len(kept)
    return np.concatenate(ends), np.concatenate(steps), np.concatenate(rows), begins


def _large(
    plan: LinesPlan, wishes: LineWishes, names: set[str]
) -> tuple[np.ndarray, dict[tuple[int, int], int]]:
    if not plan.labelled:
        return np.zeros(0, bool), {}
    cells, begins, count = {}, {}, 0
    for row, col in plan.cells.whole.positions():
        name = f"{cell_id(row, col)}.{AREAS}"
        if name in names:
            cells[row, col] = from_bytes(plan.place.read(name))
            begins[row, col] = count
            count += len(cells[row, col]["pixels"])
    a, b, _, d, e, _ = plan.raster.grid.transform
    across, along = plan.ground.scale
    return large_bodies(
        cells, plan.cells.whole, wishes.minimum_area / abs((a * e - b * d) * across * along)
    ), begins
