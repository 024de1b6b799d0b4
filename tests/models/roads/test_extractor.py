import dataclasses

import pytest
import torch

from rasterloom.models import ConnectNet, MultiTaskRoadExtractor, imagery
from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.roads import RoadLogits
from tests.support.models import CLASSES, pixel_spec

pytestmark = pytest.mark.usefixtures("one_thread")

ROADS = (ClassInfo(1, "Road", (90, 90, 90)),)
TINY = {"mtl_model": "linknet", "backbone": "timm:test_resnet", "encoder_depth": 3, "pretrained": False}


def road_model(kind=MultiTaskRoadExtractor, *, classes=ROADS, background=True, **changes):
    spec = pixel_spec(model=kind.__name__, classes=classes, parameters=TINY | changes)
    return kind.from_spec(dataclasses.replace(spec, background=background))


def stripes() -> tuple[torch.Tensor, torch.Tensor]:
    """Bright roads from west to east and from north to south on dark ground, and their labels."""
    labels = torch.zeros(4, 64, 64, dtype=torch.int64)
    labels[0, 20:27] = 1
    labels[1, 40:47] = 1
    labels[2, :, 12:19] = 1
    labels[3, :, 44:51] = 1
    noise = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return 0.2 * noise + labels[:, None], labels


def train(model, steps: int = 40) -> None:
    batch = stripes()
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=1e-2)
    model.network.train()
    torch.manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        model.training_loss(batch).backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (MultiTaskRoadExtractor, {}),
        (
            ConnectNet,
            {"mtl_model": "hourglass", "hourglass_depth": 2, "hourglass_channels": 16, "hourglass_stacks": 1},
        ),
    ],
)
def test_it_learns_where_roads_are_and_how_they_lie(kind, changes):
    model = road_model(kind, **changes)
    train(model)
    images, labels = stripes()
    model.network.eval()
    with torch.no_grad():
        _, found = model.judged((images, labels))
    assert float((found == labels).float().mean()) > 0.97
    degrees = model.orientations(images)
    on = labels == 1
    level, upright = degrees[:2][on[:2]], degrees[2:][on[2:]]
    assert float((level == 0).float().mean()) > 0.9
    assert float(((upright >= 80) & (upright <= 100)).float().mean()) > 0.9
    assert float(degrees[~on].isnan().float().mean()) > 0.5


def test_orientations_leave_the_network_as_it_was():
    model = road_model()
    for training in (True, False):
        model.network.train(training)
        before = {name: value.clone() for name, value in model.network.state_dict().items()}
        assert model.orientations(stripes()[0]).shape == (4, 64, 64)
        assert model.network.training is training
        assert all(torch.equal(before[name], value) for name, value in model.network.state_dict().items())


def test_the_loss_falls_when_orientations_are_right():
    model = road_model()
    _, labels = stripes()
    targets = model._targets(labels)
    right = torch.nn.functional.one_hot(targets.orientations.clamp(min=0), 10).movedim(-1, 1) * 8.0
    classes = torch.zeros(4, 2, 64, 64)
    losses = [
        float(model._loss_against(RoadLogits((classes,), (scores,)), labels))
        for scores in (right, right.roll(1, dims=1))
    ]
    assert losses[0] < losses[1] - 1


def test_all_guesses_count_alike_however_many_there_are():
    model = road_model()
    _, labels = stripes()
    scores = torch.randn(4, 2, 64, 64), torch.randn(4, 10, 64, 64)
    once = model._loss_against(RoadLogits(scores[:1], scores[1:]), labels)
    twice = model._loss_against(RoadLogits(scores[:1] * 2, scores[1:] * 2), labels)
    torch.testing.assert_close(once, twice)


def test_validation_looks_at_roads_of_the_width_that_is_learnt():
    batch = stripes()
    losses = []
    for height in (0.76, 0.3):
        torch.manual_seed(0)
        model = road_model(gaussian_thresh=height)
        model.network.eval()
        with torch.no_grad():
            losses.append(model.judged(batch)[0])
    assert not torch.equal(*losses)


def test_an_hourglass_asks_for_no_trained_weights():
    parameters = MultiTaskRoadExtractor.complete_parameters({})
    assert parameters["mtl_model"] == "hourglass"
    assert parameters["pretrained"] is False
    assert MultiTaskRoadExtractor.complete_parameters({"mtl_model": "linknet"})["pretrained"] is True


def test_labels_without_a_background_are_refused():
    with pytest.raises(
        SettingError, match=r"ConnectNet tells lines from what is none.*\[1, 2\].*from the lines"
    ):
        road_model(ConnectNet, classes=CLASSES[:2], background=False)


def test_further_positional_arguments_are_refused():
    with pytest.raises(
        SettingError, match=r"three arguments by position and got 4: name.*mtl_model='linknet'"
    ):
        MultiTaskRoadExtractor(None, "resnet34", None, "linknet")


def test_results_are_drawn_with_two_rows_and_a_light_overlay_unless_told(monkeypatch):
    calls = []
    monkeypatch.setattr(imagery, "service", lambda name: lambda *args, **kwargs: calls.append((name, kwargs)))
    model = road_model()
    model.data = object()
    model.show_results()
    model.show_results(rows=4, alpha=0.2)
    assert calls == [("show_results", {"rows": 2, "alpha": 0.6}), ("show_results", {"rows": 4, "alpha": 0.2})]


def test_every_backbone_of_the_list_is_known_to_the_property_too():
    model = road_model()
    assert model.supported_backbones == MultiTaskRoadExtractor.backbones()
    assert "resnet34" in model.supported_backbones
    assert model.supported_datasets == ["Classified_Tiles"]
