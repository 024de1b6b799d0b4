"""What tiling, reading and writing cost beside the network's own work."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rasterloom.pipeline.inference import batch as batch_module
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.inference.predict import PixelPredictor, load_predictor
from rasterloom.pipeline.packages.load import load_package
from rasterloom.pipeline.packages.save import save_package
from rasterloom.pipeline.rasters.tiles import plan_tiles
from tests.support.models import random_model
from tests.support.rasters import write_raster

TILE, PADDING, BATCH = 256, 32, 4


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = random_model(tile_size=TILE, parameters={"backbone": "resnet18", "pretrained": False})
    return save_package(model, tmp_path_factory.mktemp("model") / "unet", compute_metrics=False)


def test_each_cell_is_read_once_and_each_chip_computed_once(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, cell = 768, 384
    scene = write_raster(tmp_path / "scene.tif", height=side, width=side)
    reads: list[Any] = []
    passes: list[int] = []
    read, classify = batch_module.read_padded, PixelPredictor.classify

    def counted_read(*args: Any) -> Any:
        reads.append(args[1])
        return read(*args)

    def counted_pass(self: PixelPredictor, chips: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        passes.append(len(chips))
        return classify(self, chips, *args, **kwargs)

    monkeypatch.setattr(batch_module, "read_padded", counted_read)
    monkeypatch.setattr(PixelPredictor, "classify", counted_pass)
    arguments = {"tile_size": TILE, "padding": PADDING, "batch_size": BATCH}
    classify_pixels(scene, package, arguments, tmp_path / "out.tif", cell_size=cell, progress=False)
    assert len(reads) == 4
    assert sum(w.height * w.width for w in reads) == 4 * (cell + 2 * PADDING) ** 2
    chips = len(plan_tiles((side, side), tile=TILE, padding=PADDING))
    assert sum(passes) == chips == 16
    assert set(passes) == {BATCH}


def test_wall_time_against_the_pure_forward_pass(
    package: Path, tmp_path: Path, timing: bool, all_cores: None, capsys: pytest.CaptureFixture[str]
) -> None:
    side = 4096 if timing else 512
    scene = write_raster(tmp_path / "scene.tif", height=side, width=side)
    arguments = {"tile_size": TILE, "padding": PADDING, "batch_size": BATCH}
    started = time.perf_counter()
    classify_pixels(scene, package, arguments, tmp_path / "out.tif", progress=False)
    wall = time.perf_counter() - started
    chips = len(plan_tiles((side, side), tile=TILE, padding=PADDING))
    pure = _pure_forward(package, -(-chips // BATCH))
    assert (tmp_path / "out.tif").exists()
    with capsys.disabled():
        print(
            f"\n{side} px, U-Net resnet18: wall {wall:.1f} s, forward {pure:.1f} s, ratio {wall / pure:.3f}"
        )


def _pure_forward(package: Path, passes: int) -> float:
    """Seconds of the same number of forward passes and nothing else, from a sample of at most 60."""
    loaded = load_package(package)
    predictor = load_predictor(str(package), loaded.digest, "cpu")
    chips = torch.rand(BATCH, 3, TILE, TILE).contiguous(memory_format=torch.channels_last)
    sample = min(passes, 60)
    with torch.inference_mode():
        predictor.network(chips)
        started = time.perf_counter()
        for _ in range(sample):
            predictor.network(chips)
    return (time.perf_counter() - started) / sample * passes
