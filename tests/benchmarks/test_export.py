"""What an export costs beside reading its pixels and writing its chips, and what it holds in memory."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window as GdalWindow

from rasterloom.pipeline.chips.export import export_training_data
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.read import read_window
from rasterloom.pipeline.store.read import ChipStore
from rasterloom.pipeline.store.write import ChipWriter
from tests.support.labels import square_labels
from tests.support.rasters import smooth_pixels

_MEMORY = """
import json, sys
import numpy, geopandas, pyogrio, scipy.ndimage, rasterio, zarr
from rasterloom.cluster.memory import peak_memory
from rasterloom.pipeline.chips.export import export_training_data

raster, labels, output = sys.argv[1:]
before = peak_memory()
export_training_data(
    raster, labels, tile_size=256, metadata_format="RCNN_Masks", output_location=output, progress=False
)
print(json.dumps([before, peak_memory()]))
"""


@pytest.fixture
def one_core() -> Iterator[None]:
    """Work on one core: two threads of a core would each look slower than the same work alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


def write_scene(path: Path, side: int) -> Path:
    """A tiled GeoTIFF of one square again and again."""
    square = min(side, 2048)
    pixels = smooth_pixels(3, square, square)
    profile = {"driver": "GTiff", "count": 3, "height": side, "width": side, "dtype": "uint8"}
    tiling = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1}
    place = {"crs": "EPSG:32633", "transform": Affine(1, 0, 500000, 0, -1, 5000000)}
    with rasterio.open(
        path, "w", interleave="pixel", BIGTIFF="IF_SAFER", **profile, **tiling, **place
    ) as target:
        for row in range(0, side, square):
            for col in range(0, side, square):
                target.write(pixels, window=GdalWindow(col, row, square, square))
    return path


def _read(path: Path, side: int, tile: int) -> float:
    raster, started = describe(path), time.process_time()
    for row, col in np.ndindex(side // tile, side // tile):
        read_window(raster, Window(row * tile, col * tile, tile, tile))
    return time.process_time() - started


def _write(store: ChipStore, path: Path) -> float:
    writer, spent = ChipWriter.create(path, store.spec), 0.0
    for start in range(0, len(store), writer.shard):
        block = store.block(range(start, min(start + writer.shard, len(store))))
        started = time.process_time()
        writer.write(start, block)
        spent += time.process_time() - started
    started = time.process_time()
    writer.finish(store.stats, store.label_stats)
    return spent + time.process_time() - started


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("name", ["Classified_Tiles", "RCNN_Masks"])
def test_labels_and_statistics_cost_little_beside_pixels(
    name: str,
    tmp_path: Path,
    timing: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from rasterloom.pipeline.chips import pixels

    side, count = (16_384, 50_000) if timing else (1024, 300)
    scene = write_scene(tmp_path / "scene.tif", side)
    labels = square_labels(height=side, width=side, count=count)
    reading, reads, sizes = pixels.read_window, [0], [0]

    def counted(raster, window, bands=None):
        reads[0] += 1
        sizes[0] += window.height * window.width
        return reading(raster, window, bands)

    monkeypatch.setattr(pixels, "read_window", counted)
    started = time.process_time()
    path = export_training_data(
        scene,
        labels,
        metadata_format=name,
        output_location=tmp_path / "chips.zarr",
        context={"exportAllTiles": True},
        progress=False,
    )
    spent = time.process_time() - started
    store = ChipStore(path)
    assert len(store) == (side // 256) ** 2
    assert sizes[0] == side * side  # no pixel is read twice
    assert reads[0] == side // 256  # and chips of a row come in one read
    read, write = _read(scene, side, 256), _write(store, tmp_path / "again.zarr")
    with capsys.disabled():
        print(
            f"\nexport of {name}, {side} px, {count} polygons: {spent:.1f} CPU s; reading the same windows "
            f"{read:.1f}, writing the store {write:.1f}; ratio {spent / (read + write):.2f}"
        )


@pytest.mark.timeout(1800)
def test_memory_is_flat_from_few_polygons_to_many_and_from_small_rasters_to_large(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [(8192, 10_000), (8192, 100_000), (8192, 1_000_000)]
    sizes = [(4096, 10_000), (16_384, 160_000), (32_768, 640_000)]
    grown = {
        (side, count): _grown(tmp_path, side, count)
        for side, count in (many + sizes if timing else [(1024, 1000), (1024, 4000), (2048, 4000)])
    }
    with capsys.disabled():
        print("\nmemory of an export of 256 px chips above the loaded process:")
        for (side, count), most in grown.items():
            print(f"  {side:6} px, {count:9,} polygons {most:5.0f} MB")
    assert max(grown.values()) < 900


def _grown(folder: Path, side: int, count: int) -> float:
    """Memory in MB that an export took at most."""
    scene = write_scene(folder / "scene.tif", side)
    labels = folder / "labels.parquet"
    square_labels(height=side, width=side, count=count, side=(2.0, 6.0)).to_parquet(labels)
    words = [sys.executable, "-c", _MEMORY, str(scene), str(labels), str(folder / "chips.zarr")]
    ended = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    shutil.rmtree(folder / "chips.zarr")
    before, most = json.loads(ended.stdout)
    return float(most - before) / 1e6
