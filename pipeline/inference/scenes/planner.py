"""Decide everything about a classification of objects without computing any of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.contract import ModelSpec, Task
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.pipeline.inference.devices import choose_device, choose_precision
from rasterloom.pipeline.inference.models import StagedModel, bands_for
from rasterloom.pipeline.inference.scenes.arguments import SceneArguments, scene_arguments, several_labels
from rasterloom.pipeline.inference.scenes.chips import PreparedChips, cut_chip_cells, prepare_chips
from rasterloom.pipeline.inference.scenes.plan import ScenePlan
from rasterloom.pipeline.inference.scenes.strips import BLOCK
from rasterloom.pipeline.inference.wanted import read_mask
from rasterloom.pipeline.outputs.read_features import FeatureSource
from rasterloom.pipeline.rasters.context import extent_window, target_grid
from rasterloom.pipeline.rasters.gdal import FAILURES, open_source, reading
from rasterloom.pipeline.rasters.raster import Raster

CONTEXT = frozenset({"cellSize", "extent", "mask", "outSR", "parallelProcessingFactor", "processorType"})
"""Keys of ``context`` that the classification of objects honours."""


@dataclass(frozen=True, kw_only=True)
class SceneWishes:
    """How a caller wants objects classified, besides raster, objects and model."""

    model_arguments: Mapping[str, Any] | None = None
    context: Mapping[str, Any]
    """With keys of CONTEXT only."""
    cell_size: int | None = None
    precision: str | None = None
    trust: bool = False
    """Whether code in the package may be run."""


def arguments_of(staged: StagedModel, wishes: SceneWishes, device: str) -> SceneArguments:
    """How the model is run. Raises ModelMismatchError if it is none for scenes, SettingError as it says."""
    spec = staged.spec
    if spec.task is not Task.SCENES:
        raise ModelMismatchError(
            f"{spec.model} is a model for {spec.task}, and this tool gives whole objects a label: use a "
            "FeatureClassifier, or from_torch(..., task='scenes')."
        )
    if wishes.cell_size is not None and wishes.cell_size < 1:
        raise SettingError(f"cell_size={wishes.cell_size} cannot work: use a positive number of pixels.")
    return scene_arguments(wishes.model_arguments, spec, tile_multiple=staged.tile_multiple, device=device)


def plan_scenes(
    raster: Raster,
    source: FeatureSource,
    staged: StagedModel,
    wishes: SceneWishes,
    folder: Path,
    *,
    client: Any = None,
) -> tuple[ScenePlan, PreparedChips]:
    """What a run will do, and the chips of its tasks, in an empty folder of this machine.

    Raises
    ------
    SettingError, ModelMismatchError, CrsError, LabelError
        If it cannot be done as wished.
    """
    context = wishes.context
    device = choose_device(context.get("processorType"), client)
    arguments = arguments_of(staged, wishes, device)
    raster = target_grid(raster, context)
    extent = extent_window(raster, context)
    bands = bands_for(as_seen(staged.spec, arguments), raster)
    mask = context.get("mask")
    cells = cut_chip_cells(
        raster.grid.shape,
        tile=arguments.tile_size,
        pixel_bytes=len(bands) * np.dtype(raster.dtype).itemsize + 1,
        striped=_striped(raster),
        cell_size=wishes.cell_size,
    )
    chips = prepare_chips(source, raster.grid, extent, cells, arguments, folder)
    group = arguments.group(len(staged.spec.output_values))
    plan = ScenePlan(
        raster=raster,
        chips=chips.digest,
        batch_count=len(chips.counts),
        cell_count=sum(-(-count // group) for count in chips.counts),
        package=str(staged.path),
        digest=staged.digest,
        bands=bands,
        classes=staged.spec.output_classes,
        several=several_labels(staged.spec),
        arguments=arguments,
        device=device,
        precision=choose_precision(wishes.precision, device, client),
        mask=None if mask is None else read_mask(mask, raster.grid),
    )
    return plan, chips


def as_seen(spec: ModelSpec, arguments: SceneArguments) -> ModelSpec:
    """The model's description, without a cell size where chips are enlarged to what the network sees."""
    return spec if arguments.fix_chip_size else replace(spec, cell_size=(0.0, 0.0))


def _striped(raster: Raster) -> bool:
    """Whether the blocks of a file are as wide as the raster, so that reading a part reads all of a row."""
    if raster.path is None or raster.grid != raster.native or raster.native.width <= BLOCK:
        return False
    try:
        with reading(remote=raster.remote), open_source(raster.path) as source:
            return bool(source.block_shapes[0][1] >= source.width)
    except FAILURES:  # whoever reads it will say so
        return False
