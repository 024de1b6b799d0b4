"""Networks that were built elsewhere give the map that a plain loop gives, wherever it is computed."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from rasterloom.models import from_torch
from rasterloom.pipeline import classify_pixels, load_package
from tests.support.networks import Strided, TinyNet, seeded, write_onnx
from tests.support.rasters import write_raster

TILE, PADDING = 64, 16
ARGUMENTS = {"padding": PADDING, "batch_size": 3}
CLASSES = {2: "field", 5: "water", 9: "road"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", height=150, width=201)


def _bring(network, **changes):
    settings = {"classes": CLASSES, "bands": 3, "tile_size": TILE, "normalize": (120, 50)} | changes
    return from_torch(network, **settings)


def _classify(scene, model, output, **changes) -> bytes:
    settings = {"model_arguments": ARGUMENTS, "progress": False, "cell_size": 64} | changes
    return Path(classify_pixels(scene, model, output_name=output, **settings)).read_bytes()


def _loop(scene, network, values) -> np.ndarray:
    """The map by ten lines of torch."""
    with rasterio.open(scene) as source:
        pixels = (source.read().astype("float32") - 120) / 50
    height, width = pixels.shape[1:]
    padded = np.pad(pixels, ((0, 0), (PADDING, TILE), (PADDING, TILE)), mode="reflect")
    found, stride = np.zeros((height + TILE, width + TILE), "uint8"), TILE - 2 * PADDING
    for row in range(0, height, stride):
        for col in range(0, width, stride):
            chip = torch.from_numpy(padded[None, :, row : row + TILE, col : col + TILE].copy())
            with torch.inference_mode():
                best = network(chip)[0].argmax(0)[PADDING:-PADDING, PADDING:-PADDING]
            found[row : row + stride, col : col + stride] = np.array(values)[best.numpy()]
    return found[:height, :width]


def _share_equal(path: Path, expected: np.ndarray) -> float:
    with rasterio.open(path) as source:
        found = source.read(1)
    assert len(np.unique(expected)) > 1
    return float((found == expected).mean())


def test_a_module_gives_the_map_of_a_plain_loop_in_the_same_bytes_on_a_cluster(scene, tmp_path, client):
    class Own(TinyNet):
        """Known to this function alone: no worker can import it."""

        def forward(self, images):
            return {"out": super().forward(images)}

    network = seeded(Own)
    model = _bring(network)
    here = _classify(scene, model, tmp_path / "here.tif")
    there = _classify(scene, model, tmp_path / "there.tif", client=client)
    assert there == here
    wanted = _loop(scene, lambda chips: network.eval()(chips)["out"], model.spec.output_values)
    assert _share_equal(tmp_path / "here.tif", wanted) == 1
    with rasterio.open(tmp_path / "here.tif") as source:
        assert set(np.unique(source.read(1))) <= {2, 5, 9}


def test_one_output_finds_its_class_where_it_is_above_a_half(scene, tmp_path):
    network = seeded(lambda: TinyNet(1)).eval()
    model = _bring(network, classes={5: "water"})
    _classify(scene, model, tmp_path / "out.tif")
    wanted = _loop(scene, lambda chips: torch.cat([torch.zeros(1, 1, TILE, TILE), network(chips)], 1), (0, 5))
    assert _share_equal(tmp_path / "out.tif", wanted) == 1


def test_scores_on_a_coarser_grid_are_enlarged(scene, tmp_path):
    network = seeded(Strided).eval()
    _classify(scene, _bring(network, tile_multiple=4), tmp_path / "out.tif")
    wanted = _loop(
        scene,
        lambda chips: nn.functional.interpolate(network(chips).logits, size=(TILE, TILE), mode="bilinear"),
        (2, 5, 9),
    )
    assert _share_equal(tmp_path / "out.tif", wanted) > 0.999


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # torch calls TorchScript deprecated
@pytest.mark.parametrize("kind", ["script", "export", "onnx", "package"])
def test_every_form_of_a_network_gives_its_map(kind, scene, tmp_path):
    network = seeded(TinyNet).eval()
    if kind == "onnx":
        pytest.importorskip("onnxruntime", reason="needs the extra rasterloom[onnx]")
        pytest.importorskip("onnxscript", reason="writes ONNX files")
    forms = {
        "script": lambda: _bring(torch.jit.script(network)),
        "export": lambda: _bring(torch.export.export(network, (torch.zeros(1, 3, TILE, TILE),))),
        "onnx": lambda: _bring(write_onnx(tmp_path / "net.onnx", network)),
        "package": lambda: load_package(_bring(network).save(tmp_path / "package"), trust=True),
    }
    _classify(scene, forms[kind](), tmp_path / "out.tif")
    assert _share_equal(tmp_path / "out.tif", _loop(scene, network, (2, 5, 9))) > 0.999


def test_an_onnx_graph_gives_the_same_bytes_on_a_cluster(scene, tmp_path, client):
    pytest.importorskip("onnxruntime", reason="needs the extra rasterloom[onnx]")
    pytest.importorskip("onnxscript", reason="writes ONNX files")
    package = _bring(write_onnx(tmp_path / "net.onnx", seeded(TinyNet), batch=2)).save(tmp_path / "package")
    here = _classify(scene, package, tmp_path / "here.tif")
    assert _classify(scene, package, tmp_path / "there.tif", client=client) == here
