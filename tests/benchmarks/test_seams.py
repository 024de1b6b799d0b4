"""Joining and writing what very many chips have found: seconds, and memory that stays as it is."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rasterloom.cluster.places import Place
from rasterloom.pipeline.seams.candidates import Candidates, ChipViews
from rasterloom.pipeline.seams.tree import cell_file

_RUN = """
import json, sys, time
import numpy as np, shapely
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.memory import peak_memory
from rasterloom.cluster.places import Place
from rasterloom.pipeline.outputs.features import FeatureBlock, write_features
from rasterloom.pipeline.seams.resolve import SeamRules
from rasterloom.pipeline.seams.candidates import ChipViews
from rasterloom.pipeline.seams.tree import CellTree, resolve_tree

folder, side, strides, tile, padding = sys.argv[1], *map(int, sys.argv[2:])
loaded, began = peak_memory(), time.perf_counter()
pixels = side * strides * (tile - 2 * padding)
rules = SeamRules(ChipViews(tile=tile, padding=padding, shape=(pixels, pixels)))
tree = CellTree(row=0, col=0, rows=side, cols=side, strides=strides)
parts = resolve_tree(None, Place.of(folder + "/cells"), tree, rules, RunFolder(folder + "/run"))
blocks = (
    FeatureBlock(shapely.box(*part.boxes.T), {"Confidence": part.scores.astype(float)}) for part in parts
)
bounds = (0, 0, pixels, pixels)
count = write_features(
    folder + "/found.parquet", blocks, fields={"Confidence": "float64"}, crs="EPSG:32645", bounds=bounds
)
print(json.dumps([loaded, peak_memory(), time.perf_counter() - began, count]))
"""

TILE, PADDING, STRIDES = 256, 32, 8
_EACH = 6
"""Boxes that a chip finds, in a grid: those near its sides are found by its neighbours, too."""


def _found(folder: Path, side: int) -> tuple[int, int]:
    """Write what perfect chips find of small squares on a grid; candidates, and things there are."""
    stride = TILE - 2 * PADDING
    pixels = side * STRIDES * stride
    views = ChipViews(tile=TILE, padding=PADDING, shape=(pixels, pixels))
    step = stride / _EACH
    count = 0
    for row in range(side):
        for col in range(side):
            chips = np.mgrid[:STRIDES, :STRIDES].reshape(2, -1).T + (row * STRIDES, col * STRIDES)
            parts = [_of_chip(np.array([chip], np.int32), views, step, pixels) for chip in chips]
            found = Candidates.joined(parts)
            count += len(found)
            Place.of(folder / "cells").write(cell_file(row, col), found.to_bytes())
    return count, int(pixels / step) ** 2


def _of_chip(chip: np.ndarray, views: ChipViews, step: float, pixels: int) -> Candidates:
    """Squares of half a step, at every step, as far as the chip sees them."""
    x1, y1, x2, y2 = views.views(chip)[0]
    across, down = (
        np.arange(np.floor(low / step), np.ceil(high / step)) for low, high in ((x1, x2), (y1, y2))
    )
    corner = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2) * step + step / 4
    boxes = np.concatenate([corner, corner + step / 2], axis=1)
    seen = np.stack(
        [boxes[:, 0].clip(x1), boxes[:, 1].clip(y1), boxes[:, 2].clip(max=x2), boxes[:, 3].clip(max=y2)]
    )
    boxes = seen.T[(seen[2] > seen[0]) & (seen[3] > seen[1])]
    inner = np.array([x1 > 0, y1 > 0, x2 < pixels, y2 < pixels])
    cut = (np.abs(boxes - (x1, y1, x2, y2)) < 2) & inner
    count = len(boxes)
    return Candidates(
        boxes,
        np.full(count, 0.9, np.float32),
        np.ones(count, np.int32),
        np.repeat(chip, count, axis=0),
        cut,
        np.full(count, b"", object),
    )


@pytest.mark.timeout(3600)
def test_memory_does_not_go_with_the_number_of_boxes(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in (21, 66) if timing else (3,):
        folder = tmp_path / str(side)
        candidates, things = _found(folder, side)
        words = map(str, (folder, side, STRIDES, TILE, PADDING))
        ended = subprocess.run(
            [sys.executable, "-c", _RUN, *words],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        loaded, most, seconds, count = json.loads(ended.stdout)
        with capsys.disabled():
            print(
                f"[{candidates:,} candidates, {count:,} things: {seconds:.1f} s, "
                f"{loaded / 1e6:.0f} to {most / 1e6:.0f} MB]",
                end=" ",
            )
        assert count == things
        assert most - loaded < 600e6
