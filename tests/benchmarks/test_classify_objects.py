"""Objects by the hundred thousand: each block of the raster is read about once, and memory stays flat."""

import json
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window

_DENSITY = 100_000 / 16_384**2
"""Objects on each pixel."""

_RUN = """
import json, sys, time
from pathlib import Path
from rasterloom.cluster.memory import peak_memory
from rasterloom.pipeline import classify_objects
from rasterloom.pipeline.outputs import features_order
from tests.support.shades import shade_model

# less than any layer here, as the usual run is less than one of millions: what grows with them would show
features_order.RUN_BYTES = 4 << 20
raster, features, few, output = sys.argv[1:]

def bytes_read():
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])

model = shade_model(tile_size=64)
classify_objects(raster, model, None, few, output_name=output, progress=False)
loaded, before, started = peak_memory(), bytes_read(), time.process_time()
classify_objects(raster, model, None, features, output_name=output, overwrite=True, progress=False)
spent = time.process_time() - started
print(json.dumps([loaded, peak_memory(), bytes_read() - before, spent]))
"""


def _raster(path: Path, side: int, block: int | None) -> Path:
    """A GeoTIFF that is not compressed, of square blocks or of whole rows."""
    generator = np.random.default_rng(0)
    blocks = {} if block is None else {"tiled": True, "blockxsize": block, "blockysize": block}
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8", **blocks}
    ground = {"crs": "EPSG:32633", "transform": Affine(1, 0, 500_000, 0, -1, 5_000_000)}
    with rasterio.open(path, "w", **profile, **ground) as file:
        for row in range(0, side, 512):
            pixels = generator.integers(1, 255, (1, 512, side), dtype=np.uint8)
            file.write(pixels, window=Window(0, row, side, 512))
    return path


def _outlines(path: Path, side: int) -> int:
    """Rectangles of 10 to 60 pixels, in no order."""
    generator = np.random.default_rng(1)
    count = round(_DENSITY * side**2)
    x, y = 500_000 + generator.uniform(0, side, count), 5_000_000 - generator.uniform(0, side, count)
    half = generator.uniform(5, 30, (2, count))
    shapes = shapely.box(x - half[0], y - half[1], x + half[0], y + half[1])
    frame = geopandas.GeoDataFrame({"number": np.arange(count)}, geometry=shapes, crs="EPSG:32633")
    frame.to_parquet(path)
    frame.head(20).to_parquet(path.with_name("few.parquet"))
    return count


@pytest.mark.timeout(1800)
def test_blocks_are_read_about_once_and_memory_is_flat(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    large = [(4096, None), (16_384, 512), (16_384, None), (32_768, 512)]
    cases = [(4096, 512), *(large if timing else [])]
    grown = {}
    for side, block in cases:
        count = _outlines(tmp_path / "outlines.parquet", side)
        scene = _raster(tmp_path / "scene.tif", side, block)
        names = (scene, tmp_path / "outlines.parquet", tmp_path / "few.parquet", tmp_path / "o.parquet")
        words = [sys.executable, "-W", "ignore", "-c", _RUN, *map(str, names)]
        root = Path(__file__).parents[2]
        ended = subprocess.run(words, capture_output=True, text=True, check=True, cwd=root)
        loaded, most, read, seconds = json.loads(ended.stdout)
        grown[side, block] = (most - loaded) / 1e6
        with capsys.disabled():
            print(
                f"\n[{count} objects on {side} px, blocks of {block or 'a row'}: {read / side**2:.2f} x the "
                f"raster read, {grown[side, block]:.0f} MB more than for 20, {seconds:.1f} CPU s]",
                end=" ",
            )
        assert read <= 1.5 * side**2
        (tmp_path / "o.parquet").unlink()
    if timing:
        assert grown[32_768, 512] - grown[16_384, 512] <= 60
