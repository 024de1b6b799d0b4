"""A generated landscape written to a folder: imagery, truth, and outlines in two reference systems."""

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyproj
from rasterio.errors import RasterioError

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import CrsError, OutputError, OutputExistsError, SettingError
from rasterloom.pipeline.landscape.classes import LANDSCAPE_CLASSES
from rasterloom.pipeline.landscape.imagery import needed_bytes, open_imagery
from rasterloom.pipeline.landscape.outlines import scene_features, write_outlines
from rasterloom.pipeline.landscape.render import SIDE, render_block
from rasterloom.pipeline.rasters.grid import Grid, Window, read_crs

_NAMES = ("scene.tif", "labels.parquet", "labels_wgs84.parquet", "truth.tif")
_CELL_SIZES = (0.1, 5.0)
_LARGEST_SIZE = 2**20
Made = TypeVar("Made")
"""What is rendered for one canonical block."""

_PLACE = (15.0, 48.0)
"""Longitude and latitude of the upper-left corner, where the CRS is made for that place."""


@dataclass(frozen=True)
class Landscape:
    """Where a generated scene lies. All of it is generated: it shows no place on Earth."""

    raster: Path
    """The imagery: red, green, blue, near infrared, uint8."""
    labels: Path
    """Outlines in the raster's CRS with ``classvalue`` and ``classname``, in painting order: burned in
    file order, the later one winning, they give ``truth``."""
    labels_wgs84: Path
    """The same outlines in EPSG:4326."""
    truth: Path
    """Class value of every pixel, uint8; 0 does not occur."""
    classes: tuple[ClassInfo, ...]
    """The six classes, values 1 to 6."""
    size: int
    """Side of the scene in pixels."""


