import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rasterloom.models import TorchModel, UnetClassifier, from_torch
from rasterloom.models.brought import ScoringSettings
from rasterloom.models.errors import ModelMismatchError, OutputExistsError, PackageError, SettingError
from rasterloom.models.networks.programs import ProgramKind
from tests.support.models import random_model
from tests.support.networks import TinyNet, seeded

CLASSES = ["field", "water", "road"]


def _model(network=None, **changes):
    network = seeded(TinyNet) if network is None else network
    return from_torch(network, **({"classes": CLASSES, "bands": 3, "tile_size": 32} | changes))


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pickled", [False, True])
def test_a_saved_model_answers_the_same_to_the_last_bit(pickled, images, tmp_path):
    model = _model(normalize=255)
    path = model.save(tmp_path / "net", pickled=pickled)
    assert path == tmp_path / "net.dlpk"
    again = TorchModel.from_model(path, trust=True)
    assert again.spec == model.spec
    assert not again.network.training
    with torch.inference_mode():
        assert torch.equal(again.network(images), model.network.eval()(images))
    assert again.program().kind is (ProgramKind.PICKLED if pickled else ProgramKind.EXPORTED)
    with pytest.raises(OutputExistsError):
        model.save(tmp_path / "net")


def test_a_loaded_model_is_saved_as_it_was_read(tmp_path):
    first = _model().save(tmp_path / "first")
    TorchModel.from_model(first, trust=True).save(tmp_path / "second")
    assert (tmp_path / "second/second.pt2").read_bytes() == (tmp_path / "first/first.pt2").read_bytes()


def test_saving_leaves_the_module_in_its_mode(tmp_path):
    module = seeded(TinyNet)
    _model(module).save(tmp_path / "net")
    assert module.training
    assert module.norm.training


def test_a_package_is_run_only_when_it_is_trusted(tmp_path):
    path = _model().save(tmp_path / "net")
    with pytest.raises(PackageError, match=r"load_package\(path, trust=True\) for a package"):
        TorchModel.from_model(path)


def test_another_kind_of_package_is_refused(tmp_path):
    path = random_model().save(tmp_path / "unet", compute_metrics=False)
    with pytest.raises(ModelMismatchError, match=r"holds a UnetClassifier: use UnetClassifier\.from_model"):
        TorchModel.from_model(path)
    with pytest.raises(ModelMismatchError, match="holds a TorchModel, not a UnetClassifier"):
        UnetClassifier.from_model(_onnx_or_pickled(tmp_path))


def _onnx_or_pickled(folder: Path) -> Path:
    from tests.support.networks import write_onnx

    pytest.importorskip("onnxruntime", reason="needs the extra rasterloom[onnx]")
    pytest.importorskip("onnxscript", reason="writes ONNX files")
    return _model(write_onnx(folder / "net.onnx", seeded(TinyNet))).save(folder / "net")


def test_a_description_alone_tells_the_tile_multiple_and_no_more():
    spec = _model(tile_multiple=4).spec
    assert TorchModel.without_network(spec).tile_multiple == 4
    with pytest.raises(SettingError, match="cannot be built from its description"):
        TorchModel.from_spec(spec)
    with pytest.raises(SettingError, match="tile_multiple=0"):
        ScoringSettings(tile_multiple=0)


def test_the_digest_tells_networks_and_descriptions_apart(tmp_path):
    digest = _model().digest
    assert _model().digest == digest
    assert _model(seeded(TinyNet, seed=1)).digest != digest
    assert _model(normalize=255).digest != digest
    assert _model(classes=["field", "water", "rail"]).digest != digest
    model = _model()
    model.network.inner.last.bias.data.add_(1)  # trained on, after it was brought
    assert model.digest != digest
    path = _model().save(tmp_path / "net")
    read = [TorchModel.from_model(path, trust=True).digest for _ in range(2)]
    assert read[0] == read[1]


_SCRIPT = """
import sys; sys.path.insert(0, {root!r})
from torch import nn
from rasterloom.models import from_torch
from tests.support.networks import seeded

class Net(nn.Sequential):
    def forward(self, images):
        return {{"out": super().forward(images)}}

net = seeded(lambda: Net(nn.Conv2d(3, 2, 3, padding=1)))
print(from_torch(net, classes=["a", "b"], bands=3, tile_size=16).digest)
"""


def test_the_digest_of_a_class_of_the_script_is_the_same_in_the_next_process():
    text = _SCRIPT.format(root=str(Path(__file__).parents[3]))
    found = {
        subprocess.run(
            [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=120
        ).stdout
        for _ in range(2)
    }
    assert len(found) == 1
