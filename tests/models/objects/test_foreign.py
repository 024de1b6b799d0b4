"""A detector of any origin finds the same in our hands, after saving, and in another process."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator

from rasterloom.models import TorchDetector, TorchModel, from_torch
from rasterloom.models.errors import ModelMismatchError, PackageError, SettingError
from rasterloom.models.networks.programs import ProgramKind
from rasterloom.pipeline import build_model, load_package
from tests.support.detectors import ColourDetector, colour_model
from tests.support.networks import TinyNet, seeded


class Listed(nn.Module):
    """Takes a list of images; two things in each, the less certain one beside another of its class."""

    def __init__(self, **changes: Tensor) -> None:
        super().__init__()
        self.found = {
            "boxes": torch.tensor([[1.0, 1, 9, 9], [2, 1, 10, 9], [1, 1, 9, 9], [20, 20, 22, 22]]),
            "labels": torch.tensor([1, 1, 2, 1]),
            "scores": torch.tensor([0.6, 0.9, 0.8, 0.3]),
        } | changes

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        assert isinstance(images, list)
        return [self.found for _ in images]


def _bring(module: Any, **changes: Any) -> Any:
    given = {"task": "objects", "classes": ["car", "boat"], "bands": 3, "tile_size": 32}
    return from_torch(module, **(given | changes))


def _own_faster_rcnn() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=8, padding=1), nn.ReLU())
    body.out_channels = 8  # type: ignore[assignment] # torchvision asks the backbone
    anchors = AnchorGenerator(((16,),), ((1.0,),))
    return FasterRCNN(body, 3, rpn_anchor_generator=anchors, min_size=64, max_size=64, box_score_thresh=0.0)


def test_a_list_of_images_is_given_to_a_detector_that_wants_one() -> None:
    model = _bring(Listed())
    assert isinstance(model, TorchDetector)
    assert model.spec.parameters["images"] == "list"
    (found, _) = model.detect(torch.zeros(2, 3, 32, 32), threshold=0.5, nms_overlap=0.1)
    assert found["scores"].tolist() == pytest.approx([0.9, 0.8])
    assert found["labels"].tolist() == [1, 2]
    everything = model.detect(torch.zeros(1, 3, 32, 32), threshold=0.0, nms_overlap=1.0)[0]
    assert everything["scores"].tolist() == pytest.approx([0.9, 0.8, 0.6, 0.3])


def test_a_score_that_is_no_number_is_left_for_the_tools_to_count() -> None:
    model = _bring(Listed(scores=torch.tensor([0.6, float("nan"), 0.8, 0.3])))
    found = model.detect(torch.zeros(1, 3, 32, 32), threshold=0.5)[0]
    assert found["scores"].isnan().sum() == 1


def test_a_detector_of_torchvision_is_brought_in_one_line() -> None:
    module = seeded(_own_faster_rcnn)
    model = _bring(module, normalize=255)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = module.eval()(list(images))
        found = model.detect(images, threshold=0.0, nms_overlap=1.0)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours["scores"].sort().values, theirs["scores"].sort().values)
        assert len(ours["scores"])


def test_a_saved_detector_finds_the_same_and_runs_only_when_trusted(tmp_path: Path) -> None:
    model = colour_model()
    with pytest.raises(SettingError, match="pickled=True"):
        model.save(tmp_path / "net")
    path = model.save(tmp_path / "net", pickled=True)
    with pytest.raises(PackageError, match="trust=True"):
        TorchDetector.from_model(path)
    with pytest.raises(ModelMismatchError, match=r"TorchDetector.from_model"):
        TorchModel.from_model(path, trust=True)
    again = build_model(load_package(path, trust=True))
    assert again.spec == model.spec
    assert again.program().kind is ProgramKind.PICKLED
    image = torch.zeros(1, 1, 32, 32)
    image[0, 0, 4:9, 6:20] = 3
    for one in (model, again):
        (found,) = one.detect(image)
        assert found["boxes"].tolist() == [[6, 4, 20, 9]]


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:RCNN always returns")
def test_torchscript_is_a_detector_too(tmp_path: Path) -> None:
    script = torch.jit.script(seeded(_own_faster_rcnn).eval())
    model = _bring(script, normalize=255)
    path = model.save(tmp_path / "script")
    again = TorchDetector.from_model(path, trust=True)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        found, expected = (m.detect(images, threshold=0.0)[0]["boxes"] for m in (again, model))
    assert torch.equal(found, expected)
    assert len(found)


@pytest.mark.parametrize(
    ("module", "changes", "message"),
    [
        (TinyNet(), {}, "TinyNet should return a list with a dict for each of the 2 chips"),
        (Listed(labels=torch.tensor([0, 1, 1, 1])), {}, "has the labels \\[0, 1\\]"),
        (Listed(labels=torch.tensor([1, 1, 1, 3])), {}, "labels \\(n,\\) from 1 to 2"),
        (
            ColourDetector(),
            {"outputs": "probabilities"},
            "outputs='probabilities' is about networks for pixels",
        ),
        (ColourDetector(), {"classes": {0: "rest", 1: "car"}}, "names a background"),
        (nn.Linear(3, 4), {}, "the network fails on"),
    ],
)
def test_what_is_no_detector_is_refused(module: nn.Module, changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ModelMismatchError, SettingError), match=message):
        _bring(module, **changes)


def test_it_is_trained_where_it_was_built() -> None:
    with pytest.raises(SettingError, match="trained where it was built"):
        colour_model().fit(1)
