"""Write training chips of a raster and its labels into a store."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rasterloom.cluster.driver import execute
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.progress import progress_bar
from rasterloom.models.contract import Task
from rasterloom.models.errors import LabelError, OutputError, OutputExistsError, SettingError
from rasterloom.pipeline.chips.plan import ChipPlan, plan_chips
from rasterloom.pipeline.chips.settings import ExportSettings, check_settings
from rasterloom.pipeline.chips.shards import ShardPlan, write_shard
from rasterloom.pipeline.labels.features import layer_name, read_features, read_outline
from rasterloom.pipeline.rasters.context import extent_window, target_grid
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.store.layout import StoreSpec
from rasterloom.pipeline.store.read import is_chip_store
from rasterloom.pipeline.store.write import ChipWriter

_RUN, _PLAN = "_run", "_plan"
"""Folders inside an unfinished store: the driver's markers, and what the tasks read."""


def export_training_data(
    input_raster: Any,
    input_class_data: Any = None,
    chip_format: str | None = None,
    tile_size: Mapping[str, int] | int | None = None,
    stride_size: Mapping[str, int] | int | None = None,
    metadata_format: str | None = None,
    classvalue_field: str | None = None,
    buffer_radius: float | None = None,
    output_location: str | Path | None = None,
    context: Mapping[str, Any] | None = None,
    input_mask_polygons: Any = None,
    rotation_angle: float = 0,
    reference_system: str = "MAP_SPACE",
    process_all_raster_items: bool = False,
    blacken_around_feature: bool = False,
    fix_chip_size: bool = True,
    additional_input_raster: Any = None,
    input_instance_data: Any = None,
    instance_class_value_field: str | None = None,
    min_polygon_overlap_ratio: float = 0,
    *,
    gis: None = None,
    future: bool = False,
    estimate: bool = False,
    client: Any = None,
    overwrite: bool = False,
    progress: bool = True,
    **kwargs: Any,
) -> str:
    """Cut a raster and its labels into training chips and write them as a Zarr chip store.

    The store is the same for any number of workers. It appears under its name when it is whole; a run that
    was killed is resumed by the same call, from a hidden folder beside it. Where the disk refuses, that
    folder is removed.

    Parameters
    ----------
    input_raster
        Path, list of paths, folder, or georeferenced DataArray.
    input_class_data
        Path of a vector file, or a GeoDataFrame; in any CRS.
    chip_format, metadata_format
        None, or "ZARR" and "Classified_Tiles": images with a class value for each pixel.
    tile_size, stride_size
        Pixels as ``{"x": 256, "y": 256}`` or one number. The tile is 256 by default, the stride one tile.
    classvalue_field
        Field of the class. By default ``classvalue`` or ``value``; without one, every feature is class 1.
    output_location
        Folder of the store. By default NAME_chips.zarr beside the raster.
    context
        ``exportAllTiles``: also chips without labels. ``startIndex``: number of the first chip, noted in the
        store. ``cellSize``, ``outSR``, ``extent``: the grid and the part of the raster.
    input_mask_polygons
        Path or GeoDataFrame: only chips completely inside these polygons.
    reference_system
        MAP_SPACE, IMAGE_SPACE or PIXEL_SPACE, noted in the store.
    buffer_radius, rotation_angle, process_all_raster_items, blacken_around_feature, fix_chip_size, \
additional_input_raster, input_instance_data, instance_class_value_field, min_polygon_overlap_ratio
        Accepted at their defaults: they mean nothing for this format.
    gis, future, estimate
        Accepted at their defaults.
    client
        Dask client whose workers do the work. None works in this process.
    overwrite
        Replace a chip store that stands there.
    progress
        Show a progress bar.

    Returns
    -------
    str
        Path of the store.

    Raises
    ------
    SettingError
        If an argument cannot work.
    MissingInputError
        If a file is not there.
    CrsError
        If raster or labels have no CRS.
    LabelError
        If no feature lies on the raster, or the class field is absent.
    OutputExistsError
        If something stands at ``output_location``.
    OutputError
        If the disk refuses.
    TooManyFailures
        If pixels cannot be read.
    RunInterrupted
        If the run was cut off.

    References
    ----------
    "API reference", export_training_data; "Formats", 1.5.
    """
    settings = check_settings(
        tile_size=tile_size,
        stride_size=stride_size,
        chip_format=chip_format,
        metadata_format=metadata_format,
        reference_system=reference_system,
        context=context,
        others={
            "buffer_radius": buffer_radius,
            "rotation_angle": rotation_angle,
            "process_all_raster_items": process_all_raster_items,
            "blacken_around_feature": blacken_around_feature,
            "fix_chip_size": fix_chip_size,
            "additional_input_raster": additional_input_raster,
            "input_instance_data": input_instance_data,
            "instance_class_value_field": instance_class_value_field,
            "min_polygon_overlap_ratio": min_polygon_overlap_ratio,
            "gis": gis,
            "future": future,
            "estimate": estimate,
        },
        unknown=kwargs,
    )
    output = _output(output_location, input_raster, overwrite=overwrite)
    plan = _plan(input_raster, input_class_data, classvalue_field, input_mask_polygons, settings)
    spec = _spec(plan, settings, layer_name(input_class_data))
    _run(plan, spec, output, client=client, overwrite=overwrite, progress=progress)
    return str(output)


