"""``rasterloom extract-lines``: centre lines of what a raster shows, as a connected network."""

from typing import Annotated

import typer

from rasterloom.pipeline.cli.classify_options import Cores, Each, MaxFailed, RasterArgument, TaskSize
from rasterloom.pipeline.cli.inferring import check_together, source_of
from rasterloom.pipeline.cli.options import (
    PLACE,
    READING,
    RESULT,
    Assets,
    Cluster,
    Extent,
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

_LINES = "What becomes a line"

LinesOutput = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="The layer to write: a path, or an address such as s3://bucket/roads.parquet. The suffix is the "
        "format: .parquet, .gpkg, .fgb, .geojson, .shp. Default: RASTER_lines.parquet beside the raster.",
        rich_help_panel=RESULT,
    ),
]
LineMask = Annotated[
    str | None,
    typer.Option(
        "--mask",
        help="Lines are looked for only inside these polygons, or where this raster is not 0.",
        rich_help_panel=PLACE,
    ),
]
Band = Annotated[
    int | None,
    typer.Option(
        "--band",
        min=1,
        help="Number of the band, from 1. Not needed where there is one only.",
        rich_help_panel=READING,
    ),
]
Least = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        help="Of a raster of probabilities: the least, 0..1, that belongs to a line. Default: 0.5.",
        rich_help_panel=_LINES,
    ),
]
ClassValues = Annotated[
    list[float] | None,
    typer.Option(
        "--class-value",
        help="Of a raster of classes: the value that lines are made of. Give it again for more.",
        rich_help_panel=_LINES,
    ),
]
MinimumLength = Annotated[
    float,
    typer.Option(
        "--minimum-length",
        min=0,
        help="Lines with a free end that are shorter are taken off. In units of the CRS, metres for degrees.",
        rich_help_panel=_LINES,
    ),
]
MinimumArea = Annotated[
    float,
    typer.Option(
        "--minimum-area",
        min=0,
        help="Smaller patches of pixels are left out. In square units of the CRS, square metres for degrees.",
        rich_help_panel=_LINES,
    ),
]
Simplify = Annotated[
    float | None,
    typer.Option(
        "--simplify",
        min=0,
        help="Furthest that a line may lie from its pixels; 0 follows them exactly. Default: one cell.",
        rich_help_panel=RESULT,
    ),
]
Smooth = Annotated[
    bool,
    typer.Option("--smooth", help="Smooth the stairs of the pixels away.", rich_help_panel=RESULT),
]


def extract_lines(
    raster: RasterArgument,
    output: LinesOutput = None,
    overwrite: Overwrite = False,
    simplify: Simplify = None,
    smooth: Smooth = False,
    each: Each = False,
    assets: Assets = None,
    variable: Variable = None,
    resampling: Resampling = None,
    band: Band = None,
    extent: Extent = None,
    mask: LineMask = None,
    threshold: Least = None,
    class_value: ClassValues = None,
    minimum_length: MinimumLength = 0.0,
    minimum_area: MinimumArea = 0.0,
    workers: Workers = None,
    cluster: Cluster = None,
    cores: Cores = None,
    task_size: TaskSize = None,
    max_failed: MaxFailed = 0.01,
    quiet: Quiet = False,
) -> None:
    """Thin the roads of a raster to centre lines, one between every two crossings.

    Lines go on across the borders of tasks, and the result does not depend on the number of workers. A run
    that was cut off goes on when the same command is given again.
    """
    reading = reading_of(assets=assets, variable=variable, resampling=resampling)
    check_together(raster, output, reading, each=each, estimate=False, example="roads.parquet")
    check_there("raster", raster)
    check_there("mask", mask)
    context = context_of(extent=extent, mask=mask, parallelProcessingFactor=cores)
    from rasterloom.pipeline.inference import lines

    with client_of(workers, cluster) as client:
        result = lines.extract_lines(
            source_of(raster, reading),
            output,
            threshold=threshold,
            class_value=class_value or None,
            band=band,
            minimum_length=minimum_length,
            minimum_area=minimum_area,
            simplify=simplify,
            smooth=smooth,
            context=context,
            process_all_raster_items=each,
            client=client,
            overwrite=overwrite,
            cell_size=task_size,
            max_failed=max_failed,
            progress=not quiet,
        )
    for written in result if each else [result]:
        typer.echo(written)
