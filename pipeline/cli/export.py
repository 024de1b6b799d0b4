"""``rasterloom export-training-data``: cut chips and their labels into a Zarr store."""

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
    check_named,
    check_there,
    client_of,
    context_of,
)


def export_training_data(
    raster: Annotated[
        str,
        typer.Argument(
            metavar="RASTER",
            help="A file, a folder of files that make one mosaic, an address (https://, s3://, ...), the "
            "JSON of STAC items, or a Zarr store.",
        ),
    ],
    labels: Annotated[Path, typer.Argument(help="Labelled features: GeoParquet, GeoPackage, GeoJSON, ...")],
    output: Output = None,
    class_field: Annotated[
        str | None, typer.Option("--class-field", help="Field with the class. Default: classvalue or value.")
    ] = None,
    tile_size: Annotated[int, typer.Option("--tile-size", help="Side of a chip, in pixels.")] = 256,
    stride: Annotated[
        int | None, typer.Option("--stride", help="Step between chips, in pixels. Default: the tile size.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="Only chips that lie inside these polygons.")
    ] = None,
    all_tiles: Annotated[bool, typer.Option("--all-tiles", help="Chips without labels too.")] = False,
    cell_size: CellSize = None,
    out_crs: OutCrs = None,
    extent: Extent = None,
    workers: Workers = None,
    cluster: Cluster = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Cut a raster and its labels into chips that a model learns from."""
    from rasterloom.pipeline.chips import export

    check_named(raster, output, "chips.zarr")
    check_there("raster", raster)
    check_there("file of labels", str(labels))
    check_there("mask", None if mask is None else str(mask))
    step = stride or tile_size
    with client_of(workers, cluster) as client:
        written = export.export_training_data(
            raster,
            str(labels),
            tile_size={"x": tile_size, "y": tile_size},
            stride_size={"x": step, "y": step},
            classvalue_field=class_field,
            output_location=output,
            context=context_of(
                cell_size=cell_size, out_crs=out_crs, extent=extent, exportAllTiles=all_tiles or None
            ),
            input_mask_polygons=None if mask is None else str(mask),
            client=client,
            overwrite=overwrite,
            progress=not quiet,
        )
    typer.echo(written)
    typer.echo(f"next: rasterloom train {written} -o model.dlpk", err=True)
