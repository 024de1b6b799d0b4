"""Tiles become one valid COG that says what it holds, or nothing."""

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import OutputError, OutputExistsError, SettingError
from rasterloom.pipeline.outputs.cog import assemble, check_free, output_name
from rasterloom.pipeline.outputs.raster import BandStatistics, OutputRaster
from rasterloom.pipeline.rasters.grid import Grid, read_crs
from tests.support.tiles import ListedTiles, cut_tiles

GRID = Grid(read_crs("EPSG:32633").to_wkt(), (1.0, 0.0, 500000.0, 0.0, -1.0, 5000000.0), 1100, 900)
CLASSES = (ClassInfo(1, "Field", (200, 180, 90)), ClassInfo(4, "Water", (20, 60, 200)))


def _map(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).choice(np.array([1, 4], np.uint8), (GRID.height // 20, 45))
    return np.kron(coarse, np.ones((20, 20), np.uint8))


def _tiles(folder: Path, pixels: np.ndarray, side: int, lost: int | None = None) -> ListedTiles:
    return cut_tiles(Place.of(folder), pixels[None], GRID, side, nodata=255, lost=lost)


def _described(pixels: np.ndarray) -> OutputRaster:
    values, counts = np.unique(pixels[pixels != 255], return_counts=True)
    found = {int(v): int(n) for v, n in zip(values, counts, strict=True)}
    return OutputRaster.class_map(GRID, "uint8", 255, CLASSES, found)


def _assembled(tiles: ListedTiles, what: OutputRaster, output: Path) -> Path:
    folder = RunFolder(output.parent / "_run")
    assert assemble(None, tiles, what, output, folder=folder) == str(output)
    return output


@pytest.fixture
def cog(tmp_path: Path) -> tuple[Path, np.ndarray]:
    pixels = _map()
    tiles = _tiles(tmp_path / "tiles", pixels, 256)
    return _assembled(tiles, _described(pixels), tmp_path / "classes.tif"), pixels


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
        tiles = _tiles(tmp_path / f"t{side}", pixels, side)
        written.append(_assembled(tiles, _described(pixels), tmp_path / f"{side}.tif").read_bytes())
    assert written[0] == written[1]


def test_where_a_tile_is_missing_the_map_holds_nodata(tmp_path: Path) -> None:
    pixels = _map(2)
    path = _assembled(
        _tiles(tmp_path / "tiles", pixels, 512, lost=1), _described(pixels), tmp_path / "classes.tif"
    )
    pixels[0:512, 512:900] = 255
    with rasterio.open(path) as source:
        assert (source.read(1) == pixels).all()


def _probabilities(dtype: str) -> np.ndarray:
    rows, cols = np.mgrid[: GRID.height, : GRID.width]
    share = (np.sin(rows / 90) * np.cos(cols / 70) + 1) / 2
    whole = np.stack([share, 1 - share])
    if dtype == "uint8":
        pixels = np.round(whole * 254).astype(np.uint8)
        pixels[:, 300:400, 200:500] = 255
        return pixels
    pixels = whole.astype(np.float32)
    pixels[:, 300:400, 200:500] = math.nan
    return pixels


def test_quantised_probabilities_say_how_they_are_scaled(tmp_path: Path) -> None:
    pixels = _probabilities("uint8")
    held = [band[band != 255].astype(np.int64) for band in pixels]
    figures = tuple(
        BandStatistics.of_sums(b.size, int(b.min()), int(b.max()), int(b.sum()), int((b**2).sum()))
        for b in held
    )
    what = OutputRaster.probabilities(GRID, "uint8", CLASSES, figures)
    tiles = cut_tiles(Place.of(tmp_path / "tiles"), pixels, GRID, 300, nodata=255)
    path = _assembled(tiles, what, tmp_path / "p.tif")
    assert cog_validate(str(path), strict=True)[0]
    with rasterio.open(path) as source:
        assert (source.read() == pixels).all()
        assert source.descriptions == ("Field", "Water")
        assert source.scales == (1 / 254, 1 / 254)
        assert source.nodata == 255
        assert float(source.tags(2)["STATISTICS_MEAN"]) == pytest.approx(held[1].mean(), rel=1e-12)
        assert float(source.tags(2)["STATISTICS_STDDEV"]) == pytest.approx(held[1].std(), rel=1e-9)
        half = source.read(1, out_shape=(GRID.height // 2, GRID.width // 2))
    block = pixels[0, 600:602, 600:602].astype(float).mean()
    assert half[300, 300] == pytest.approx(block, abs=0.51)
    assert (half[155:195, 105:245] == 255).all()


def test_probabilities_as_numbers_keep_every_bit(tmp_path: Path) -> None:
    pixels = _probabilities("float32")
    figures = tuple(
        BandStatistics.of_sums(1, float(np.nanmin(band)), float(np.nanmax(band))) for band in pixels
    )
    what = OutputRaster.probabilities(GRID, "float32", CLASSES, figures)
    tiles = cut_tiles(Place.of(tmp_path / "tiles"), pixels, GRID, 300, nodata=math.nan)
    path = _assembled(tiles, what, tmp_path / "p.tif")
    assert cog_validate(str(path), strict=True)[0]
    with rasterio.open(path) as source:
        assert source.read().tobytes() == pixels.tobytes()
        assert math.isnan(source.nodata)
        assert source.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "DEFLATE"
        assert source.tags(1)["STATISTICS_MINIMUM"] == str(figures[0].minimum)
        assert "STATISTICS_MEAN" not in source.tags(1)
        half = source.read(1, out_shape=(GRID.height // 2, GRID.width // 2))
    assert half[300, 300] == pytest.approx(pixels[0, 600:602, 600:602].mean(), rel=1e-5)


def test_only_the_result_is_left_behind(tmp_path: Path) -> None:
    pixels = _map(3)
    out = tmp_path / "out"
    out.mkdir()
    (out / f".classes.tif.{'0' * 32}.part.tif").touch()  # of an attempt that was killed
    _assembled(_tiles(tmp_path / "tiles", pixels, 512), _described(pixels), out / "classes.tif")
    left = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert left == {"classes.tif", "classes.tif.aux.xml"}


def test_a_broken_tile_is_an_error_that_names_it(tmp_path: Path) -> None:
    pixels = _map(4)
    tiles = _tiles(tmp_path / "tiles", pixels, 512)
    (tmp_path / "tiles" / "2.tif").write_bytes(b"II*\0 no more than that")
    with pytest.raises(OutputError, match=r"2\.tif"):
        _assembled(tiles, _described(pixels), tmp_path / "out" / "classes.tif")
    assert not (tmp_path / "out" / "classes.tif").exists()


_LIMITED = """
import pickle, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
from rasterloom.cluster.markers import RunFolder
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.outputs.cog import assemble
tiles, what = pickle.load(open(sys.argv[1], "rb"))
try:
    assemble(None, tiles, what, sys.argv[2], folder=RunFolder(sys.argv[3]))
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
        [sys.executable, "-c", _LIMITED, str(job), str(out / "classes.tif"), str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 7, ended.stderr
    assert "It needs at most 990,000 bytes" in ended.stdout
    assert [p.name for p in out.iterdir()] == ["classes.tif"]
    assert (out / "classes.tif").read_bytes() == b"old"


def test_an_existing_output_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "classes.tif").write_bytes(b"old")
    with pytest.raises(OutputExistsError, match="pass overwrite=True"):
        check_free(tmp_path / "classes.tif", overwrite=False)
    check_free(str(tmp_path / "classes.tif"), overwrite=True)
    assert (tmp_path / "classes.tif").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written to"):
        check_free(tmp_path / "file" / "classes.tif", overwrite=False)
    with pytest.raises(OutputError, match="is a folder"):
        check_free(tmp_path, overwrite=True)
    with pytest.raises(SettingError, match="names no file"):
        check_free("s3://bucket", overwrite=True)


@pytest.mark.parametrize(
    ("output", "most", "name"),
    [
        ("/maps/a.b.tif", 4096, "/maps/a.b.tif"),
        ("/maps/a.b.tif", 1024, "/maps/a.b.vrt"),
        ("s3://bucket.x/map", 512, "s3://bucket.x/map.vrt"),
    ],
)
def test_the_name_of_the_result_is_known_beforehand(output: str, most: int, name: str) -> None:
    assert output_name(output, GRID.shape, max_cog_size=most) == name


def test_a_cog_smaller_than_one_of_its_blocks_is_refused() -> None:
    with pytest.raises(SettingError, match="use 512 or more"):
        output_name("map.tif", GRID.shape, max_cog_size=100)
