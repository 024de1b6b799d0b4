"""``rasterloom info``: what a raster, a chip store or a model package holds."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rasterloom.pipeline.cli.options import Assets, Variable, check_there, reading_of

Rows = list[tuple[str, Any]]


def info(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="A raster, as classify-pixels takes it (file, folder, address, STAC items, Zarr), a chip "
            "store or a model package.",
        ),
    ],
    assets: Assets = None,
    variable: Variable = None,
) -> None:
    """Say what a file, a folder or an address holds."""
    from rich.console import Console
    from rich.table import Table

    check_there("file or folder", path)
    kind, rows = _describe(path, reading_of(assets=assets, variable=variable))
    table = Table(title=f"{kind}  {path}", title_justify="left", show_header=False, box=None)
    for name, value in rows:
        table.add_row(f"[bold]{name}[/bold]", str(value))
    Console().print(table)


def _describe(path: str, reading: dict[str, Any]) -> tuple[str, Rows]:
    if path.endswith((".dlpk", ".emd")):
        return "model package", _package(path)
    if _is_chip_store(Path(path) / "zarr.json"):
        return "chip store", _store(path)
    return "raster", _raster(path, reading)


def _is_chip_store(description: Path) -> bool:
    """Whether the Zarr group was written by export-training-data; any other is a raster."""
    try:
        return "rasterloom-chips" in json.loads(description.read_text())["attributes"].values()
    except (OSError, ValueError, LookupError):
        return False


def _package(path: str) -> Rows:
    from rasterloom.pipeline.packages.load import load_package

    package = load_package(path)
    spec = package.spec
    return [
        ("model", spec.model),
        ("task", spec.task),
        ("bands", ", ".join(spec.bands)),
        ("pixel type", spec.dtype),
        ("classes", ", ".join(f"{c.value} {c.name}" for c in spec.classes)),
        ("tile size", f"{spec.tile_size} pixels"),
        ("cell size", " x ".join(f"{side:g}" for side in spec.cell_size)),
        ("settings", ", ".join(f"{key}={value}" for key, value in spec.parameters.items())),
        ("digest", package.digest[:16]),
    ]


def _store(path: str) -> Rows:
    from rasterloom.pipeline.store.read import ChipStore

    store = ChipStore(path)
    spec = store.spec
    names = {c.value: c.name for c in spec.classes}
    labelled = sum(store.class_pixels.values()) or 1
    shares = ", ".join(
        f"{names.get(value, 'no class')} {count / labelled:.1%}"
        for value, count in sorted(store.class_pixels.items())
    )
    return [
        ("chips", f"{len(store):,}"),
        ("chip size", " x ".join(str(side) for side in spec.tile)),
        ("bands", ", ".join(spec.bands)),
        ("pixel type", spec.dtype),
        ("classes", ", ".join(f"{c.value} {c.name}" for c in spec.classes)),
        ("pixels", shares),
        ("mean", ", ".join(f"{value:.2f}" for value in store.stats.mean)),
        ("deviation", ", ".join(f"{value:.2f}" for value in store.stats.std)),
    ]


def _raster(path: str, reading: dict[str, Any]) -> Rows:
    from rasterio.crs import CRS

    from rasterloom.pipeline.rasters.open import describe

    raster = describe(path, **reading)
    crs = CRS.from_wkt(raster.grid.crs)
    west, south, east, north = raster.grid.bounds
    return [
        ("source", raster.name),
        ("size", f"{raster.grid.width:,} x {raster.grid.height:,} pixels"),
        ("bands", ", ".join(raster.bands)),
        ("pixel type", raster.dtype),
        ("nodata", "none" if raster.nodata is None else raster.nodata),
        ("CRS", crs.to_string()),
        ("cell size", " x ".join(f"{side:g}" for side in raster.grid.cell_size)),
        ("extent", f"west {west:g}, south {south:g}, east {east:g}, north {north:g}"),
    ]
