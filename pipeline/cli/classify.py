"""``rasterloom classify-pixels``: a class map of a whole raster."""

from pathlib import Path
from typing import Annotated

import typer

from rasterloom.pipeline.cli.options import (
    CellSize,
    Cluster,
    Extent,
    OutCrs,
    Output,
    Overwrite,
    Quiet,
    Workers,
    client_of,
    context_of,
)


def classify_pixels(
    raster: Annotated[Path, typer.Argument(help="A raster, or a folder of rasters that make one mosaic.")],
    model: Annotated[Path, typer.Argument(help="A model package (.dlpk or .emd).")],
    output: Output = None,
    tile_size: Annotated[
        int | None, typer.Option("--tile-size", help="What the network sees, in pixels. Default: as trained.")
    ] = None,
    padding: Annotated[
        int | None,
        typer.Option("--padding", help="Pixels dropped around each prediction. Default: a quarter."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Chips in a forward pass.")] = None,
    background: Annotated[
        bool, typer.Option("--background/--no-background", help="Whether pixels may be background.")
    ] = True,
    cell_size: CellSize = None,
    out_crs: OutCrs = None,
    extent: Extent = None,
    processor: Annotated[
        str | None, typer.Option("--processor", help="CPU or GPU. Default: GPU where every worker has one.")
    ] = None,
    workers: Workers = None,
    cluster: Cluster = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what it would take: chips, memory, seconds.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Classify every pixel of a raster of any size. A run that was cut off goes on where it stopped."""
    from rasterloom.pipeline.inference import pixels

    given = {"tile_size": tile_size, "padding": padding, "batch_size": batch_size}
    arguments = {name: value for name, value in given.items() if value is not None}
    with client_of(workers, cluster) as client:
        result = pixels.classify_pixels(
            str(raster),
            str(model),
            {**arguments, "predict_background": background},
            output,
            context_of(cell_size=cell_size, out_crs=out_crs, extent=extent, processorType=processor),
            client=client,
            estimate=estimate,
            overwrite=overwrite,
            progress=not quiet,
        )
    if estimate:
        _print_estimate(result)
        return
    typer.echo(result)
    typer.echo(f"next: rasterloom info {result}", err=True)


def _print_estimate(estimate: object) -> None:
    from dataclasses import asdict

    for name, value in asdict(estimate).items():  # type: ignore[call-overload] # any Estimate is a dataclass
        typer.echo(f"{name:15} {value:,.1f}" if isinstance(value, float) else f"{name:15} {value:,}")
