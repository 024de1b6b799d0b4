from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from rasterloom.models import Task, UnetClassifier, from_torch
from rasterloom.models.errors import (
    MissingInputError,
    ModelMismatchError,
    PackageError,
    SettingError,
)
from tests.support.models import random_model
from tests.support.networks import Answering, Strided, TinyNet, seeded, write_onnx

CLASSES = ["field", "water", "road"]
ARGUMENTS = {"classes": CLASSES, "bands": 3, "tile_size": 32}


def _bring(module, **changes):
    return from_torch(module, **(ARGUMENTS | changes))


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "answer",
    [
        lambda scores, images: scores,
        lambda scores, images: {"aux": scores * 0, "out": scores},
        lambda scores, images: (scores, "loss"),
        lambda scores, images: [{"out": scores}],
        lambda scores, images: nn.functional.avg_pool2d(scores, 1),
    ],
)
def test_scores_are_found_in_whatever_the_network_returns(answer, images):
    module = seeded(lambda: Answering(answer))
    model = _bring(module)
    torch.testing.assert_close(model.network(images), module.net(images))
    torch.testing.assert_close(model.probabilities(model.network(images)).sum(1), torch.ones(2, 32, 32))


def test_a_coarser_grid_is_brought_to_that_of_the_images(images):
    module = seeded(Strided)
    model = _bring(module, tile_multiple=4)
    wanted = nn.functional.interpolate(module.net(images), size=(32, 32), mode="bilinear")
    torch.testing.assert_close(model.network(images), wanted)
    assert model.tile_multiple == 4


def test_a_segmentation_network_of_torchvision_is_brought_in_one_line():
    model = _bring(lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4))
    assert model.spec.output_values == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("classes", "outputs", "values"),
    [
        (CLASSES, 3, (1, 2, 3)),
        (CLASSES, 4, (0, 1, 2, 3)),
        (["background", *CLASSES], 4, (0, 1, 2, 3)),
        ({2: "water", 9: "road"}, 2, (2, 9)),
        ({2: "water", 9: "road"}, 3, (0, 2, 9)),
        ({5: "road"}, 1, (0, 5)),
        (["background", "road"], 1, (0, 1)),
        (["road"], 2, (0, 1)),
    ],
)
def test_the_number_of_outputs_tells_whether_there_is_background(classes, outputs, values, images):
    model = _bring(seeded(lambda: TinyNet(outputs)), classes=classes)
    assert model.spec.output_values == values
    assert model.network(images).shape == (2, len(values), 32, 32)


def test_one_output_is_the_probability_of_the_class_against_background(images):
    module = seeded(lambda: TinyNet(1)).eval()
    model = _bring(module, classes=["road"])
    model.network.eval()
    wanted = module(images).sigmoid()
    torch.testing.assert_close(model.probabilities(model.network(images))[:, 1:], wanted)
    same = _bring(nn.Sequential(module, nn.Sigmoid()), classes=["road"], outputs="probabilities")
    torch.testing.assert_close(same.probabilities(same.network.eval()(images))[:, 1:], wanted)


def test_probabilities_of_the_network_are_taken_as_they_are(images):
    module = nn.Sequential(seeded(TinyNet), nn.Softmax(dim=1))
    model = _bring(module, outputs="probabilities")
    found = model.probabilities(model.network.eval()(images))
    assert torch.equal(found, module(images))
    with pytest.raises(ModelMismatchError, match=r"returns -.* use outputs='logits'"):
        _bring(seeded(TinyNet), outputs="probabilities")


def test_unknown_facts_stay_unknown_and_given_ones_are_kept():
    spec = _bring(seeded(TinyNet)).spec
    assert (spec.dtype, spec.cell_size, spec.crs) == ("", (0.0, 0.0), "")
    assert spec.parameters["name"] == "TinyNet"
    spec = _bring(
        seeded(TinyNet), dtype="uint16", cell_size=10, crs=32633, name="crops", extract_bands=[3, 2, 1]
    ).spec
    assert (spec.dtype, spec.cell_size, spec.crs) == ("uint16", (10.0, 10.0), "EPSG:32633")
    assert (spec.parameters["name"], spec.extract_bands) == ("crops", (3, 2, 1))


def test_the_callers_module_is_left_as_it_was():
    module = seeded(TinyNet)
    module.norm.eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    _bring(module)
    assert module.training
    assert not module.norm.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_what_makes_training_faster_is_taken_off(images):
    module = seeded(TinyNet).eval()
    for wrapped in (torch.compile(module), nn.DataParallel(module)):
        model = _bring(wrapped)
        assert model.network.inner is module
        assert model.spec.parameters["name"] == "TinyNet"


def test_half_precision_weights_get_half_precision_images(images):
    model = _bring(seeded(TinyNet).to(torch.bfloat16))
    assert model.network(images).dtype == torch.float32


class _NoRunningStatistics(TinyNet):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)


class _OnlyTraining(TinyNet):
    def forward(self, images):
        if not self.training:
            raise RuntimeError("call train() first")
        return super().forward(images)


