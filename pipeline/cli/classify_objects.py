"""``rasterloom classify-objects``: a label for each object of a layer, or for each whole raster."""

from typing import Annotated

import typer

from rasterloom.pipeline.cli.classify_options import (
    TILES,
    BatchSize,
    Cores,
    Each,
    Estimate,
    MaxFailed,
    MergeOption,
    ModelArgument,
    PerformanceReport,
    PrecisionOption,
    ProcessorOption,
    RasterArgument,
    RetryFailed,
    TaskSize,
    TileSize,
    Trust,
    Tta,
)
from rasterloom.pipeline.cli.inferring import check_model, check_together, print_estimate, source_of, word
from rasterloom.pipeline.cli.options import (
    PLACE,
    READING,
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

Features = Annotated[
    str | None,
    typer.Option(
        "--features",
        "-f",
        help="The objects: points, lines or polygons in any CRS, a path or address. Without, each raster of "
        "the folder is one object.",
        rich_help_panel=READING,
    ),
]
LayerOutput = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="The layer to write: a path, or an address such as s3://bucket/labels.parquet. The suffix is "
        "the format: .parquet, .gpkg, .fgb, .geojson, .shp. Default: RASTER_classified.parquet beside the "
        "raster.",
        rich_help_panel=RESULT,
    ),
]
LabelField = Annotated[
    str | None,
    typer.Option(
        "--label-field", help="The field that takes the labels. Default: ClassLabel.", rich_help_panel=RESULT
    ),
]
Score = Annotated[
    float | None,
    typer.Option(
        "--score-threshold",
        help="Objects that the model is less certain of get no label, 0..1. Default: 0, or 0.5 for each "
        "label where there can be several.",
        rich_help_panel=RESULT,
    ),
]
ObjectMask = Annotated[
    str | None,
    typer.Option(
        "--mask",
        help="Objects with their middle outside of these polygons, or where this raster is 0, get no label.",
        rich_help_panel=PLACE,
    ),
]
FixChipSize = Annotated[
    bool | None,
    typer.Option(
        "--fix-chip-size/--crop-to-feature",
        help="Whole chips around objects, or only their bounding boxes, enlarged. Default: as in training.",
        rich_help_panel=TILES,
    ),
]
Blacken = Annotated[
    bool | None,
    typer.Option(
        "--blacken/--no-blacken",
        help="Set the pixels around the object to 0. Default: as in training.",
        rich_help_panel=TILES,
    ),
]


def classify_objects(
    raster: RasterArgument,
    model: ModelArgument,
    features: Features = None,
    output: LayerOutput = None,
    overwrite: Overwrite = False,
    label_field: LabelField = None,
    score_threshold: Score = None,
    each: Each = False,
    assets: Assets = None,
    variable: Variable = None,
    resampling: Resampling = None,
    trust: Trust = False,
    extent: Extent = None,
    mask: ObjectMask = None,
    cell_size: CellSize = None,
    out_crs: OutCrs = None,
    tile_size: TileSize = None,
    fix_chip_size: FixChipSize = None,
    blacken: Blacken = None,
    tta: Tta = False,
    merge_policy: MergeOption = None,
    batch_size: BatchSize = None,
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
    """Give each object of a layer a label, by what the raster shows around it.

    All objects are written with their fields, a label and how certain it is. A run that was cut off goes on
    when the same command is given again. The result does not depend on the number of workers.
    """
    reading = reading_of(assets=assets, variable=variable, resampling=resampling)
    check_together(raster, output, reading, each=each, estimate=estimate, example="labels.parquet")
    check_there("raster", raster)
    check_model(model)
    check_there("layer", features)
    check_there("mask", mask)
    arguments = {
        "batch_size": batch_size,
        "score_threshold": score_threshold,
        "test_time_augmentation": tta or None,
        "merge_policy": word(merge_policy),
        "tile_size": tile_size,
        "fix_chip_size": fix_chip_size,
        "blacken_around_feature": blacken,
    }
    context = context_of(
        cell_size=cell_size,
        out_crs=out_crs,
        extent=extent,
        mask=mask,
        parallelProcessingFactor=cores,
        processorType=word(processor),
    )
    from rasterloom.pipeline.inference.scenes import classify

    with client_of(workers, cluster) as client:
        result = classify.classify_objects(
            source_of(raster, reading),
            model,
            {name: value for name, value in arguments.items() if value is not None},
            features,
            label_field,
            each,
            output,
            context,
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
    for path in result if isinstance(result, list) else [result]:
        typer.echo(path)
