"""``rasterloom doctor``: what a machine lacks to do the work, and what to do about it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rasterloom.cluster.doctor import Finding

_RASTERS = {"GTiff": "tiles of results", "COG": "results", "VRT": "mosaics and warped rasters"}
"""GDAL's drivers for rasters, and what each is for here."""
_VECTORS = {"GPKG": "labels and detections", "FlatGeobuf": "labels and detections", "GeoJSON": "labels"}

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="ADDRESS", help="Try this cluster too, as tls://10.0.0.5:8786."),
    ] = None,
    tls: Annotated[
        Path | None,
        typer.Option(
            "--tls", metavar="FOLDER", envvar="RASTERLOOM_TLS", help="Folder of keys to try the cluster with."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for what keeps rasterloom from working here, and say what to do about it.

    Versions, drivers, GPUs, memory, disk, limits, keys, and a cluster if one is named. Ends with 1 if any of
    them fails.
    """
    from rich.console import Console
    from rich.status import Status

    with Status("looking", console=Console(stderr=True)):
        findings = list(_findings(cluster, tls))
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        _print(findings)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(1)


def _findings(cluster: str | None, tls: Path | None) -> Iterator["Finding"]:
    from rasterloom.cluster import doctor as looks

    yield looks.look_at_python()
    yield from looks.look_at_packages()
    yield from looks.look_at_extras()
    yield from look_at_formats()
    yield from looks.look_at_gpus()
    yield looks.look_at_memory()
    yield from looks.look_at_disk()
    yield from looks.look_at_shared_memory()
    yield looks.look_at_open_files()
    if tls is not None:
        yield looks.look_at_keys(tls)
    if cluster is not None:
        yield from looks.look_at_cluster(cluster, None if tls is None else str(tls))


def look_at_formats() -> Iterator["Finding"]:
    """Whether GDAL and Arrow read and write what the tools do, and PROJ finds its data."""
    import pyogrio
    import rasterio
    from pyogrio import list_drivers
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    from rasterloom.cluster.doctor import Finding

    with rasterio.Env() as environment:
        rasters = environment.drivers()
    said = f"GDAL {rasterio.__gdal_version__} of rasterio"
    remedy = "pip install --force-reinstall --only-binary :all: rasterio (its wheels have them all)"
    yield _drivers("rasters", said, {name: name in rasters for name in _RASTERS}, _RASTERS, remedy)
    vectors = list_drivers(write=True)
    said = f"GDAL {'.'.join(map(str, pyogrio.__gdal_version__))} of pyogrio"
    remedy = "pip install --force-reinstall --only-binary :all: pyogrio (its wheels have them all)"
    yield _drivers("vectors", said, {name: name in vectors for name in _VECTORS}, _VECTORS, remedy)
    yield _parquet()
    try:
        CRS.from_epsg(32633)
    except CRSError as error:
        remedy = "PROJ_DATA, PROJ_LIB or GDAL_DATA point to another installation's files: unset them"
        yield Finding("coordinates", "fail", f"PROJ knows no EPSG codes ({error})", remedy)
    else:
        yield Finding("coordinates", "ok", "PROJ finds its data")


def _drivers(topic: str, said: str, there: dict[str, bool], uses: dict[str, str], remedy: str) -> "Finding":
    from rasterloom.cluster.doctor import Finding

    missing = [name for name, found in there.items() if not found]
    if missing:
        told = ", ".join(f"{name} ({uses[name]})" for name in missing)
        return Finding(topic, "fail", f"{said} lacks {told}", remedy)
    return Finding(topic, "ok", f"{said}: {', '.join(there)}")


def _parquet() -> "Finding":
    from rasterloom.cluster.doctor import Finding

    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        remedy = "pip install --force-reinstall pyarrow"
        return Finding("GeoParquet", "fail", f"pyarrow cannot be loaded ({error})", remedy)
    if not pyarrow.Codec.is_available("zstd"):
        remedy = "pip install --force-reinstall --only-binary :all: pyarrow"
        return Finding("GeoParquet", "fail", f"pyarrow {pyarrow.__version__} lacks zstd", remedy)
    return Finding("GeoParquet", "ok", f"pyarrow {pyarrow.__version__}, zstd")


def _print(findings: list["Finding"]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False)
    for finding in findings:
        colour = _COLOURS[finding.level]
        said = escape(finding.said)
        if finding.remedy:
            said += f"\n[{colour}]->[/{colour}] {escape(finding.remedy)}"
        table.add_row(f"[{colour}]{finding.level}[/{colour}]", f"[bold]{escape(finding.topic)}[/bold]", said)
    Console().print(table)