def generate_landscape(
    folder: str | os.PathLike[str],
    *,
    size: int = 4096,
    seed: int = 0,
    cell_size: float = 1.0,
    crs: str = "EPSG:32633",
    overwrite: bool = False,
    client: Any = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Landscape:
    """Write a generated scene of fields, grassland, forest, water, roads and buildings.

    A pixel depends on the seed, the cell size and its position only: a larger scene holds a smaller one in
    its upper-left corner. The same call gives the same files, byte for byte. Memory does not grow with the
    size of the scene.

    Parameters
    ----------
    folder
        Gets ``scene.tif``, ``truth.tif``, ``labels.parquet`` and ``labels_wgs84.parquet``. Made if missing.
    size
        Side of the scene in pixels, 1 or more.
    seed
        Which landscape, 0 or more.
    cell_size
        Side of a pixel in metres, 0.1 to 5. The outlines give the truth to the last pixel for powers of two.
    crs
        A projected coordinate reference system in metres.
    overwrite
        Whether files of these four names are replaced. Other files in the folder stay.
    client
        A Dask client whose workers render the blocks, at most two for each of their threads at a time. None
        renders on threads of this process.
    on_progress
        Called with the number of blocks written and of all blocks, after each.

    Raises
    ------
    SettingError
        If a number is out of its range.
    CrsError
        If the CRS is unknown, geographic, or not in metres.
    OutputExistsError
        If one of the four files is there and ``overwrite`` is False.
    OutputError
        If the folder or the files cannot be written. Nothing half-written stays.
    """
    grid = checked_grid(size, seed, cell_size, crs)
    target = Path(folder)
    with written_whole(target, grid, _NAMES, overwrite=overwrite) as parts:
        scene, labels, labels_wgs84, truth = (parts[name] for name in _NAMES)
        with open_imagery(scene, truth, grid) as imagery:
            windows = list(windows_of(size))
            blocks = rendered(render_block, seed, cell_size, windows, client=client)
            for done, (window, block) in enumerate(zip(windows, blocks, strict=True), 1):
                imagery.write(window, block)
                if on_progress is not None:
                    on_progress(done, len(windows))
        files = {labels: grid.crs, labels_wgs84: "EPSG:4326"}
        write_outlines(scene_features(seed, grid), grid, files)
    raster, labels, labels_wgs84, truth = (target / name for name in _NAMES)
    return Landscape(raster, labels, labels_wgs84, truth, LANDSCAPE_CLASSES, size)


def scene_grid(size: int, *, cell_size: float, crs: str) -> Grid:
    """The grid of a scene; its upper-left corner lies on whole kilometres."""
    system = read_crs(crs)
    if not system.is_projected or abs(system.linear_units_factor[1] - 1.0) > 1e-9:
        raise CrsError(f"crs={crs!r} does not measure in metres: give a projected one, 'EPSG:32633', say.")
    west, north = _corner(pyproj.CRS.from_wkt(system.to_wkt()))
    return Grid(system.to_wkt(), (cell_size, 0.0, west, 0.0, -cell_size, north), size, size)


def _corner(system: pyproj.CRS) -> tuple[float, float]:
    area, (longitude, latitude) = system.area_of_use, _PLACE
    if area is not None and not (
        area.west <= longitude <= area.east and area.south <= latitude <= area.north
    ):
        longitude, latitude = (area.west + area.east) / 2, (area.south + area.north) / 2
    transformer = pyproj.Transformer.from_crs("EPSG:4326", system, always_xy=True)
    x, y = transformer.transform(longitude, latitude)
    return round(x / 1000) * 1000.0, round(y / 1000) * 1000.0


def checked_grid(size: int, seed: int, cell_size: float, crs: str) -> Grid:
    """The grid of a scene. Raises SettingError or CrsError if a number is out of range or the CRS unfit."""
    if not 1 <= size <= _LARGEST_SIZE:
        raise SettingError(f"size={size} cannot work: use 1 to {_LARGEST_SIZE} pixels.")
    if not 0 <= seed < 2**63:
        raise SettingError(f"seed={seed} cannot work: use 0 or more, below 2**63.")
    if not _CELL_SIZES[0] <= cell_size <= _CELL_SIZES[1]:
        raise SettingError(
            f"cell_size={cell_size} shows no landscape: use {_CELL_SIZES[0]} to {_CELL_SIZES[1]} metres."
        )
    return scene_grid(size, cell_size=cell_size, crs=crs)


def windows_of(size: int) -> Iterator[Window]:
    """Canonical blocks cut at the scene's edge, row-major."""
    for row in range(0, size, SIDE):
        for col in range(0, size, SIDE):
            yield Window(row, col, min(SIDE, size - row), min(SIDE, size - col))


def rendered(
    render: Callable[[int, float, int, int], Made],
    seed: int,
    cell_size: float,
    windows: Sequence[Window],
    *,
    client: Any = None,
) -> Iterator[Made]:
    """What ``render`` makes of the canonical blocks of all windows, in order, on threads or on a cluster."""
    with _executor(client) as (executor, in_flight):
        yield from _in_order(executor, in_flight, render, seed, cell_size, windows)


def _in_order(
    executor: Executor,
    in_flight: int,
    render: Callable[[int, float, int, int], Made],
    seed: int,
    cell_size: float,
    windows: Sequence[Window],
) -> Iterator[Made]:
    """The blocks in order, a bounded number of them under way."""
    waiting: deque[Future[Made]] = deque()
    for window in windows:
        if len(waiting) == in_flight:
            yield waiting.popleft().result()
        place = window.row // SIDE, window.col // SIDE
        waiting.append(executor.submit(render, seed, cell_size, *place))
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def _executor(client: Any) -> Iterator[tuple[Executor, int]]:
    """What renders blocks, and how many may be under way."""
    if client is not None:
        with client.get_executor(pure=False) as executor:
            yield executor, 2 * max(sum(client.nthreads().values()), 1)
        return
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads, thread_name_prefix="landscape")
    try:
        yield pool, 2 * threads
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def written_whole(
    folder: Path, grid: Grid, names: Sequence[str], *, overwrite: bool, scenes: int = 1
) -> Iterator[dict[str, Path]]:
    """Temporary files that get their names only when all of them are complete.

    Raises OutputExistsError if one of the names is there and is not to be replaced.
    """
    standing = [name for name in names if (folder / name).exists()]
    if standing and not overwrite:
        raise OutputExistsError(
            f"{folder} already holds {', '.join(standing)}: give another folder, or overwrite=True."
        )
    needed = needed_bytes(grid, scenes=scenes)
    parts = {name: folder / f".{name}.partial" for name in names}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < 0.85 * needed:
            raise OSError("too little space is free")
        try:
            yield parts
            for name, part in parts.items():
                part.replace(folder / name)
        finally:
            for part in parts.values():
                part.unlink(missing_ok=True)
    except (OSError, RasterioError) as error:
        raise OutputError(
            f"the landscape could not be written to {folder}, which needs about "
            f"{needed / 1e6:.0f} MB there: {error}. Give a folder with room that can be written."
        ) from error
