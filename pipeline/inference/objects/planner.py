"""Decide everything about a detection without computing any of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rasterloom.models.contract import Task
from rasterloom.models.errors import ModelMismatchError
from rasterloom.pipeline.inference.devices import choose_device, choose_precision
from rasterloom.pipeline.inference.models import StagedModel, bands_for
from rasterloom.pipeline.inference.objects.arguments import object_arguments
from rasterloom.pipeline.inference.objects.plan import ObjectPlan
from rasterloom.pipeline.inference.planner import ground
from rasterloom.pipeline.inference.sizing import cut_cells
from rasterloom.pipeline.inference.wanted import read_mask
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.tiles import stride_of


@dataclass(frozen=True, kw_only=True)
class ObjectWishes:
    """How a caller wants things found, besides raster and model."""

    model_arguments: Mapping[str, Any] | None = None
    context: Mapping[str, Any]
    """With keys of the planner's CONTEXT only."""
    cell_size: int | None = None
    precision: str | None = None
    trust: bool = False
    """Whether code in the package may be run."""


def plan_objects(
    raster: Raster, staged: StagedModel, wishes: ObjectWishes, *, client: Any = None
) -> ObjectPlan:
    """What a run will do.

    Raises
    ------
    SettingError, ModelMismatchError, CrsError, LabelError
        If it cannot be done as wished.
    """
    spec, context = staged.spec, wishes.context
    if spec.task is not Task.OBJECTS:
        raise ModelMismatchError(f"{spec.model} is a model for {spec.task}, and this tool finds objects.")
    device = choose_device(context.get("processorType"), client)
    arguments = object_arguments(
        wishes.model_arguments, spec, tile_multiple=staged.tile_multiple, device=device
    )
    raster, extent = ground(raster, context, stride_of(arguments.tile_size, arguments.padding))
    bands = bands_for(spec, raster)
    mask = context.get("mask")
    return ObjectPlan(
        raster=raster,
        cells=cut_cells(
            raster.grid.shape,
            extent,
            tile=arguments.tile_size,
            padding=arguments.padding,
            cell_size=wishes.cell_size,
            batch_size=arguments.batch_size,
        ),
        package=str(staged.path),
        digest=staged.digest,
        bands=bands,
        classes=spec.classes,
        arguments=arguments,
        device=device,
        # 16 bits have no room for where in a tile a box begins: bfloat16 tells 512 from 510 only
        precision=choose_precision(wishes.precision or "float32", device, client),
        mask=None if mask is None else read_mask(mask, raster.grid),
    )
