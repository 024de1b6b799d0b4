"""``rasterloom info``: what a raster, training chips or a model package hold."""

import json
from collections.abc import Mapping
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
            help="A raster, as classify-pixels takes it (file, folder, address, STAC items, Zarr), "
            "training chips (a chip store, or a folder in any format), or a model package.",
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
    if _is_chip_store(Path(path) / "zarr.json") or _is_folder_of_chips(Path(path)):
        return "training chips", _chips(path)
    return "raster", _raster(path, reading)


def _is_chip_store(description: Path) -> bool:
    """Whether the Zarr group was written by export-training-data; any other is a raster."""
    try:
        return "rasterloom-chips" in json.loads(description.read_text())["attributes"].values()
    except (OSError, ValueError, LookupError):
        return False


def _is_folder_of_chips(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    from rasterloom.pipeline.formats.opening import holds_chips

    return holds_chips(folder)


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


def _chips(path: str) -> Rows:
    from rasterloom.pipeline.formats.opening import is_pair, open_chip_reader, open_pair

    if not is_pair(path):
        return _chip_rows(open_chip_reader(path))
    first, second = (_chip_rows(chips) for chips in open_pair(path))
    return [("A", ""), *first, ("B", ""), *second]


def _chip_rows(chips: Any) -> Rows:
    spec, stats = chips.spec, chips.stats
    known = {c.value: c.name for c in (*spec.instance_classes, *spec.classes)}
    rows = [
        ("format", spec.metadata_format),
        ("chips", f"{len(chips):,}"),
        ("parts", _counted(chips.split)),
        ("chip size", " x ".join(str(side) for side in spec.tile)),
        ("bands", ", ".join(spec.bands)),
        ("second image", ", ".join(spec.bands2)),
        ("pixel type", spec.dtype),
        ("classes", ", ".join(f"{c.value} {c.name}" for c in spec.classes)),
        ("pixels", _shares(chips.class_pixels, known)),
        ("objects", _numbers({v: area.count for v, area in chips.label_stats.areas.items()}, known)),
        ("chips with", _numbers(chips.label_stats.images, known)),
        ("mean", ", ".join(f"{value:.2f}" for value in stats.mean)),
        ("deviation", ", ".join(f"{value:.2f}" for value in stats.std)),
    ]
    return [(name, told) for name, told in rows if told]


def _counted(parts: Any) -> str:
    """How many chips are for what; empty where that is left open."""
    named = [(name, int((parts == name).sum())) for name in ("train", "val", "test")]
    return ", ".join(f"{name}: {count:,}" for name, count in named if count)


def _shares(pixels: Mapping[int, int], known: Mapping[int, str]) -> str:
    total = sum(pixels.values()) or 1
    return ", ".join(
        f"{known.get(v, 'no class')}: {count / total:.1%}" for v, count in sorted(pixels.items())
    )


def _numbers(counts: Mapping[int, int], known: Mapping[int, str]) -> str:
    return ", ".join(f"{known.get(v, str(v))}: {count:,}" for v, count in sorted(counts.items()) if v)


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
