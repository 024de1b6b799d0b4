"""``rasterloom demo``: the whole journey on a generated scene, or on the user's own raster."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from rasterloom.pipeline.cli.options import CellSize, Cluster, OutCrs, Quiet, Workers, client_of


def demo(
    raster: Annotated[
        Path | None, typer.Option("--raster", help="Your raster. Default: a generated scene.")
    ] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="Your labelled features.")] = None,
    class_field: Annotated[
        str | None, typer.Option("--class-field", help="Their field with the class.")
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", help="Where everything is written.")] = Path("demo"),
    size: Annotated[
        int, typer.Option("--size", min=512, help="Side of the generated scene, in pixels.")
    ] = 4096,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Passes over the training chips.")
    ] = None,
    cell_size: CellSize = None,
    out_crs: OutCrs = None,
    workers: Workers = None,
    cluster: Cluster = None,
    quiet: Quiet = False,
) -> None:
    """Chips, training, a map of the whole raster, and a report: everything once, in minutes."""
    from rasterloom.models.errors import SettingError
    from rasterloom.pipeline.demo.run import run_demo

    if (raster is None) != (labels is None):
        raise SettingError("--raster and --labels go together: give both for your own data, or neither.")
    with nullcontext() if cluster is None else client_of(workers, cluster) as client:
        result = run_demo(
            folder,
            raster=raster,
            labels=labels,
            class_field=class_field,
            size=size,
            cell_size=cell_size,
            out_crs=out_crs,
            n_workers=workers,
            client=client,
            epochs=epochs,
            progress=not quiet,
        )
    if quiet:
        typer.echo(f"{result.report}  mean IoU {result.mean_iou:.3f}")
