"""What writing and judging many features costs."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest

_LAYER = """
import sys, time
import numpy as np, psutil, shapely
from rasterloom.cluster.memory import peak_memory
from rasterloom.pipeline.outputs import features_order
from rasterloom.pipeline.outputs.features import FeatureBlock, write_features

def blocks(rows, noise):
    random, other = np.random.default_rng(0), np.random.default_rng(1)
    side = rows**0.5 * 12
    for start in range(0, rows, 20_000):
        count = min(20_000, rows - start)
        corner, size = random.uniform(0, side, (count, 2)), random.uniform(5, 20, (count, 2))
        values = random.integers(1, 4, count)
        corner = corner + noise * other.normal(0, 1.5, (count, 2))
        geometry = shapely.box(*corner.T, *(corner + size).T)
        yield FeatureBlock(geometry, {"ClassValue": values, "Confidence": other.uniform(0, 100, count)})

def write(path, rows, noise=0.0):
    side = rows**0.5 * 12
    fields = {"ClassValue": "int32", "Confidence": "float64"}
    box = (0.0, 0.0, side, side)
    return write_features(path, blocks(rows, noise), fields=fields, crs="EPSG:32633", bounds=box)

def cpu():
    used = psutil.Process().cpu_times()
    return used.user + used.system
"""

_WRITE = """
path, rows, features_order.RUN_BYTES = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
started = cpu()
for _ in blocks(rows, 0.0): pass
made = cpu() - started
before, started = peak_memory(), cpu()
write(path, rows)
print(cpu() - started - made, before, peak_memory())
"""

_JUDGE = """
from pathlib import Path
from rasterloom.pipeline import compute_accuracy_for_object_detection
folder, rows = Path(sys.argv[1]), int(sys.argv[2])
write(folder / "found.parquet", rows, 1.0)
write(folder / "truth.parquet", rows)
before, started = peak_memory(), cpu()
result = compute_accuracy_for_object_detection(folder / "found.parquet", folder / "truth.parquet")
print(cpu() - started, before, peak_memory(), result.coco, result.recall)
"""


def _run(script: str, *arguments: object) -> list[float]:
    told = subprocess.run(
        [sys.executable, "-c", _LAYER + script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return [float(figure) for figure in told.stdout.split()]


def test_a_million_boxes_are_sorted_and_written_in_flat_memory(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes, run = ((1_000_000, 4_000_000), 64 << 20) if timing else ((50_000, 200_000), 4 << 20)
    grown = []
    for rows in sizes:
        path = tmp_path / f"{rows}.parquet"
        cpu, before, peak = _run(_WRITE, path, rows, run)
        grown.append(peak - before)
        about = pyarrow.parquet.read_metadata(path)
        assert about.num_rows == rows
        assert about.num_row_groups == -(-rows // 50_000)
        if timing:
            with capsys.disabled():
                print(f"\n{rows:,} boxes sorted: {cpu:.1f} CPU s, {grown[-1] / 1e6:.0f} MB above the start")
            assert cpu <= 5 * rows / 1e6
    assert grown[1] - grown[0] < 100e6  # four times the rows


def test_many_detections_are_judged_in_memory_that_goes_with_their_number(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = 1_000_000 if timing else 30_000
    cpu, before, peak, coco, recall = _run(_JUDGE, tmp_path, rows)
    assert 0.8 < recall < 0.9
    assert 0.2 < coco < 0.3
    assert peak - before < 300e6 + 800 * rows
    if timing:
        with capsys.disabled():
            print(f"\n{rows:,} detections judged: {cpu:.1f} CPU s, {(peak - before) / 1e6:.0f} MB")
