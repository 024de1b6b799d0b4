"""Single tiles are whole or not there."""

import errno
from pathlib import Path

import numpy as np
import pytest
import rasterio

from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError
from rasterloom.pipeline.outputs.tiles import write_tile
from rasterloom.pipeline.rasters.grid import Grid, read_crs

GRID = Grid(read_crs("EPSG:32633").to_wkt(), (2.0, 0.0, 500000.0, 0.0, -2.0, 5000000.0), 300, 200)


def test_a_tile_comes_back_as_it_was_written(tmp_path: Path) -> None:
    pixels = np.arange(300 * 200, dtype=np.uint16).reshape(1, 300, 200)
    write_tile(Place.of(tmp_path), "a.tif", pixels, GRID, nodata=65535)
    with rasterio.open(tmp_path / "a.tif") as source:
        assert (source.read() == pixels).all()
        assert tuple(source.transform)[:6] == GRID.transform
        assert source.nodata == 65535
        assert source.crs.to_epsg() == 32633


def test_the_same_pixels_give_the_same_bytes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 5, (1, 300, 200), np.uint8)
    for name in ("a.tif", "b.tif"):
        write_tile(Place.of(tmp_path), name, pixels, GRID)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_a_full_disk_leaves_nothing_and_says_what_was_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as target:
            target.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"No space left on device.*needed [\d,]+ bytes"):
        write_tile(Place.of(tmp_path), "a.tif", np.zeros((1, 300, 200), np.uint8), GRID)
    assert list(tmp_path.iterdir()) == []
