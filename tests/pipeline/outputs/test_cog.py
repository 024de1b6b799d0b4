"""Tiles become one valid, coloured COG, or nothing."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import OutputError, OutputExistsError
from rasterloom.pipeline.outputs.cog import ClassMap, assemble_class_map, check_free
from rasterloom.pipeline.outputs.tiles import write_tile
from rasterloom.pipeline.rasters.grid import Grid, Window, read_crs
from rasterloom.pipeline.rasters.tiles import iter_windows

GRID = Grid(read_crs("EPSG:32633").to_wkt(), (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 1100, 900)
CLASSES = (ClassInfo(1, "Field", (200, 180, 90)), ClassInfo(4, "Water", (20, 60, 200)))


def _map(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).choice(np.array([1, 4], np.uint8), (GRID.height // 20, 45))
    return np.kron(coarse, np.ones((20, 20), np.uint8))


def _tiles(folder: Path, pixels: np.ndarray, side: int) -> list[tuple[str, Window]]:
    folder.mkdir()
    tiles = []
    for index, window in enumerate(iter_windows(GRID.shape, side)):
        path = folder / f"{index}.tif"
        write_tile(path, pixels[None, *window.slices], GRID.cropped(window), nodata=255)
        tiles.append((str(path), window))
    return tiles


def _described(pixels: np.ndarray) -> ClassMap:
    values, counts = np.unique(pixels[pixels != 255], return_counts=True)
    found = {int(v): int(n) for v, n in zip(values, counts, strict=True)}
    return ClassMap(GRID, "uint8", 255, CLASSES, found)


@pytest.fixture
def cog(tmp_path: Path) -> tuple[Path, np.ndarray]:
    pixels = _map()
    path = tmp_path / "classes.tif"
    assemble_class_map(_tiles(tmp_path / "tiles", pixels, 256), _described(pixels), str(path))
    return path, pixels


def test_the_cog_is_valid_and_holds_the_tiles_pixels(cog: tuple[Path, np.ndarray]) -> None:
    path, pixels = cog
    valid, errors, warnings = cog_validate(str(path), strict=True)
    assert valid, (errors, warnings)
    with rasterio.open(path) as source:
        assert (source.read(1) == pixels).all()
        assert source.crs.to_epsg() == 32633
        assert tuple(source.transform)[:6] == GRID.transform
        assert source.nodata == 255


def test_colours_names_and_exact_statistics_travel_with_it(cog: tuple[Path, np.ndarray]) -> None:
    path, pixels = cog
    with rasterio.open(path) as source:
        assert source.colormap(1)[4] == (20, 60, 200, 255)
        assert [c["name"] for c in json.loads(source.tags()["CLASSES"])] == ["Field", "Water"]
        tags = source.tags(1)
    assert float(tags["STATISTICS_MEAN"]) == pytest.approx(pixels.mean())
    assert float(tags["STATISTICS_STDDEV"]) == pytest.approx(pixels.std())
    assert "<Category>Water</Category>" in path.with_name("classes.tif.aux.xml").read_text()


def test_overviews_hold_only_classes_that_occur(cog: tuple[Path, np.ndarray]) -> None:
    path, _ = cog
    with rasterio.open(path) as source:
        assert source.overviews(1)
        small = source.read(1, out_shape=(GRID.height // 4, GRID.width // 4))
    assert set(np.unique(small)) <= {1, 4, 255}


def test_the_bytes_do_not_depend_on_how_it_was_cut(tmp_path: Path) -> None:
    pixels = _map(1)
    written = []
    for side in (200, 512):
        path = tmp_path / f"{side}.tif"
        assemble_class_map(_tiles(tmp_path / f"t{side}", pixels, side), _described(pixels), str(path))
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_where_a_tile_is_missing_the_map_holds_nodata(tmp_path: Path) -> None:
    pixels = _map(2)
    tiles = _tiles(tmp_path / "tiles", pixels, 512)
    lost = tiles.pop(1)[1]
    assemble_class_map(tiles, _described(pixels), str(tmp_path / "classes.tif"))
    with rasterio.open(tmp_path / "classes.tif") as source:
        found = source.read(1)
    assert (found[lost.slices] == 255).all()
    assert ((found == 255).sum()) == lost.height * lost.width


def test_only_the_result_is_left_behind(tmp_path: Path) -> None:
    pixels = _map(3)
    out = tmp_path / "out"
    out.mkdir()
    assemble_class_map(_tiles(tmp_path / "tiles", pixels, 512), _described(pixels), str(out / "classes.tif"))
    assert sorted(p.name for p in out.iterdir()) == ["classes.tif", "classes.tif.aux.xml"]


_LIMITED = """
import resource, signal, sys, pickle
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.outputs.cog import assemble_class_map
tiles, what = pickle.load(open(sys.argv[1], "rb"))
try:
    assemble_class_map(tiles, what, sys.argv[2])
except OutputError as error:
    print(error)
    sys.exit(7)
"""


def test_a_disk_that_fills_up_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    # a limit on file size makes GDAL's own writes fail, as a full disk does
    noise = np.random.default_rng(0).integers(0, 200, GRID.shape, np.uint8)
    tiles = _tiles(tmp_path / "tiles", noise, 256)
    job = tmp_path / "job.pickle"
    job.write_bytes(pickle.dumps((tiles, _described(noise))))
    out = tmp_path / "out"
    out.mkdir()
    (out / "classes.tif").write_bytes(b"old")
    ended = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(job), str(out / "classes.tif")], capture_output=True, text=True
    )
    assert ended.returncode == 7, ended.stderr
    assert "It needs at most 990,000 bytes" in ended.stdout
    assert [p.name for p in out.iterdir()] == ["classes.tif"]
    assert (out / "classes.tif").read_bytes() == b"old"


def test_an_existing_output_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "classes.tif").write_bytes(b"old")
    with pytest.raises(OutputExistsError, match="pass overwrite=True"):
        check_free(tmp_path / "classes.tif", overwrite=False)
    check_free(tmp_path / "classes.tif", overwrite=True)
    assert (tmp_path / "classes.tif").read_bytes() == b"old"


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written to"):
        check_free(tmp_path / "file" / "classes.tif", overwrite=False)
    with pytest.raises(OutputError, match="is a folder"):
        check_free(tmp_path, overwrite=True)
