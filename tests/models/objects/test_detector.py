"""What models share that find objects."""

import pytest
import torch
from torch import nn

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.models.objects.detector import (
    BOX_FORMATS,
    ObjectDetector,
    checked_objects,
    giving_losses,
)
from rasterloom.pipeline.store.kinds import KINDS
from tests.support.models import pixel_spec

GOOD = {"boxes": torch.ones(2, 4), "labels": torch.tensor([1, 3]), "scores": torch.tensor([0.1, 0.9])}
NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0), "scores": torch.zeros(0)}


class Shaky(ObjectDetector):
    """A detector whose loss is drawn at random, goes through dropout and moves a running mean."""

    @classmethod
    def complete_parameters(cls, parameters):
        return dict(parameters)

    def build_network(self, *, pretrained):
        return nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 1, 1))

    def batch_loss(self, images, targets):
        assert self.network.training  # torchvision's detectors have losses only then
        return self.network(images).sum() + torch.rand(1)[0] + len(targets)

    def detect(self, images, *, threshold=0.5, nms_overlap=0.1):
        assert not any(part.training for part in self.network.modules())
        self.asked = (threshold, nms_overlap)
        return [GOOD] * len(images)

    def early_layers(self):
        return self.network[0]

    tile_multiple = 1
    supported_backbones = ()


@pytest.fixture
def shaky():
    return Shaky.from_spec(pixel_spec(model="Shaky", task=Task.OBJECTS))


def test_validation_loss_is_the_same_each_time_and_leaves_no_trace(shaky):
    network, batch = shaky.network.eval(), (torch.randn(2, 3, 4, 4), [{}, {}])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    with torch.no_grad():
        (first, found), (second, _) = shaky.judged(batch), shaky.judged(batch)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert found == [GOOD, GOOD]
    assert shaky.asked == (0.05, 0.1)


def test_training_loss_is_that_of_the_adapter(shaky):
    shaky.network.train()
    drawn = {shaky.training_loss((torch.ones(2, 3, 4, 4), [{}, {}])).item() for _ in range(5)}
    assert len(drawn) == 5


def test_the_modes_come_back_when_the_loss_fails(shaky):
    shaky.network.train()
    shaky.network[0].eval()
    during = []

    def fail():
        with giving_losses(shaky.network, torch.device("cpu")):
            during.extend(part.training for part in shaky.network)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert during == [False, False, True]
    assert [part.training for part in shaky.network] == [False, True, True]


def test_the_table_of_training_has_average_precision(shaky):
    assert shaky.available_metrics == ["valid_loss", "average_precision"]
    assert shaky.package_facts(compute_metrics=True) == {}
    with pytest.raises(SettingError, match="needs data"):
        shaky.average_precision_score()


def test_the_kinds_of_chips_are_those_that_hold_objects_and_no_masks_of_classes():
    assert set(BOX_FORMATS) == {name for name, kind in KINDS.items() if kind.objects and not kind.masks}


def test_objects_are_brought_to_the_types_of_the_contract():
    first, second = checked_objects([GOOD, NOTHING], 2, classes=3, origin="It")
    assert [v.dtype for v in second.values()] == [torch.float32, torch.int64, torch.float32]
    assert torch.equal(first["labels"], GOOD["labels"])


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([GOOD], "each of the 2 chips.*returned list of 1"),
        (GOOD, "returned dict"),
        ([GOOD, [1, 2]], "one of them is a list"),
        ([GOOD, {"boxes": GOOD["boxes"]}], "a dict of boxes: Tensor"),
        ([GOOD, {**GOOD, "boxes": torch.ones(3, 4)}], r"boxes \(3, 4\), labels \(2,\)"),
        ([GOOD, {**GOOD, "labels": torch.tensor([0, 4])}], r"from 1 to 3.*labels \[0, 4\]"),
    ],
)
def test_anything_else_is_refused(found, told):
    with pytest.raises(SettingError, match=told):
        checked_objects(found, 2, classes=3, origin="It")
