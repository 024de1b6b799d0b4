"""Predictions as a lazy DataArray: for looking at parts, and for computing on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from rasterloom.cluster.delivery import Parcel, parcel, seen_by_all
from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.cell import Sight, predict_cell, predict_seen
from rasterloom.pipeline.inference.decide import QUANTA
from rasterloom.pipeline.inference.forward import shared_cores
from rasterloom.pipeline.inference.models import StagedModel, load_staged, staged_model
from rasterloom.pipeline.inference.plan import PixelPlan
from rasterloom.pipeline.inference.planner import CONTEXT, Wishes, plan_pixels
from rasterloom.pipeline.inference.predict import PixelPredictor, resident_predictor
from rasterloom.pipeline.packages.load import build_model, read_package
from rasterloom.pipeline.rasters.arrays import lay_on_grid
from rasterloom.pipeline.rasters.context import parse_context
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.mirror import Mirror
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.read import valid_pixels

MOST_BLOCKS = 10_000
"""A Dask graph has a dozen tasks for each block, and a scheduler keeps all of it in memory."""


def predict_xarray(
    data: Any,
    model: Any,
    model_arguments: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    *,
    blend: str = "crop",
    probability_type: str = "uint8",
    cell_size: int | None = None,
) -> Any:
    """Predict lazily: an array whose pixels are those that ``classify_pixels`` would write. Nothing runs yet.

    Parameters
    ----------
    data
        A georeferenced DataArray of dims (band, y, x), dask-backed or not, or anything else that
        :func:`rasterloom.pipeline.open_raster` takes.
    model, model_arguments, context, blend, probability_type
        As in :func:`rasterloom.pipeline.classify_pixels`. Of ``context``, ``parallelProcessingFactor`` has no
        meaning here. A model given by the path of its .dlpk is read by the workers where all see it. Any
        other is sent to the workers of the current client, once to each, and stays with them until the client
        is closed; without a client it travels in the graph.
    cell_size
        Side of the result's chunks, in pixels. The values do not depend on it.

    Returns
    -------
    xarray.DataArray
        Dask-backed, with coordinates, CRS and nodata. A class map has dims (y, x) and class values. With
        ``return_probability_raster`` the dims are (band, y, x), a band for each class; as ``uint8``, 0..254
        stand for 0..1.

    Raises
    ------
    SettingError
        If there would be more than 10,000 blocks, or a setting cannot work.
    MissingInputError, RasterError, CrsError, ModelMismatchError
        As ``classify_pixels``.
    """
    given = parse_context(context, allowed=CONTEXT - {"parallelProcessingFactor"})
    wishes = Wishes(
        model_arguments=model_arguments,
        context=given,
        cell_size=cell_size,
        blend=blend,
        probability_type=probability_type,
    )
    with staged_model(model) as staged:
        plan = plan_pixels(describe(data), staged, wishes)
        _check_blocks(plan)
        plan, package = _with_model(plan, staged, model)
    return _described(plan, staged.spec, _lazy(plan, package))


def _with_model(plan: PixelPlan, staged: StagedModel, given: Any) -> tuple[PixelPlan, Parcel | None]:
    """The plan and how its package travels: not at all where it has a lasting place that all workers see."""
    if isinstance(given, str | Path) and Path(given).is_file() and staged.path == Path(given):
        path = staged.path.resolve()
        if seen_by_all(path):
            return replace(plan, package=str(path)), None
    return replace(plan, package=""), parcel(staged.path)


def _check_blocks(plan: PixelPlan) -> None:
    whole = plan.cells.whole
    if whole.cells > MOST_BLOCKS:
        side = plan.cells.side * (whole.cells / MOST_BLOCKS) ** 0.5
        raise SettingError(
            f"{whole.cells:,} blocks are more than the {MOST_BLOCKS:,} that a lazy array may have: use "
            f"classify_pixels, which has no limit, a smaller extent, or cell_size={int(side) + 1} or more."
        )


@dataclass(frozen=True)
class _Blocks:
    """Where the chunks of the result begin, on the raster's grid."""

    rows: tuple[int, ...]
    """Edges, one more than there are chunks."""
    cols: tuple[int, ...]

    def window(self, row: int, col: int) -> Window:
        top, left = self.rows[row], self.cols[col]
        return Window(top, left, self.rows[row + 1] - top, self.cols[col + 1] - left)

    @property
    def chunks(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        heights, widths = np.diff(self.rows).tolist(), np.diff(self.cols).tolist()
        return tuple(heights), tuple(widths)


def _lazy(plan: PixelPlan, package: Parcel | None) -> Any:
    import dask
    import dask.array

    blocks = _blocks(plan)
    held = plan.raster.array if plan.raster.grid == plan.raster.native else None
    if held is None or not hasattr(held, "data"):  # read where it is computed
        return dask.array.map_blocks(
            _read_and_predict,
            plan=dask.delayed(cloudpickle.dumps(plan)),  # else dask computes an array inside it, whole
            package=dask.delayed(package, pure=True),
            blocks=blocks,
            chunks=((plan.decision.bands,), *blocks.chunks),
            dtype=plan.dtype,
            meta=np.empty((0, 0, 0), plan.dtype),
            name=f"pixels-{plan.id}",
        )
    return _joined(plan, package, blocks, dask.array.asarray(held.data)[list(plan.bands)])


def _joined(plan: PixelPlan, package: Parcel | None, blocks: _Blocks, pixels: Any) -> Any:
    """One task for each block, fed with just the pixels that its chips see.

    ``dask.array.map_overlap`` gives every block the same border and mirrors at the edge with the edge itself
    twice; chips need a border that depends on where they lie, mirrored as in the whole raster.
    """
    import dask
    from dask.array import Array
    from dask.highlevelgraph import HighLevelGraph

    content = dask.delayed(package, pure=True)
    name = f"pixels-{plan.id}"
    light = replace(plan, raster=replace(plan.raster, array=None))
    tasks: dict[Any, Any] = {}
    needs: list[Any] = [content]
    for row, col in np.ndindex(len(blocks.rows) - 1, len(blocks.cols) - 1):
        window = blocks.window(row, col)
        part = pixels[:, *_mirror(plan, window).needed.slices].rechunk(-1)
        needs.append(part)
        tasks[name, 0, row, col] = (partial(_predict_part, light, window), (part.name, 0, 0, 0), content.key)
    graph = HighLevelGraph.from_collections(name, tasks, dependencies=needs)
    return Array(graph, name, ((plan.decision.bands,), *blocks.chunks), dtype=plan.dtype)


def _blocks(plan: PixelPlan) -> _Blocks:
    side, whole, extent = plan.cells.side, plan.cells.whole, plan.cells.extent
    return _Blocks(
        (extent.row, *_inner(whole.row, whole.rows, side), extent.row_stop),
        (extent.col, *_inner(whole.col, whole.cols, side), extent.col_stop),
    )


def _inner(first: int, count: int, side: int) -> range:
    return range((first + 1) * side, (first + count) * side, side)


def _mirror(plan: PixelPlan, window: Window) -> Mirror:
    cells = plan.cells
    seen = cells.read_window(cells.chip_span(cells.target(window)))
    return Mirror(seen, plan.raster.grid.shape)


@lru_cache(maxsize=2)
def _unpacked(plan: bytes) -> PixelPlan:
    found: PixelPlan = cloudpickle.loads(plan)
    return found


def _read_and_predict(
    plan: bytes, package: Parcel | None, blocks: _Blocks, block_info: Any = None
) -> np.ndarray:
    return _read_block(_unpacked(plan), package, blocks.window(*block_info[None]["chunk-location"][1:]))


def _read_block(plan: PixelPlan, package: Parcel | None, window: Window) -> np.ndarray:
    with shared_cores(plan.device):
        found = predict_cell(plan, _predictor(plan, package), window)
    return plan.written(found)


def _predict_part(plan: PixelPlan, window: Window, pixels: np.ndarray, package: Parcel | None) -> np.ndarray:
    mirror = _mirror(plan, window)
    pixels = pixels.astype(plan.raster.dtype, copy=False)
    valid = valid_pixels(pixels, plan.raster.nodata)
    sight = Sight(mirror.window, mirror.fill(pixels), mirror.fill(valid))
    with shared_cores(plan.device):
        found = predict_seen(plan, _predictor(plan, package), window, sight)
    return plan.written(found)


def _predictor(plan: PixelPlan, package: Parcel | None) -> PixelPredictor:
    def load() -> Any:
        if package is None:
            return load_staged(plan.package, plan.digest)
        # the caller made the parcel: its content is trusted as far as the caller trusted it
        return build_model(read_package(package.read(), source="the model of the array", trust=True))

    return resident_predictor(plan, load)


def _described(plan: PixelPlan, spec: ModelSpec, pixels: Any) -> Any:
    array = lay_on_grid(pixels, plan.grid, plan.nodata)
    if plan.arguments.probability is None:
        array = array.isel(band=0, drop=True).rename("class")
        array.attrs["classes"] = {info.value: info.name for info in spec.classes}
        return array
    array = array.rename("probability")
    array.attrs["band_names"] = tuple(info.name for info in spec.output_classes)
    if plan.arguments.probability == "uint8":
        array.attrs["scale_factor"] = 1 / QUANTA
    return array
