"""``rasterloom detect-change``: what has changed between two rasters of the same ground."""

from enum import StrEnum
from typing import Annotated

import typer

from rasterloom.pipeline.cli.classify_options import (
    TILES,
    BatchSize,
    Blend,
    BlendOption,
    Compiled,
    Cores,
    Estimate,
    Mask,
    MaxCogSize,
    MaxFailed,
    MergeOption,
    ModelArgument,
    Padding,
    PerformanceReport,
    PrecisionOption,
    Probabilities,
    ProbabilityType,
    ProbabilityTypeOption,
    ProcessorOption,
    RetryFailed,
    SnapRaster,
    TaskSize,
    TileSize,
    Trust,
    Tta,
)
from rasterloom.pipeline.cli.inferring import check_model, check_together, print_estimate, source_of, word
from rasterloom.pipeline.cli.options import (
    PLACE,
    RESULT,
    Assets,
    CellSize,
    Cluster,
    Extent,
    OutCrs,
    Overwrite,
    Quiet,
    Variable,
    Workers,
    check_there,
    client_of,
    context_of,
    reading_of,
)


class Resampled(StrEnum):
    """How pixels are brought onto another grid."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    CUBIC = "cubic"
    CUBIC_SPLINE = "cubic_spline"
    LANCZOS = "lanczos"
    AVERAGE = "average"
    MODE = "mode"


FromArgument = Annotated[
    str,
    typer.Argument(
        metavar="FROM",
        help="The earlier raster: a file, a folder of files that make one mosaic, an address (https://, "
        "s3://, ...), the JSON of STAC items, or a Zarr store.",
    ),
]
ToArgument = Annotated[
    str,
    typer.Argument(
        metavar="TO", help="The later raster. It may have another cell size, CRS and extent than FROM."
    ),
]
ChangeOutput = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="The GeoTIFF to write: a path, or an address such as s3://bucket/change.tif. Default: "
        "FROM_change.tif beside the earlier raster.",
        rich_help_panel=RESULT,
    ),
]
ChangePolygons = Annotated[
    str | None,
    typer.Option(
        "--polygons",
        help="Also write the changed areas as polygons to this file. Default: only the map.",
        rich_help_panel=RESULT,
    ),
]
ResamplingOption = Annotated[
    Resampled,
    typer.Option(
        "--resampling",
        help="How the rasters are brought onto one grid, where they do not lie on it already.",
        rich_help_panel=PLACE,
    ),
]
Whole = Annotated[
    bool,
    typer.Option(
        "--whole",
        help="Send both rasters, or the extent, through the network at once instead of tile by tile: up to "
        "4096 pixels a side.",
        rich_help_panel=TILES,
    ),
]
ChangeThreshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        help="How probable a change must be, 0..1. Default: the most probable class wins.",
        rich_help_panel="What a pixel gets",
    ),
]


def detect_change(
    from_raster: FromArgument,
    to_raster: ToArgument,
    model: ModelArgument,
    output: ChangeOutput = None,
    polygons: ChangePolygons = None,
    probabilities: Probabilities = False,
    probability_type: ProbabilityTypeOption = ProbabilityType.UINT8,
    max_cog_size: MaxCogSize = 65_536,
    overwrite: Overwrite = False,
    assets: Assets = None,
    variable: Variable = None,
    trust: Trust = False,
    extent: Extent = None,
    mask: Mask = None,
    cell_size: CellSize = None,
    out_crs: OutCrs = None,
    snap_raster: SnapRaster = None,
    resampling: ResamplingOption = Resampled.BILINEAR,
    tile_size: TileSize = None,
    padding: Padding = None,
    whole: Whole = False,
    blend: BlendOption = Blend.CROP,
    tta: Tta = False,
    merge_policy: MergeOption = None,
    batch_size: BatchSize = None,
    threshold: ChangeThreshold = None,
    workers: Workers = None,
    cluster: Cluster = None,
    cores: Cores = None,
    processor: ProcessorOption = None,
    precision: PrecisionOption = None,
    compiled: Compiled = False,
    task_size: TaskSize = None,
    estimate: Estimate = False,
    max_failed: MaxFailed = 0.01,
    retry_failed: RetryFailed = False,
    performance_report: PerformanceReport = None,
    quiet: Quiet = False,
) -> None:
    """Find what has changed between two rasters of any size.

    The rasters are brought onto one grid while they are read: that of FROM, unless --cell-size, --out-crs or
    --snap-raster ask for another. A run that was cut off goes on when the same command is given again.
    """
    reading = reading_of(assets=assets, variable=variable)
    check_together(from_raster, output, reading, each=False, estimate=estimate, example="change.tif")
    check_there("raster", from_raster)
    check_there("raster", to_raster)
    check_model(model)
    check_there("mask", mask)
    check_there("raster to snap to", snap_raster)
    arguments = {
        "tile_size": tile_size,
        "padding": padding,
        "batch_size": batch_size,
        "crop_predict": False if whole else None,
        "test_time_augmentation": tta or None,
        "merge_policy": word(merge_policy),
        "threshold": threshold,
        "return_probability_raster": probabilities or None,
    }
    context = context_of(
        cell_size=cell_size,
        out_crs=out_crs,
        extent=extent,
        mask=mask,
        snapRaster=snap_raster,
        parallelProcessingFactor=cores,
        processorType=word(processor),
    )
    from rasterloom.pipeline.inference.change import detect

    with client_of(workers, cluster) as client:
        result = detect.detect_change_using_deep_learning(
            source_of(from_raster, reading),
            source_of(to_raster, reading),
            model,
            output,
            {name: value for name, value in arguments.items() if value is not None},
            context,
            client=client,
            estimate=estimate,
            overwrite=overwrite,
            resampling=resampling.value,
            blend=blend.value,
            probability_type=probability_type.value,
            cell_size=task_size,
            max_failed=max_failed,
            retry_failed=retry_failed,
            max_cog_size=max_cog_size,
            precision=word(precision),
            compiled=compiled,
            output_polygons=polygons,
            trust=trust,
            performance_report=performance_report,
            progress=not quiet,
        )
    if estimate:
        print_estimate(result)
        return
    typer.echo(result)
    if not quiet:
        typer.echo(f"next: rasterloom info {result}", err=True)
