"""What tiling, reading, writing and assembling cost beside the network's own work."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rasterloom.models.bring import from_torch
from rasterloom.pipeline.inference import cell as cell_module
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.inference.predict import PixelPredictor
from rasterloom.pipeline.packages.save import save_package
from rasterloom.pipeline.rasters.tiles import plan_tiles
from tests.support.models import CLASSES, random_model
from tests.support.rasters import write_raster

TILE, PADDING, BATCH = 256, 32, 8
SAMPLE = 20
"""Forward passes from which the time of all is reckoned."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = random_model(tile_size=TILE, parameters={"backbone": "resnet18", "pretrained": False})
    return save_package(model, tmp_path_factory.mktemp("model") / "unet", compute_metrics=False)


def near_free_model(tile: int) -> Any:
    """One 3 x 3 convolution: what a raster costs when the network costs next to nothing."""
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 4, 3, padding=1)
    return from_torch(network, classes=list(CLASSES), bands=3, tile_size=tile, normalize=255)


def test_each_cell_is_read_once_and_each_chip_computed_once(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, cell, batch = 768, 384, 4
    scene = write_raster(tmp_path / "scene.tif", height=side, width=side)
    reads: list[Any] = []
    passes: list[int] = []
    read, predict = cell_module.read_padded, PixelPredictor.predict

    def counted_read(*args: Any) -> Any:
        reads.append(args[1])
        return read(*args)

    def counted_pass(self: PixelPredictor, chips: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        passes.append(len(chips))
        return predict(self, chips, *args, **kwargs)

    monkeypatch.setattr(cell_module, "read_padded", counted_read)
    monkeypatch.setattr(PixelPredictor, "predict", counted_pass)
    arguments = {"tile_size": TILE, "padding": PADDING, "batch_size": batch}
    classify_pixels(scene, package, arguments, tmp_path / "out.tif", cell_size=cell, progress=False)
    assert len(reads) == 4
    assert sum(w.height * w.width for w in reads) == 4 * (cell + 2 * PADDING) ** 2
    chips = len(plan_tiles((side, side), tile=TILE, padding=PADDING))
    assert sum(passes) == chips == 16
    assert set(passes) == {batch}


def test_wall_time_against_the_best_pure_forward_pass(
    package: Path, tmp_path: Path, timing: bool, all_cores: None, capsys: pytest.CaptureFixture[str]
) -> None:
    side = 8192 if timing else 512
    scene = write_raster(tmp_path / "scene.tif", height=side, width=side)
    chips = len(plan_tiles((side, side), tile=TILE, padding=PADDING))
    arguments = {"tile_size": TILE, "padding": PADDING, "batch_size": BATCH}
    network = random_model(tile_size=TILE, parameters={"backbone": "resnet18", "pretrained": False}).network
    before = _pure(network, chips, TILE)
    wall, _ = _spent(lambda: classify_pixels(scene, package, arguments, tmp_path / "out.tif", progress=False))
    after = _pure(network, chips, TILE)
    best = min(before["channels_last"][0], after["channels_last"][0])
    naive = min(before["contiguous"][0], after["contiguous"][0])
    assert (tmp_path / "out.tif").exists()
    with capsys.disabled():
        print(
            f"\n{side} px, U-Net resnet18, batch {BATCH}: wall {wall:.1f} s; pure forward {best:.1f} s "
            f"channels_last ({before['channels_last'][0]:.1f} and {after['channels_last'][0]:.1f}), "
            f"{naive:.1f} s contiguous; ratios {wall / best:.3f} and {wall / naive:.3f}"
        )


def test_processor_time_with_a_near_free_network(
    tmp_path: Path, timing: bool, all_cores: None, capsys: pytest.CaptureFixture[str]
) -> None:
    side, tile = (8192, 512) if timing else (512, 256)
    scene = write_raster(tmp_path / "scene.tif", height=side, width=side)
    model = near_free_model(tile)
    arguments = {"tile_size": tile, "padding": PADDING, "batch_size": 4}
    chips = len(plan_tiles((side, side), tile=tile, padding=PADDING))
    _, spent = _spent(lambda: classify_pixels(scene, model, arguments, tmp_path / "out.tif", progress=False))
    pure = _pure(model.network.inner, chips, tile, batch=4)
    with capsys.disabled():
        print(
            f"\n{side} px, one 3 x 3 convolution, tile {tile}: {spent:.2f} CPU s; forward "
            f"{pure['contiguous'][1]:.2f} contiguous, {pure['channels_last'][1]:.2f} channels_last; ratios "
            f"{spent / pure['contiguous'][1]:.2f} and {spent / pure['channels_last'][1]:.2f}"
        )


def _spent(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds on the clock, and of all processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _pure(
    network: torch.nn.Module, chips: int, tile: int, batch: int = BATCH
) -> dict[str, tuple[float, float]]:
    """Seconds, on the clock and of processors, of the forward passes of so many chips, by memory format."""
    passes = -(-chips // batch)
    sample = min(passes, SAMPLE)
    found = {}
    for name, layout in (("channels_last", torch.channels_last), ("contiguous", torch.contiguous_format)):
        ready = network.eval().to(memory_format=layout)
        images = torch.rand(batch, 3, tile, tile).contiguous(memory_format=layout)

        def forward(ready: Any = ready, images: torch.Tensor = images) -> None:
            with torch.inference_mode():
                for _ in range(sample):
                    ready(images)

        with torch.inference_mode():
            ready(images)
        wall, cpu = _spent(forward)
        found[name] = (wall / sample * passes, cpu / sample * passes)
    return found