class _Halving(TinyNet):
    """Goes down and up again, and fails where a side is odd."""

    def forward(self, images):
        small = nn.functional.max_pool2d(images, 2)
        return super().forward(images + nn.functional.interpolate(small, scale_factor=2))


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (lambda: TinyNet(bands=4), {}, "takes 4 bands, and bands says 3"),
        (
            lambda: TinyNet(5),
            {},
            r"has 5 outputs, and classes names 3 \(field, water, road\): there should be 3",
        ),
        (lambda: TinyNet(2), {}, "or 4 with background as output 0"),
        (lambda: TinyNet(1), {}, "one class against background"),
        (lambda: Answering(lambda s, i: s.mean((2, 3))), {}, "one label for each chip"),
        (lambda: Answering(lambda s, i: s.argmax(1)), {}, "leave out its argmax"),
        (lambda: Answering(lambda s, i: {"masks": s}), {}, "a dictionary with 'masks'"),
        (lambda: Answering(lambda s, i: None), {}, "returns a NoneType"),
        (lambda: Answering(lambda s, i: s[..., 2:-2, 2:-2]), {}, "28 x 28 scores for tiles of 32 x 32"),
        (lambda: Answering(lambda s, i: s / 0), {}, "not finite"),
        (lambda: Answering(lambda s, i: s[None]), {}, r"should be \(N, K, H, W\)"),
        (lambda: Answering(lambda s, i: nn.functional.dropout(s, 0.5)), {}, "goes on as in training"),
        (_NoRunningStatistics, {}, "without running statistics"),
        (_OnlyTraining, {}, "training mode only"),
        (_Halving, {"tile_size": 33}, "tile_size=34, tile_multiple=2"),
        (Strided, {"tile_size": 33}, "no whole fraction"),
    ],
)
def test_a_network_that_does_not_fit_is_explained(make, changes, message):
    with pytest.raises(ModelMismatchError, match=message):
        _bring(seeded(make), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "images"}, "for images is not here yet: use task='pixels' or task='objects' or"),
        ({"multilabel": True}, "multilabel=True is for task='scenes', and this is for pixels"),
        ({"task": "segmentation"}, "is for one of pixels, objects"),
        ({"tile_size": 0}, "tile_size=0"),
        ({"tile_size": 33, "tile_multiple": 2}, "use tile_size=34"),
        ({"tile_multiple": 1.5}, "tile_multiple=1.5"),
        ({"outputs": "scores"}, "use 'logits' or 'probabilities'"),
        ({"cell_size": -1}, "above 0"),
        ({"normalize": "zscore"}, "the only name is 'imagenet'"),
    ],
)
def test_arguments_that_cannot_work_are_refused(changes, message):
    with pytest.raises(SettingError, match=message):
        _bring(seeded(TinyNet), **changes)


def test_what_is_no_network_is_refused():
    with pytest.raises(SettingError, match="a class, not a module: call it first"):
        _bring(TinyNet)
    with pytest.raises(SettingError, match="call load_state_dict"):
        _bring(TinyNet().state_dict())
    with pytest.raises(SettingError, match="a model of rasterloom already"):
        _bring(random_model())
    assert _bring(seeded(TinyNet), task=Task.PIXELS).spec.task == "pixels"


def test_it_is_not_trained_here():
    model = _bring(seeded(TinyNet))
    for verb in ("fit", "lr_find", "unfreeze", "load", "show_results", "plot_losses"):
        with pytest.raises(SettingError, match=f"{verb} cannot work: .* such as {UnetClassifier.__name__}"):
            getattr(model, verb)()


def test_files_that_are_no_networks_say_what_to_do(tmp_path: Path):
    weights = tmp_path / "weights.pt"
    torch.save(TinyNet().state_dict(), weights)
    with pytest.raises(PackageError, match="load_state_dict"):
        _bring(weights)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(PackageError, match=r"no \.pt2, TorchScript or \.onnx file"):
        _bring(tmp_path / "notes.txt")
    with pytest.raises(MissingInputError, match="is not there"):
        _bring(tmp_path / "missing.pt2")


def test_a_program_from_a_file_is_run_only_when_it_is_trusted(tmp_path: Path, images):
    module = seeded(TinyNet).eval()
    path = tmp_path / "net.pt2"
    exported = torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(exported, path)
    with pytest.raises(PackageError, match=r"can run any code .* from_torch"):
        _bring(path)
    for given in (path, exported):
        model = _bring(given, trust=True)
        assert model.tile_multiple == 32
        torch.testing.assert_close(model.network.eval()(images[:1]), module(images[:1]))
        with pytest.raises(ModelMismatchError, match="use tile_size=32"):
            _bring(given, trust=True, tile_size=64)


def test_an_exported_program_for_one_chip_takes_any_number(images):
    module = seeded(TinyNet).eval()
    model = _bring(torch.export.export(module, (images[:1],)))
    torch.testing.assert_close(model.network(images), module(images))


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # torch calls TorchScript deprecated
def test_torchscript_is_taken_as_object_and_as_file(tmp_path: Path, images):
    module = seeded(TinyNet).eval()
    path = tmp_path / "net.pt"
    for script in (torch.jit.script(module), torch.jit.trace(module, images)):
        torch.jit.save(script, path)
        with pytest.raises(PackageError, match="TorchScript program, which can run any code"):
            _bring(path)
        for given in (script, path):
            model = _bring(given, trust=True)
            layout = model.network.eval().to(memory_format=torch.channels_last)
            torch.testing.assert_close(layout(images), module(images))


def test_an_onnx_file_needs_no_trust(tmp_path: Path, images):
    pytest.importorskip("onnxruntime", reason="needs the extra rasterloom[onnx]")
    pytest.importorskip("onnxscript", reason="writes ONNX files")
    module = seeded(TinyNet).eval()
    model = _bring(write_onnx(tmp_path / "net.onnx", module))
    torch.testing.assert_close(model.network(images), module(images), rtol=1e-3, atol=1e-4)
    assert model.spec.parameters["name"] == "net"
