"""What putting a large class map together costs."""

import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from rio_cogeo import cog_validate
from scipy.ndimage import gaussian_filter

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.outputs.cog import ClassMap, assemble_class_map
from rasterloom.pipeline.outputs.tiles import write_tile
from rasterloom.pipeline.rasters.grid import Grid, read_crs
from rasterloom.pipeline.rasters.tiles import iter_windows

CLASSES = tuple(ClassInfo(value, f"class {value}", (40 * value, 80, 120)) for value in range(1, 7))


def test_a_large_class_map_is_put_together_from_tiles(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    side = 16_384 if timing else 2_048
    grid = Grid(read_crs("EPSG:32633").to_wkt(), (1.0, 0.0, 5e5, 0.0, -1.0, 5e6), side, side)
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(1024, 1024)), 6)
    patches = ((noise * 60).round().astype(int) % 6 + 1).astype(np.uint8)  # ragged, as networks draw them
    tiles = []
    for index, window in enumerate(iter_windows(grid.shape, 1024)):
        pixels = np.roll(patches, (77 * index, 91 * index), (0, 1))
        path = tmp_path / f"{index}.tif"
        write_tile(path, pixels[None], grid.cropped(window), nodata=255)
        tiles.append((str(path), window))
    process = psutil.Process()
    before, started = process.cpu_times(), time.perf_counter()
    out = tmp_path / "classes.tif"
    assemble_class_map(tiles, ClassMap(grid, "uint8", 255, CLASSES, {}), str(out))
    after, wall = process.cpu_times(), time.perf_counter() - started
    assert cog_validate(str(out))[0]
    assert out.stat().st_size < side * side / 2
    with capsys.disabled():
        cpu = after.user + after.system - before.user - before.system
        print(
            f"\n{side} x {side} class map: {cpu:.1f} CPU s, {wall:.1f} s, {out.stat().st_size / 1e6:.1f} MB, "
            f"process at {process.memory_info().rss / 1e6:.0f} MB"
        )
