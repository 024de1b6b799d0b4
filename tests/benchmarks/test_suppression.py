"""Suppression of many boxes: seconds, and memory that stays far below what the boxes take in memory."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely

from rasterloom.pipeline.outputs.features import FeatureBlock, write_features

_RUN = """
import json, sys, time
from rasterloom.cluster.memory import peak_memory
from rasterloom.pipeline.inference.suppress import non_maximum_suppression

source, output = sys.argv[1:]
loaded, began = peak_memory(), time.perf_counter()
non_maximum_suppression(source, "Confidence", output, max_overlap_ratio=0.3, progress=False)
print(json.dumps([loaded, peak_memory(), time.perf_counter() - began]))
"""

_EACH = 100_000
_DENSE = 12.0
"""Square metres for each box of 6 by 6 at most: several overlap everywhere."""


def _written(path: Path, count: int) -> None:
    """Boxes all over a square, in no order."""
    side, random = np.sqrt(count * _DENSE), np.random.default_rng(0)

    def blocks() -> Iterator[FeatureBlock]:
        for start in range(0, count, _EACH):
            rows = min(_EACH, count - start)
            corner = random.uniform(0, side, (rows, 2))
            shapes = shapely.box(*corner.T, *(corner + random.uniform(2, 6, (rows, 2))).T)
            classes = random.integers(1, 4, rows).astype(np.int32)
            yield FeatureBlock(shapes, {"ClassValue": classes, "Confidence": random.uniform(0, 100, rows)})

    fields = {"ClassValue": "int32", "Confidence": "float64"}
    write_features(path, blocks(), fields=fields, crs="EPSG:32645", bounds=(0, 0, side + 6, side + 6))


def _suppressed(source: Path, output: Path) -> tuple[float, float, float]:
    """Megabytes before and at most, and seconds, of a process that does nothing else."""
    words = [sys.executable, "-c", _RUN, str(source), str(output)]
    ended = subprocess.run(words, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    loaded, most, seconds = json.loads(ended.stdout)
    return loaded / 1e6, most / 1e6, seconds


@pytest.mark.timeout(3600)
def test_memory_stays_within_bounds_however_many_boxes_there_are(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = (1_000_000, 10_000_000) if timing else (30_000,)
    for count in counts:
        source, output = tmp_path / f"{count}.parquet", tmp_path / f"{count}_kept.parquet"
        _written(source, count)
        loaded, most, seconds = _suppressed(source, output)
        source.unlink()
        with capsys.disabled():
            print(f"[{count:,} boxes: {seconds:.1f} s, {loaded:.0f} to {most:.0f} MB]", end=" ")
        assert output.exists()
        assert most - loaded < 1000, "4 GB are allowed; what is needed does not go with the number of boxes"