def _plan(
    input_raster: Any,
    input_class_data: Any,
    class_field: str | None,
    mask_polygons: Any,
    settings: ExportSettings,
) -> ChipPlan:
    raster = target_grid(describe(input_raster), settings.context)
    if input_class_data is None:
        raise LabelError("input_class_data is missing: give the path of a vector file, or a GeoDataFrame.")
    labels = read_features(input_class_data, grid=raster.grid, class_field=class_field)
    mask = None if mask_polygons is None else read_outline(mask_polygons, grid=raster.grid)
    return plan_chips(
        raster,
        labels,
        tile=settings.tile,
        stride=settings.stride,
        extent=extent_window(raster, settings.context),
        mask_polygons=mask,
        all_tiles=settings.all_tiles,
        start_index=settings.start_index,
    )


def _spec(plan: ChipPlan, settings: ExportSettings, labels: str) -> StoreSpec:
    raster = plan.raster
    widest = max(c.value for c in plan.labels.classes)
    return StoreSpec(
        task=Task.PIXELS,
        chips=len(plan),
        bands=raster.bands,
        dtype=raster.dtype,
        nodata=raster.nodata,
        crs=raster.grid.crs,
        cell_size=raster.grid.cell_size,
        tile=plan.tile,
        stride=plan.stride,
        classes=plan.labels.classes,
        sources=(raster.name,),
        mask_dtype="uint8" if widest <= 255 else "uint16",
        parameters={
            "metadata_format": "Classified_Tiles",
            "labels": labels,
            "features": len(plan.labels),
            "reference_system": settings.reference_system,
            "export_all_tiles": settings.all_tiles,
            "start_index": settings.start_index,
            "grid": asdict(raster.grid),
            "plan": plan.id,
        },
    )


def _run(
    plan: ChipPlan, spec: StoreSpec, output: Path, *, client: Any, overwrite: bool, progress: bool
) -> None:
    partial = output.with_name(f".{output.name}.{plan.id[:8]}.partial")
    try:
        _write(plan, spec, partial, client=client, progress=progress)
        _put_in_place(partial, output, overwrite=overwrite)
    except OutputError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"{_first(error)} What was written so far is removed.") from error


def _write(plan: ChipPlan, spec: StoreSpec, partial: Path, *, client: Any, progress: bool) -> None:
    writer = ChipWriter.create(partial, spec)
    shards = ShardPlan.lay_out(plan, writer, partial / _PLAN)
    with progress_bar("export chips", show=progress) as on_progress:
        # a store with holes would train on black chips, so not one may fail
        execute(
            client, shards, write_shard, RunFolder(partial / _RUN), max_failed=0.0, on_progress=on_progress
        )
    stats = shards.statistics()
    writer.finish(stats.bands, stats.class_pixels)
    for name in (_RUN, _PLAN):
        shutil.rmtree(partial / name)


def _first(error: OutputError) -> str:
    """The innermost message: the one that says what the disk refused and how much was needed."""
    inner: BaseException = error
    while isinstance(inner.__cause__, OutputError):
        inner = inner.__cause__
    return str(inner)


def _output(location: str | Path | None, input_raster: Any, *, overwrite: bool) -> Path:
    output = _beside(input_raster) if location is None else Path(location)
    if "://" in str(location):
        raise SettingError(f"output_location={location!r} is no local folder: write there and copy it.")
    output = output.absolute()
    if output.exists() and not (overwrite and is_chip_store(output)):
        what = "is no chip store and is not replaced" if overwrite else "exists"
        instead = (
            "choose another name" if overwrite else "choose another name, or replace it with overwrite=True"
        )
        raise OutputExistsError(f"{output} {what}: {instead}.")
    return output


def _beside(input_raster: Any) -> Path:
    if not isinstance(input_raster, str | Path):
        raise SettingError("output_location is missing: it has a default only beside a file or folder.")
    path = Path(input_raster)
    return path.with_name(f"{path.stem}_chips.zarr")


def _put_in_place(partial: Path, output: Path, *, overwrite: bool) -> None:
    replaced = output.with_name(f".{output.name}.replaced")
    try:
        if overwrite and output.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            output.rename(replaced)
        partial.rename(output)
    except OSError as error:
        if replaced.exists() and not output.exists():
            replaced.rename(output)
        raise OutputError(f"the finished store cannot be moved to {output}: {error}.") from error
    shutil.rmtree(replaced, ignore_errors=True)
