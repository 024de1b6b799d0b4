"""Options that several commands share, and what they mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="What to write. Default: beside the input.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what stands under the output's name.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", "-w", min=0, help="Worker processes on this machine; 0 works in this process."),
]
Cluster = Annotated[
    str | None, typer.Option("--cluster", help="Address of a Dask scheduler, such as tcp://10.0.0.5:8786.")
]
CellSize = Annotated[
    float | None, typer.Option("--cell-size", help="Read the raster at this cell size, in units of its CRS.")
]
OutCrs = Annotated[
    str | None, typer.Option("--out-crs", help="Read the raster in this CRS, such as EPSG:32633.")
]
Extent = Annotated[
    tuple[float, float, float, float] | None,
    typer.Option("--extent", metavar="W S E N", help="Only this part, in the CRS the raster is read in."),
]


def context_of(
    *,
    cell_size: float | None = None,
    out_crs: str | None = None,
    extent: tuple[float, float, float, float] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The ``context`` dictionary of the tools; what was not given is left out."""
    given = {"cellSize": cell_size, "outSR": out_crs, "extent": extent, **more}
    return {key: value for key, value in given.items() if value not in (None, False)}


@contextmanager
def client_of(workers: int | None, cluster: str | None) -> Iterator[Any]:
    """A Dask client for the command, or None where the work is done in this process."""
    if workers == 0 and cluster is None:
        yield None
        return
    from rasterloom.cluster.start import connect

    with connect(cluster, n_workers=workers) as client:
        typer.echo(f"dashboard: {client.dashboard_link}", err=True)
        yield client
