"""A grid of COGs and the raster over it are what one COG would be."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from distributed import Client
from rio_cogeo import cog_validate

from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import RunInterrupted
from rasterloom.pipeline.outputs.cog import assemble
from rasterloom.pipeline.outputs.raster import OutputRaster
from rasterloom.pipeline.rasters.grid import Grid, read_crs
from tests.support.tiles import ListedTiles, cut_tiles

GRID = Grid(read_crs("EPSG:32633").to_wkt(), (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 2300, 2100)
CLASSES = (ClassInfo(1, "Field", (200, 180, 90)), ClassInfo(4, "Water", (20, 60, 200)))
CORNERS = {"0_0", "0_1", "0_2", "1_0", "1_1", "1_2", "2_0", "2_1", "2_2"}


def _map() -> np.ndarray:
    noise = np.random.default_rng(0).choice(np.array([1, 4], np.uint8), (GRID.height // 5, GRID.width // 5))
    pixels = np.kron(noise, np.ones((5, 5), np.uint8))
    pixels[900:1300, 100:700] = 255
    return pixels


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> ListedTiles:
    folder = tmp_path_factory.mktemp("tiles")
    return cut_tiles(Place.of(folder), _map()[None], GRID, 600, nodata=255)


def _described() -> OutputRaster:
    values, counts = np.unique(_map(), return_counts=True)
    found = {int(v): int(n) for v, n in zip(values, counts, strict=True) if v != 255}
    return OutputRaster.class_map(GRID, "uint8", 255, CLASSES, found)


@pytest.fixture(scope="module")
def grid(tiles: ListedTiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("grid")
    run = RunFolder(out / "_run")
    path = assemble(None, tiles, _described(), out / "map.tif", max_cog_size=2047, folder=run)
    assert path == str(out / "map.vrt")
    return out


@pytest.fixture(scope="module")
def whole(tiles: ListedTiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    return Path(assemble(None, tiles, _described(), out / "map.tif", folder=RunFolder(out / "_run")))


def test_the_raster_over_the_grid_has_the_pixels_of_one_cog(grid: Path, whole: Path) -> None:
    with rasterio.open(grid / "map.vrt") as joined, rasterio.open(whole) as one:
        assert (joined.read() == one.read()).all()
        assert joined.profile["transform"] == one.profile["transform"]
        assert joined.crs == one.crs
        assert joined.nodata == one.nodata == 255
        assert joined.colormap(1)[4] == one.colormap(1)[4] == (20, 60, 200, 255)
        assert joined.descriptions == one.descriptions == ("class",)
        assert joined.tags()["CLASSES"] == one.tags()["CLASSES"]
        statistics = {k: v for k, v in one.tags(1).items() if k.startswith("STATISTICS_M")}
        assert statistics
        assert statistics.items() <= joined.tags(1).items()
    assert "<Category>Water</Category>" in (grid / "map.vrt").read_text()


def test_the_overviews_of_the_parts_join_to_those_of_one_cog(grid: Path, whole: Path) -> None:
    with rasterio.open(grid / "map.vrt") as joined:
        assert joined.overviews(1) == [2]
    with (
        rasterio.open(grid / "map.vrt", overview_level=0) as joined,
        rasterio.open(whole, overview_level=0) as one,
    ):
        assert joined.shape == one.shape == (1150, 1050)
        assert (joined.read() == one.read()).all()


def test_every_part_is_a_valid_cog_and_nothing_else_is_left(grid: Path) -> None:
    parts = sorted((grid / "map").glob("*.tif"))
    assert {part.stem.removeprefix("map_") for part in parts} == CORNERS
    for part in parts:
        valid, errors, warnings = cog_validate(str(part), strict=True)
        assert valid, (part, errors, warnings)
        with rasterio.open(part) as source:
            assert max(source.shape) <= 1024
            assert source.colormap(1)[4] == (20, 60, 200, 255)
    names = {path.relative_to(grid).as_posix() for path in grid.rglob("*") if path.is_file()}
    tifs = {f"map/{part.name}" for part in parts}
    wanted = tifs | {f"{tif}.aux.xml" for tif in tifs} | {f"map/map_{corner}.json" for corner in CORNERS}
    assert names == wanted | {"map.vrt", "map/collection.json"}


def test_the_grid_can_be_moved_as_it_is(grid: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    grid.rename(moved)
    try:
        with rasterio.open(moved / "map.vrt") as joined:
            assert (joined.read(1) == _map()).all()
    finally:
        moved.rename(grid)


def test_a_cluster_writes_the_same_parts(
    grid: Path, tiles: ListedTiles, client: Client, tmp_path: Path
) -> None:
    assemble(
        client, tiles, _described(), tmp_path / "map.tif", max_cog_size=1024, folder=RunFolder(tmp_path / "r")
    )
    for part in (grid / "map").glob("*.tif*"):
        assert (tmp_path / "map" / part.name).read_bytes() == part.read_bytes()
    assert (tmp_path / "map.vrt").read_bytes() == (grid / "map.vrt").read_bytes()


def test_what_was_assembled_before_an_interruption_is_not_assembled_again(
    tiles: ListedTiles, tmp_path: Path
) -> None:
    run, out = RunFolder(tmp_path / "_run"), tmp_path / "map.tif"

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(RunInterrupted):
        assemble(None, tiles, _described(), out, max_cog_size=1024, folder=run, on_progress=stop)
    assert not (tmp_path / "map.vrt").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "map").glob("*.tif")}
    assert 0 < len(kept) < 9
    gone = sorted(kept)[0]
    gone.unlink()
    done: list[int] = []
    assemble(
        None,
        tiles,
        _described(),
        out,
        max_cog_size=1024,
        folder=run,
        on_progress=lambda progress: done.append(progress.resumed_cells),
    )
    assert done[-1] == len(kept) - 1
    assert gone.exists()
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items() if path != gone)
    with rasterio.open(tmp_path / "map.vrt") as joined:
        assert (joined.read(1) == _map()).all()


def test_parts_are_made_anew_when_the_run_computed_more_tiles(tiles: ListedTiles, tmp_path: Path) -> None:
    run, out = RunFolder(tmp_path / "_run"), tmp_path / "map.tif"

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    less = ListedTiles(tiles.tiles[1:])
    with pytest.raises(RunInterrupted):
        assemble(None, less, _described(), out, max_cog_size=1024, folder=run, on_progress=stop)
    run.place.write("run.json", json.dumps({"computed": 1}).encode())
    assemble(None, tiles, _described(), out, max_cog_size=1024, folder=run)
    with rasterio.open(tmp_path / "map.vrt") as joined:
        assert (joined.read(1) == _map()).all()


def test_parts_of_a_larger_raster_of_that_name_are_removed(tiles: ListedTiles, tmp_path: Path) -> None:
    for name in ("map_7_7.tif", "map_7_7.tif.aux.xml", "map_7_7.json", "map_7_x.tif", "mine_7_7.tif"):
        (tmp_path / "map").mkdir(exist_ok=True)
        (tmp_path / "map" / name).touch()
    run = RunFolder(tmp_path / "_run")
    assemble(None, tiles, _described(), tmp_path / "map.tif", max_cog_size=1024, folder=run)
    left = {path.name for path in (tmp_path / "map").iterdir() if "7" in path.name}
    assert left == {"map_7_x.tif", "mine_7_7.tif"}


def test_a_stac_collection_describes_every_part(grid: Path) -> None:
    pystac = pytest.importorskip("pystac")
    from pystac.extensions.projection import ProjectionExtension
    from pystac.extensions.raster import RasterExtension

    found = pystac.Collection.from_file(str(grid / "map" / "collection.json"))
    items = {item.id: item for item in found.get_items()}
    assert set(items) == {f"map_{corner}" for corner in CORNERS}
    item = items["map_2_1"]
    with rasterio.open(item.assets["data"].get_absolute_href()) as source:
        projection = ProjectionExtension.ext(item)
        assert projection.epsg == source.crs.to_epsg()
        assert tuple(projection.shape) == source.shape
        assert tuple(projection.transform) == tuple(source.transform)[:6]
        assert tuple(projection.bbox) == tuple(source.bounds)
        expected = rasterio.warp.transform_bounds(source.crs, "EPSG:4326", *source.bounds)
    assert item.bbox == pytest.approx(expected, abs=1e-6)
    assert item.get_collection().id == "map"
    band = RasterExtension.ext(item.assets["data"]).bands[0]
    assert (band.data_type, band.nodata) == ("uint8", 255)
    mosaic = found.assets["mosaic"]
    assert RasterExtension.ext(mosaic).bands[0].statistics.maximum == 4
    with rasterio.open(mosaic.get_absolute_href()) as source:
        assert source.shape == GRID.shape


def test_a_grid_of_probabilities_joins_all_bands(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((3, 700, 600), np.float32)
    pixels[:, :100] = math.nan
    grid = Grid(GRID.crs, GRID.transform, 700, 600)
    classes = (*CLASSES, ClassInfo(9, "Rock", (9, 9, 9)))
    tiles = cut_tiles(Place.of(tmp_path / "tiles"), pixels, grid, 256, nodata=math.nan)
    what = OutputRaster.probabilities(grid, "float32", classes)
    run = RunFolder(tmp_path / "_run")
    path = assemble(None, tiles, what, tmp_path / "p.tif", max_cog_size=600, folder=run)
    with rasterio.open(path) as joined:
        assert joined.read().tobytes() == pixels.tobytes()
        assert joined.descriptions == ("Field", "Water", "Rock")
        assert math.isnan(joined.nodata)
    for part in (tmp_path / "p").glob("*.tif"):
        assert cog_validate(str(part))[0]
