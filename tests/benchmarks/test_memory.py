"""Memory of a whole process does not grow with the raster."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.rasters import write_raster, write_repeated

_RUN = """
import json, sys
from pathlib import Path
import torch
from rasterloom.cluster.memory import peak_memory
from rasterloom.pipeline.inference.models import staged_model, load_staged
from rasterloom.pipeline.inference.pixels import classify_pixels
from tests.benchmarks.test_inference import near_free_model
from tests.support.models import random_model

raster, kind, output = sys.argv[1:]
if kind == "near-free":
    model, arguments = near_free_model(512), {"tile_size": 512, "padding": 32, "batch_size": 4}
else:
    model = random_model(tile_size=256, parameters={"backbone": "resnet18", "pretrained": False})
    arguments = {"tile_size": 256, "padding": 32, "batch_size": 8}
with staged_model(model) as staged:
    load_staged(str(staged.path))
loaded = peak_memory()
classify_pixels(raster, model, arguments, output, progress=False)
print(json.dumps([loaded, peak_memory()]))
"""


def _peak(scene: Path, kind: str, output: Path) -> tuple[float, float]:
    """Most megabytes that the process held: with the model loaded, and at the end."""
    words = [sys.executable, "-c", _RUN, str(scene), kind, str(output)]
    root = Path(__file__).parents[2]
    ended = subprocess.run(words, capture_output=True, text=True, check=True, cwd=root)
    loaded, most = json.loads(ended.stdout)
    return loaded / 1e6, most / 1e6


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kind", "sides"), [("near-free", (4096, 16_384, 32_768)), ("U-Net resnet18", (4096, 8192))]
)
def test_memory_is_flat_from_small_rasters_to_large_ones(
    kind: str, sides: tuple[int, ...], tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    block = 4096 if timing else 512
    one = write_raster(tmp_path / "block.tif", height=block, width=block)
    sides = sides if timing else (block,)
    peaks = {}
    for side in sides:
        scene = write_repeated(tmp_path / f"{side}.vrt", one, side // block)
        peaks[side] = _peak(scene, kind, tmp_path / f"{side}.tif")
    with capsys.disabled():
        listed = ", ".join(f"{side} px {most:.0f} MB" for side, (_, most) in peaks.items())
        grown = max(most - loaded for loaded, most in peaks.values())
        print(f"\npeak memory, {kind}: {listed}; at most {grown:.0f} MB above the process with the model")
    assert grown < 600
