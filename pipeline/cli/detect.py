"""``rasterloom detect-objects``: the things in a whole raster, as one layer of outlines."""

import typer

from rasterloom.pipeline.cli.classify_options import (
    BatchSize,
    Cores,
    Each,
    Estimate,
    MaxFailed,
    ModelArgument,
    PerformanceReport,
    PrecisionOption,
    ProcessorOption,
    RasterArgument,
    RetryFailed,
    SnapRaster,
    TaskSize,
    TileSize,
    Trust,
    Tta,
)
from rasterloom.pipeline.cli.detect_options import (
    LayerOutput,
    MaxOverlap,
    NmsOverlap,
    PadDetections,
    RunNms,
    Score,
    ThingMask,
    ThingMerge,
    ThingPadding,
)
from rasterloom.pipeline.cli.inferring import check_model, check_together, print_estimate, source_of, word
from rasterloom.pipeline.cli.options import (
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


def detect_objects(
    raster: RasterArgument,
    model: ModelArgument,
    output: LayerOutput = None,
    overwrite: Overwrite = False,
    each: Each = False,
    assets: Assets = None,
    variable: Variable = None,
    resampling: Resampling = None,
    trust: Trust = False,
    extent: Extent = None,
    mask: ThingMask = None,
    cell_size: CellSize = None,
    out_crs: OutCrs = None,
    snap_raster: SnapRaster = None,
    tile_size: TileSize = None,
    padding: ThingPadding = None,
    tta: Tta = False,
    merge_policy: ThingMerge = None,
    batch_size: BatchSize = None,
    threshold: Score = None,
    nms_overlap: NmsOverlap = None,
    exclude_pad_detections: PadDetections = True,
    nms: RunNms = False,
    max_overlap: MaxOverlap = 0.0,
    workers: Workers = None,
    cluster: Cluster = None,
    cores: Cores = None,
    processor: ProcessorOption = None,
    precision: PrecisionOption = None,
    task_size: TaskSize = None,
    estimate: Estimate = False,
    max_failed: MaxFailed = 0.01,
    retry_failed: RetryFailed = False,
    performance_report: PerformanceReport = None,
    quiet: Quiet = False,
) -> None:
    """Find the things in a raster of any size.

    Nothing is lost, doubled or cut where tiles meet. A run that was cut off goes on when the same command is
    given again. The result does not depend on the number of workers.
    """
    reading = reading_of(assets=assets, variable=variable, resampling=resampling)
    check_together(raster, output, reading, each=each, estimate=estimate, example="found.parquet")
    check_there("raster", raster)
    check_model(model)
    check_there("mask", mask)
    check_there("raster to snap to", snap_raster)
    arguments = {
        "tile_size": tile_size,
        "padding": padding,
        "batch_size": batch_size,
        "threshold": threshold,
        "nms_overlap": nms_overlap,
        "exclude_pad_detections": None if exclude_pad_detections else False,
        "test_time_augmentation": tta or None,
        "merge_policy": word(merge_policy),
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
    from rasterloom.pipeline.inference.objects import detect

    with client_of(workers, cluster) as client:
        result = detect.detect_objects(
            source_of(raster, reading),
            model,
            {name: value for name, value in arguments.items() if value is not None},
            output,
            nms,
            max_overlap_ratio=max_overlap,
            context=context,
            process_all_raster_items=each,
            client=client,
            estimate=estimate,
            overwrite=overwrite,
            cell_size=task_size,
            max_failed=max_failed,
            retry_failed=retry_failed,
            precision=word(precision),
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
        typer.echo(f"next: rasterloom accuracy {result[-1] if each else result} TRUTH", err=True)
