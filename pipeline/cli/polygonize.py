"""``rasterloom polygonize``: the areas of each class of a class raster, as polygons."""

from typing import Annotated

import typer

from rasterloom.pipeline.cli.classify_options import Cores, RasterArgument, TaskSize
from rasterloom.pipeline.cli.options import (
    READING,
    Cluster,
    Extent,
    Output,
    Overwrite,
    Quiet,
    Workers,
    check_named,
    check_there,
    client_of,
    context_of,
)

_SHAPE = "What polygons look like"


def polygonize(
    raster: RasterArgument,
    output: Output = None,
    overwrite: Overwrite = False,
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            help="Class values to keep, as 1,4. Default: all but nodata and background.",
            rich_help_panel=READING,
        ),
    ] = None,
    probability: Annotated[
        str | None,
        typer.Option(
            "--probability",
            help="Raster of the classes' probabilities: adds their mean to each polygon.",
            rich_help_panel=READING,
        ),
    ] = None,
    extent: Extent = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask", help="Polygons or a raster, outside of which there is nothing.", rich_help_panel=READING
        ),
    ] = None,
    minimum_area: Annotated[
        float,
        typer.Option(
            "--minimum-area",
            min=0,
            help="Leave out what is smaller, in square units of the CRS.",
            rich_help_panel=_SHAPE,
        ),
    ] = 0.0,
    simplify: Annotated[
        float,
        typer.Option(
            "--simplify",
            min=0,
            help="How far simplified borders may lie from the edges of pixels, in units of the CRS.",
            rich_help_panel=_SHAPE,
        ),
    ] = 0.0,
    regularize: Annotated[
        bool,
        typer.Option(
            "--regularize", help="Right-angled outlines, as buildings have.", rich_help_panel=_SHAPE
        ),
    ] = False,
    corners: Annotated[
        bool,
        typer.Option(
            "--corners",
            help="Pixels that meet at a corner only belong together, too.",
            rich_help_panel=_SHAPE,
        ),
    ] = False,
    workers: Workers = None,
    cluster: Cluster = None,
    cores: Cores = None,
    task_size: TaskSize = None,
    quiet: Quiet = False,
) -> None:
    """Write the areas of each class of a class raster as polygons.

    Nothing is cut or doubled where tasks meet, however large the raster is.
    """
    check_there("raster", raster)
    check_there("raster of probabilities", probability)
    check_there("mask", mask)
    check_named(raster, output, "areas.parquet")
    context = context_of(extent=extent, mask=mask, parallelProcessingFactor=cores)
    from rasterloom.pipeline.inference import polygonize as tool

    with client_of(workers, cluster) as client:
        written = tool.polygonize(
            raster,
            output,
            classes=_values(classes),
            minimum_area=minimum_area,
            simplify=simplify,
            regularize=regularize,
            connectivity=8 if corners else 4,
            probability=probability,
            context=context,
            client=client,
            overwrite=overwrite,
            cell_size=task_size,
            progress=not quiet,
        )
    typer.echo(written)
    if not quiet:
        typer.echo(f"next: rasterloom info {written}", err=True)


def _values(text: str | None) -> list[int] | None:
    """Class values out of words. Raises SettingError where one is no whole number."""
    if text is None:
        return None
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        from rasterloom.models.errors import SettingError

        raise SettingError(f"--classes {text} cannot be read: give whole numbers, as 1,4.") from error
