"""The same code on a GPU: nearly the CPU's map, and the same bytes for any cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from rasterloom.pipeline.inference.pixels import classify_pixels
from tests.support.models import random_model
from tests.support.rasters import write_raster

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 8}


def _read(path: Any) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", height=480, width=480)


@pytest.mark.parametrize(("precision", "share"), [("float32", 0.999), ("bfloat16", 0.95), (None, 0.95)])
def test_the_map_is_nearly_that_of_the_cpu(
    precision: str | None, share: float, scene: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"progress": False}
    here = classify_pixels(
        scene,
        random_model(),
        ARGUMENTS,
        tmp_path / "cpu.tif",
        context={"processorType": "CPU"},
        **settings,
    )
    there = classify_pixels(
        scene,
        random_model(),
        ARGUMENTS,
        tmp_path / "gpu.tif",
        context={"processorType": "GPU"},
        precision=precision,
        **settings,
    )
    assert (_read(here) == _read(there)).mean() >= share


@pytest.mark.parametrize("blend", ["crop", "gaussian"])
def test_cells_of_any_size_give_the_same_bytes(blend: str, scene: Path, tmp_path: Path) -> None:
    found = [
        Path(
            classify_pixels(
                scene,
                random_model(),
                ARGUMENTS,
                tmp_path / f"{cell}.tif",
                blend=blend,
                cell_size=cell,
                progress=False,
            )
        ).read_bytes()
        for cell in (64, 200, 500)
    ]
    assert found[0] == found[1] == found[2]
