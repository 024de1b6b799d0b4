"""How busy a GPU is kept, as a share of the rate of the forward pass alone."""

import time
from pathlib import Path

import pytest
import torch

from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.rasters.tiles import plan_tiles
from tests.support.models import random_model
from tests.support.rasters import write_raster, write_repeated

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
TILE, PADDING, BATCH = 512, 64, 32


def test_share_of_the_pure_forward_rate(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    times = 4 if timing else 1
    one = write_raster(tmp_path / "block.tif", height=4096, width=4096)
    scene = write_repeated(tmp_path / "scene.vrt", one, times)
    model = random_model(tile_size=TILE, parameters={"backbone": "resnet34", "pretrained": False})
    arguments = {"tile_size": TILE, "padding": PADDING, "batch_size": BATCH}
    chips = len(plan_tiles((4096 * times, 4096 * times), tile=TILE, padding=PADDING))
    rate = _pure(model.network)
    started = time.perf_counter()
    classify_pixels(
        scene,
        model,
        arguments,
        tmp_path / "out.tif",
        context={"processorType": "GPU"},
        precision="bfloat16",
        progress=False,
    )
    seconds = time.perf_counter() - started
    with capsys.disabled():
        print(
            f"\n{torch.cuda.get_device_name()}: {4096 * times} px, U-Net resnet34, {TILE} px, bfloat16: "
            f"{chips / seconds:.1f} chips a second from start to COG, {rate:.1f} in the forward pass alone: "
            f"{chips / seconds / rate:.2f}"
        )


def _pure(network: torch.nn.Module) -> float:
    """Chips a second of forward passes on images that are there already."""
    ready = network.eval().cuda().to(memory_format=torch.channels_last)
    images = torch.rand(BATCH, 3, TILE, TILE, device="cuda").contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16):
        for _ in range(10):
            ready(images)
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(50):
            ready(images)
        torch.cuda.synchronize()
    return 50 * BATCH / (time.perf_counter() - started)
