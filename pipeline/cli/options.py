"""Options that several commands share, and what they mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

RESULT = "What comes out"
READING = "What is read"
PLACE = "Where"
WORK = "Who does the work"
RUN = "The run"
"""Panels of the help, in which options stand by what they are about."""

Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="What to write. Default: beside the input.", rich_help_panel=RESULT),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace what stands under the output's name.", rich_help_panel=RESULT),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.", rich_help_panel=RUN)]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        min=0,
        help="Worker processes to start on this machine; 0 works in this process. Default: one per core.",
        rich_help_panel=WORK,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        help="A cluster elsewhere: tls://10.0.0.5:8786 (keys in $RASTERLOOM_TLS), tcp://..., ssh:hosts.toml, "
        "slurm:cluster.toml, k8s:NAME, gateway:URL or coiled:NAME.",
        rich_help_panel=WORK,
    ),
]
CellSize = Annotated[
    float | None,
    typer.Option(
        "--cell-size",
        help="Read the raster at this cell size, in units of its CRS. Default: its own.",
        rich_help_panel=PLACE,
    ),
]
OutCrs = Annotated[
    str | None,
    typer.Option(
        "--out-crs",
        help="Read the raster in this CRS, such as EPSG:32633. Default: its own.",
        rich_help_panel=PLACE,
    ),
]
Extent = Annotated[
    tuple[float, float, float, float] | None,
    typer.Option(
        "--extent",
        metavar="W S E N",
        help="Only this part, in the CRS the raster is read in.",
        rich_help_panel=PLACE,
    ),
]
Assets = Annotated[
    str | None,
    typer.Option(
        "--assets",
        help="Of STAC items: names of the assets whose bands are read, in this order, as red,green,nir.",
        rich_help_panel=READING,
    ),
]
Variable = Annotated[
    str | None,
    typer.Option(
        "--variable",
        help="Of a Zarr store: names of the arrays that are read, in this order, as red,nir.",
        rich_help_panel=READING,
    ),
]
Resampling = Annotated[
    str | None,
    typer.Option(
        "--resampling",
        help="How parts of a mosaic that do not fit its grid are brought onto it: nearest, bilinear, cubic, "
        "average, ... Default: bilinear, or average where cells grow.",
        rich_help_panel=READING,
    ),
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


def reading_of(
    *, assets: str | None = None, variable: str | None = None, resampling: str | None = None
) -> dict[str, Any]:
    """The arguments of ``open_raster`` beside the source; what was not given is left out."""
    given = {"assets": _names(assets), "variable": _names(variable), "resampling": resampling}
    return {key: value for key, value in given.items() if value is not None}


def check_named(raster: str, output: Any, example: str) -> None:
    """Raise SettingError where the output has no name and none can be made of the raster's."""
    if output is None and is_address(raster):
        from rasterloom.models.errors import SettingError

        raise SettingError(
            f"--output is missing: nothing can stand beside an address. Say what to write: -o {example}."
        )


def check_there(what: str, path: str | None, *endings: str) -> None:
    """Raise MissingInputError where a local path is not there: at once, before anything large is loaded.

    Parameters
    ----------
    what
        What the message calls it.
    path
        A path, with one of ``endings`` or as it is. Addresses are asked later, and None is nothing.
    """
    if path is None or is_address(path) or any(_exists(f"{path}{end}") for end in ("", *endings)):
        return
    from rasterloom.models.errors import MissingInputError

    raise MissingInputError(f"there is no {what} at {path}: check the path.")


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # a name too long, a folder that may not be entered
        return False


def is_address(path: str) -> bool:
    """Whether a path leads elsewhere than into this machine's folders."""
    return "://" in path or path.startswith("/vsi")


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


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
