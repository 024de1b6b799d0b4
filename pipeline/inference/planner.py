"""Decide everything about a run without computing any of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rasterloom.models.contract import Task
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.pipeline.inference.arguments import PixelArguments, pixel_arguments
from rasterloom.pipeline.inference.cells import CellGrid
from rasterloom.pipeline.inference.decide import Decision
from rasterloom.pipeline.inference.devices import choose_device, choose_precision
from rasterloom.pipeline.inference.models import StagedModel, bands_for
from rasterloom.pipeline.inference.plan import PixelPlan
from rasterloom.pipeline.inference.sizing import cut_cells
from rasterloom.pipeline.inference.thin import REACH
from rasterloom.pipeline.inference.wanted import read_mask
from rasterloom.pipeline.rasters.context import extent_window, snap_grid, target_grid
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.tiles import stride_of

CONTEXT = frozenset(
    {
        "cellSize",
        "extent",
        "mask",
        "outSR",
        "parallelProcessingFactor",
        "processorType",
        "snapRaster",
    }
)
"""Keys of ``context`` that pixel classification honours."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How a caller wants pixels classified, besides raster and model."""

    model_arguments: Mapping[str, Any] | None = None
    context: Mapping[str, Any]
    """With keys of CONTEXT only."""
    cell_size: int | None = None
    blend: str = "crop"
    probability_type: str = "uint8"
    precision: str | None = None
    compiled: bool = False
    trust: bool = False
    """Whether code in the package may be run."""


def plan_pixels(raster: Raster, staged: StagedModel, wishes: Wishes, *, client: Any = None) -> PixelPlan:
    """What a run will do.

    Raises
    ------
    SettingError, ModelMismatchError, CrsError, LabelError
        If it cannot be done as wished.
    """
    spec, context = staged.spec, wishes.context
    if spec.task is not Task.PIXELS:
        raise ModelMismatchError(f"{spec.model} is a model for {spec.task}, and this tool classifies pixels.")
    device = choose_device(context.get("processorType"), client)
    arguments = pixel_arguments(
        wishes.model_arguments,
        spec,
        tile_multiple=staged.tile_multiple,
        device=device,
        blend=wishes.blend,
        probability_type=wishes.probability_type,
    )
    stride = stride_of(arguments.tile_size, arguments.padding)
    raster, extent = ground(raster, context, stride)
    bands = bands_for(spec, raster)
    return plan_on(raster, extent, bands, arguments, staged, wishes, device=device, client=client)


def plan_on(
    raster: Raster,
    extent: Window,
    bands: tuple[int, ...],
    arguments: PixelArguments,
    staged: StagedModel,
    wishes: Wishes,
    *,
    device: str,
    client: Any = None,
) -> PixelPlan:
    """What a run will do, where raster, part of it, bands and arguments have been settled.

    Raises
    ------
    SettingError, CrsError, LabelError
        If it cannot be done as wished.
    """
    spec, mask = staged.spec, wishes.context.get("mask")
    return PixelPlan(
        raster=raster,
        cells=_cells(raster, extent, arguments, wishes.cell_size, spec.output_values),
        package=str(staged.path),
        digest=staged.digest,
        bands=bands,
        values=spec.output_values,
        arguments=arguments,
        device=device,
        precision=choose_precision(wishes.precision, device, client),
        compiled=wishes.compiled,
        mask=None if mask is None else read_mask(mask, raster.grid),
    )


def ground(raster: Raster, context: Mapping[str, Any], stride: int) -> tuple[Raster, Window]:
    """The raster on the grid that it is read on, and the part of it that is computed.

    Raises SettingError or CrsError if the context cannot be met.
    """
    if context.get("snapRaster") is None:
        raster = target_grid(raster, context)
        return raster, extent_window(raster, context)
    snapped, covered = snap_grid(raster, context["snapRaster"], context, step=stride)
    wanted = extent_window(snapped, context)
    row, col = max(wanted.row, covered.row), max(wanted.col, covered.col)
    row_stop, col_stop = min(wanted.row_stop, covered.row_stop), min(wanted.col_stop, covered.col_stop)
    if row >= row_stop or col >= col_stop:
        raise SettingError(f"the extent {context['extent']} does not meet {raster.name}.")
    return snapped, Window(row, col, row_stop - row, col_stop - col)


def _cells(
    raster: Raster,
    extent: Window,
    arguments: PixelArguments,
    cell_size: int | None,
    values: tuple[int, ...],
) -> CellGrid:
    blended = arguments.blend != "crop"
    kept = Decision(len(values), values[0] == 0, probability=arguments.probability).pixel_bytes
    return cut_cells(
        raster.grid.shape,
        extent,
        tile=arguments.tile_size,
        padding=arguments.padding,
        cell_size=cell_size,
        batch_size=arguments.batch_size,
        pixel_bytes=kept + 4 * (len(values) + 1) if blended else kept,
        whole_tiles=blended,
        reach=REACH if arguments.thinning else 0,
    )
