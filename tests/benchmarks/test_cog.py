"""What putting a large class map together costs."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rio_cogeo import cog_validate
from scipy.ndimage import gaussian_filter

from rasterloom.cluster.places import Place
from rasterloom.pipeline.outputs.tiles import write_tile
from rasterloom.pipeline.rasters.grid import Grid, read_crs
from rasterloom.pipeline.rasters.tiles import iter_windows
from tests.support.tiles import ListedTiles

# in a process of its own: its peak is that of the assembly, and GDAL's cache is as large as a worker's
_ASSEMBLE = """
import pickle, sys, time
from pathlib import Path
import psutil
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.memory import peak_memory
from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.outputs.cog import assemble
from rasterloom.pipeline.outputs.raster import OutputRaster
folder = Path(sys.argv[1])
tiles, grid = pickle.loads((folder / "job.pickle").read_bytes())
classes = tuple(ClassInfo(value, f"class {value}", (40 * value, 80, 120)) for value in range(1, 7))
what = OutputRaster.class_map(grid, "uint8", 255, classes, {})
before, started = peak_memory(), time.perf_counter()
assemble(None, tiles, what, folder / "classes.tif", folder=RunFolder(folder / "_run"))
wall, used = time.perf_counter() - started, psutil.Process().cpu_times()
print(used.user + used.system, wall, before, peak_memory())
"""


def _cut(folder: Path, side: int) -> None:
    grid = Grid(read_crs("EPSG:32633").to_wkt(), (1.0, 0.0, 5e5, 0.0, -1.0, 5e6), side, side)
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(1024, 1024)), 6)
    patches = ((noise * 60).round().astype(int) % 6 + 1).astype(np.uint8)  # ragged, as networks draw them
    place, tiles = Place.of(folder / "tiles"), []
    for index, window in enumerate(iter_windows(grid.shape, 1024)):
        pixels = np.roll(patches, (77 * index, 91 * index), (0, 1))
        write_tile(place, f"{index}.tif", pixels[None], grid.cropped(window), nodata=255)
        tiles.append((place.gdal(f"{index}.tif"), window))
    (folder / "job.pickle").write_bytes(pickle.dumps((ListedTiles(tuple(tiles)), grid)))


def test_a_large_class_map_is_put_together_from_tiles_in_little_memory(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    sides = (16_384, 32_768) if timing else (2_048,)
    peaks = []
    for side in sides:
        folder = tmp_path / str(side)
        folder.mkdir()
        _cut(folder, side)
        told = subprocess.run(
            [sys.executable, "-c", _ASSEMBLE, str(folder)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        cpu, wall, before, peak = map(float, told.stdout.split())
        peaks.append(peak)
        out = folder / "classes.tif"
        assert cog_validate(str(out))[0]
        assert out.stat().st_size < side * side / 2
        assert peak - before < 350e6
        with capsys.disabled():
            print(
                f"\n{side} x {side} class map: {cpu:.1f} CPU s, {wall:.1f} s, "
                f"{out.stat().st_size / 1e6:.1f} MB, peak {peak / 1e6:.0f} MB ({before / 1e6:.0f} MB before)"
            )
    assert peaks[-1] - peaks[0] < 0.05 * peaks[0]
