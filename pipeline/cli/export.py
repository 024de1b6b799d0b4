"""``rasterloom export-training-data``: cut chips and their labels into a store or a folder."""

from enum import StrEnum
from pathlib import Path
from typing import Any

import typer

from rasterloom.pipeline.cli.export_options import (
    AdditionalRaster,
    AllTiles,
    Blacken,
    BufferRadius,
    ChipFormatOption,
    ClassField,
    Each,
    Estimate,
    FixChipSize,
    InstanceField,
    Instances,
    LabelsArgument,
    Mask,
    MetadataFormat,
    MetadataFormatOption,
    MinOverlap,
    RasterArgument,
    ReferenceSystem,
    ReferenceSystemOption,
    Rotation,
    Seed,
    SplitBlock,
    SplitOption,
    StartIndex,
    Stride,
    TileSize,
)
from rasterloom.pipeline.cli.options import (
    CellSize,
    Cluster,
    Extent,
    OutCrs,
    Output,
    Overwrite,
    Quiet,
    Workers,
    check_named,
    check_there,
    client_of,
    context_of,
)


def export_training_data(
    raster: RasterArgument,
    labels: LabelsArgument = None,
    output: Output = None,
    chip_format: ChipFormatOption = None,
    metadata_format: MetadataFormatOption = None,
    overwrite: Overwrite = False,
    start_index: StartIndex = None,
    reference_system: ReferenceSystemOption = ReferenceSystem.MAP_SPACE,
    each: Each = False,
    additional_raster: AdditionalRaster = None,
    instances: Instances = None,
    tile_size: TileSize = 256,
    stride: Stride = None,
    all_tiles: AllTiles = False,
    rotation_angle: Rotation = 0.0,
    fix_chip_size: FixChipSize = True,
    split: SplitOption = None,
    split_block: SplitBlock = None,
    seed: Seed = 42,
    class_field: ClassField = None,
    instance_field: InstanceField = None,
    buffer_radius: BufferRadius = None,
    min_overlap: MinOverlap = 0.0,
    blacken: Blacken = False,
    extent: Extent = None,
    mask: Mask = None,
    cell_size: CellSize = None,
    out_crs: OutCrs = None,
    workers: Workers = None,
    cluster: Cluster = None,
    estimate: Estimate = False,
    quiet: Quiet = False,
) -> None:
    """Cut a raster and its labels into chips that a model learns from.

    A run that was cut off goes on when the same command is given again. The result does not depend on the
    number of workers.
    """
    from rasterloom.pipeline.chips import export

    if not estimate:
        check_named(raster, output, "chips.zarr")
    check_there("raster", raster)
    check_there("file of labels", _text(labels))
    check_there("mask", _text(mask))
    check_there("additional raster", additional_raster)
    check_there("file of instances", _text(instances))
    with client_of(workers, cluster) as client:
        result = export.export_training_data(
            raster,
            _text(labels),
            chip_format=_word(chip_format),
            tile_size=tile_size,
            stride_size=stride,
            metadata_format=_word(metadata_format),
            classvalue_field=class_field,
            buffer_radius=buffer_radius,
            output_location=output,
            context=context_of(
                cell_size=cell_size,
                out_crs=out_crs,
                extent=extent,
                exportAllTiles=all_tiles or None,
                startIndex=start_index,
            ),
            input_mask_polygons=_text(mask),
            rotation_angle=rotation_angle,
            reference_system=reference_system.value,
            process_all_raster_items=each,
            blacken_around_feature=blacken,
            fix_chip_size=fix_chip_size,
            additional_input_raster=additional_raster,
            input_instance_data=_text(instances),
            instance_class_value_field=instance_field,
            min_polygon_overlap_ratio=min_overlap,
            split=split,
            split_block_size=split_block,
            seed=seed,
            estimate=estimate,
            client=client,
            overwrite=overwrite,
            progress=not quiet,
        )
    if estimate:
        _print_estimate(result)
        return
    typer.echo(result)
    if not quiet:
        pixels = labels is not None and metadata_format in (None, MetadataFormat.CLASSIFIED_TILES)
        kind = "" if additional_raster is None else " --model-type CHANGEDETECTOR"
        step = f"train {result}{kind} -o model.dlpk" if pixels else f"info {result}"
        typer.echo(f"next: rasterloom {step}", err=True)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _word(choice: StrEnum | None) -> str | None:
    # a plan is hashed with what it is given: plain words, as from Python
    return None if choice is None else choice.value


def _print_estimate(estimate: Any) -> None:
    rows = {
        "chips": f"{estimate.chips:,}",
        "pixels": f"{estimate.pixels:,}",
        "tasks": f"{estimate.batches:,}",
        "reads": f"{estimate.bytes_read / 1e6:,.0f} MB before compression",
        "writes": f"{estimate.bytes_written / 1e6:,.0f} MB before compression",
        "memory": f"{estimate.peak_memory / 1e6:,.0f} MB for each process, at most",
        "time": f"{estimate.seconds:,.1f} s",
    }
    for name, value in rows.items():
        typer.echo(f"{name:8} {value}")
