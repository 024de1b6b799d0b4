"""``rasterloom classify-pixels``: a class map of a whole raster, or the probabilities of its classes."""

from typing import Annotated

import typer

from rasterloom.pipeline.cli.classify_options import (
    Background,
    BatchSize,
    Blend,
    BlendOption,
    Compiled,
    Cores,
    Each,
    Estimate,
    MapOutput,
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
    RasterArgument,
    RetryFailed,
    SnapRaster,
    TaskSize,
    Thinning,
    Threshold,
    TileSize,
    Trust,
    Tta,
)
from rasterloom.pipeline.cli.inferring import check_model, check_together, print_estimate, source_of, word
from rasterloom.pipeline.cli.options import (
    RESULT,
    Assets,
    CellSize,
    Cluster,
    Extent,
    OutCrs,
    Overwrite,
    Quiet,
    Resampling,
    Variable,
    Workers,
    check_there,
    client_of,
    context_of,
    reading_of,
)

Polygons = Annotated[
    str | None,
    typer.Option(
        "--polygons",
        help="Also write the areas of each class as polygons to this file. Default: only the map.",
        rich_help_panel=RESULT,
    ),
]


def classify_pixels(
    raster: RasterArgument,
    model: ModelArgument,
    output: MapOutput = None,
    probabilities: Probabilities = False,
    probability_type: ProbabilityTypeOption = ProbabilityType.UINT8,
    max_cog_size: MaxCogSize = 65_536,
    polygons: Polygons = None,
    overwrite: Overwrite = False,
    each: Each = False,
    assets: Assets = None,
    variable: Variable = None,
    resampling: Resampling = None,
    trust: Trust = False,
    extent: Extent = None,
    mask: Mask = None,
    cell_size: CellSize = None,
    out_crs: OutCrs = None,
    snap_raster: SnapRaster = None,
    tile_size: TileSize = None,
    padding: Padding = None,
    blend: BlendOption = Blend.CROP,
    tta: Tta = False,
    merge_policy: MergeOption = None,
    batch_size: BatchSize = None,
    background: Background = True,
    threshold: Threshold = None,
    thinning: Thinning = None,
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
    """Classify every pixel of a raster of any size.

    A run that was cut off goes on when the same command is given again. The result does not depend on the
    number of workers.
    """
    reading = reading_of(assets=assets, variable=variable, resampling=resampling)
    check_together(raster, output, reading, each=each, estimate=estimate, example="classes.tif")
    check_there("raster", raster)
    check_model(model)
    check_there("mask", mask)
    check_there("raster to snap to", snap_raster)
    arguments = {
        "tile_size": tile_size,
        "padding": padding,
        "batch_size": batch_size,
        "predict_background": None if background else False,
        "test_time_augmentation": tta or None,
        "merge_policy": word(merge_policy),
        "threshold": threshold,
        "return_probability_raster": probabilities or None,
        "thinning": thinning,
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
    from rasterloom.pipeline.inference import pixels

    with client_of(workers, cluster) as client:
        result = pixels.classify_pixels(
            source_of(raster, reading),
            model,
            {name: value for name, value in arguments.items() if value is not None},
            output,
            context,
            each,
            client=client,
            estimate=estimate,
            overwrite=overwrite,
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
    for path in result if each else [result]:
        typer.echo(path)
    if not quiet:
        typer.echo(f"next: rasterloom info {result[-1] if each else result}", err=True)
