"""An estimate's memory is a bound that a run keeps."""

import json
import subprocess
import sys
from pathlib import Path

from rasterloom.pipeline.packages.save import save_package
from tests.support.models import random_model
from tests.support.rasters import write_raster

_RUN = """
import json, sys
from rasterloom.cluster.memory import peak_memory
from rasterloom.pipeline.inference.pixels import classify_pixels
raster, package, output = sys.argv[1:]
arguments = {"tile_size": 256, "padding": 32, "batch_size": 8}
found = classify_pixels(raster, package, arguments, output, estimate=True)
classify_pixels(raster, package, arguments, output, progress=False)
print(json.dumps([found.peak_memory, peak_memory()]))
"""


def test_a_run_stays_below_the_memory_it_was_estimated_to_need(tmp_path: Path) -> None:
    model = random_model(tile_size=256, parameters={"backbone": "resnet18", "pretrained": False})
    package = save_package(model, tmp_path / "unet", compute_metrics=False)
    raster = write_raster(tmp_path / "scene.tif", height=500, width=500)
    words = [sys.executable, "-c", _RUN, str(raster), str(package), str(tmp_path / "out.tif")]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    promised, used = json.loads(ended.stdout)
    assert used < promised < 4 * used
