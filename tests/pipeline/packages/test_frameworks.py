"""Networks that are written as programs answer like the networks."""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from rasterloom.models import TorchModel
from rasterloom.models.contract import Task
from rasterloom.models.errors import MissingExtraError, ModelMismatchError, PackageError, SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline import classify_pixels
from rasterloom.pipeline.packages import frameworks
from rasterloom.pipeline.packages.load import build_model, load_package
from tests.pipeline.packages.conftest import PARAMETERS
from tests.support.models import random_model
from tests.support.rasters import write_raster

FRAMEWORKS = ("torchscript", "onnx")
# torch says so of TorchScript, whenever a program is read
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")


@pytest.fixture(scope="module")
def picky():
    """A model that never gives class 2."""
    return random_model(parameters={**PARAMETERS, "ignore_classes": [2]})


@pytest.fixture(scope="module")
def written(picky, tmp_path_factory) -> dict[str, Path]:
    """Its packages by framework."""
    folder = tmp_path_factory.mktemp("frameworks")
    return {name: picky.save(folder / name, framework=name) for name in (*FRAMEWORKS, "PyTorch")}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (3, 3, 64, 64), (2, 3, 96, 40)])
def test_a_program_answers_as_the_network_for_any_number_and_size_of_tiles(picky, written, framework, shape):
    model = build_model(load_package(written[framework], trust=True))
    images = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        wanted = picky.probabilities(picky.network.eval()(images))
        found = model.probabilities(model.network(images))
    assert (found[:, 2] == 0).all()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_program_says_nothing_of_the_machine_that_wrote_it(written, framework):
    content = bytes(load_package(written[framework]).weights)
    parts = [content]
    if framework == "torchscript":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = [archive.read(name) for name in archive.namelist()]
    for path in (Path(torch.__file__).parents[1], Path(__file__).parents[3]):
        assert not any(str(path).encode() in part for part in parts)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_program_makes_the_map_of_the_trained_model(picky, written, framework, tmp_path):
    scene = write_raster(tmp_path / "scene.tif", height=90, width=130)
    maps = []
    for name in ("PyTorch", framework):
        output = tmp_path / f"{name}.tif"
        arguments = {"padding": 8, "batch_size": 2}
        classify_pixels(scene, written[name], arguments, output, trust=True, progress=False)
        with rasterio.open(output) as source:
            maps.append(source.read(1))
    assert len(np.unique(maps[0])) > 1
    # two ways to sum the same numbers: pixels between two classes may fall to either
    assert (maps[0] == maps[1]).mean() > 0.999


def test_the_description_goes_along_and_says_that_the_network_is_a_program(picky, written):
    for framework in FRAMEWORKS:
        package = load_package(written[framework])
        assert package.spec.model == "TorchModel"
        assert package.spec.normalization == picky.spec.normalization
        assert package.spec.classes == picky.spec.classes
        assert package.spec.parameters["tile_multiple"] == picky.tile_multiple
        assert package.emd["ModelFile"] == f"{framework}.{framework}"
        assert package.needs_trust == (framework == "torchscript")
        assert (written[framework].with_suffix("") / "model_metrics.html").is_file()


def test_only_onnx_is_read_without_trust(written):
    build_model(load_package(written["onnx"]))
    with pytest.raises(PackageError, match=r"holds a TorchScript program.*trust=True"):
        build_model(load_package(written["torchscript"]))


def test_a_program_is_not_taken_for_a_model_that_can_be_trained(written):
    with pytest.raises(ModelMismatchError, match=r"holds a TorchModel.*use TorchModel\.from_model"):
        ImageryModel.from_model(written["onnx"])
    assert TorchModel.from_model(written["onnx"]).spec.task is Task.PIXELS


def test_a_program_with_other_answers_is_not_written(model, tmp_path, monkeypatch):
    wrong = random_model(seed=1, parameters=PARAMETERS).network.eval()
    (writer, _) = frameworks._WRITERS["torchscript"][0]
    other = ((lambda _, example: writer(wrong, example), True),)
    monkeypatch.setattr(frameworks, "_WRITERS", {"torchscript": other})
    with pytest.raises(SettingError, match=r"cannot be written as torchscript: for \(2, 3, 64, 64\) images"):
        model.save(tmp_path / "m", framework="torchscript")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_written_says_why_and_what_works(model, tmp_path, monkeypatch):
    class Odd(torch.nn.Module):
        def forward(self, images):
            raise RuntimeError("no such operator.\nA long story.")

    monkeypatch.setattr(model, "network", Odd())
    with pytest.raises(SettingError, match=r"no such operator\. Use framework='PyTorch'"):
        model.save(tmp_path / "m", framework="torchscript")


def test_a_network_that_onnx_cannot_tell_for_any_size_is_written_for_its_own(tmp_path):
    settings = {"backbone": "timm:test_resnet", "pretrained": False}
    pools = random_model(model="PSPNetClassifier", tile_size=32, parameters=settings)
    package = load_package(pools.save(tmp_path / "m", framework="onnx"))
    model = build_model(package)
    images = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model.network(images), pools.network.eval()(images), rtol=0, atol=1e-3)
        with pytest.raises(ModelMismatchError, match="use tile_size=32"):
            model.network(torch.randn(1, 3, 64, 64))


def test_writing_leaves_the_network_as_it_was(tmp_path):
    model = random_model(parameters=PARAMETERS)
    model.network.train()
    state = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    random = torch.random.get_rng_state()
    model.save(tmp_path / "m", framework="torchscript")
    assert model.network.training
    assert all(torch.equal(state[name], t) for name, t in model.network.state_dict().items())
    assert all(p.requires_grad for p in model.network.parameters())
    assert torch.equal(torch.random.get_rng_state(), random)


def test_models_of_other_tasks_are_refused(model, tmp_path, monkeypatch):
    from dataclasses import replace

    monkeypatch.setattr(model, "spec", replace(model.spec, task=Task.OBJECTS))
    with pytest.raises(SettingError, match=r"a model of objects.*Use framework='PyTorch'"):
        model.save(tmp_path / "m", framework="onnx")


def test_a_missing_writer_of_onnx_names_the_extra(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"rasterloom\[onnx\]"):
        model.save(tmp_path / "m", framework="onnx")
