"""ChangeDetector on tiny pairs of chips: trained, judged, shown, saved."""

import json

import numpy as np
import pytest
import torch

from rasterloom.models import ChangeDetector
from rasterloom.models.contract import ClassInfo, Task
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.models.losses.change import balanced_contrastive_loss, kinds_loss
from rasterloom.models.networks.stanet import DIVIDE, MARGIN, SHARPNESS
from rasterloom.pipeline import estimate_batch_size, prepare_data
from rasterloom.pipeline.packages.load import load_package
from rasterloom.pipeline.training.evaluate import evaluate
from tests.pipeline.datasets.stores import write_store
from tests.support.models import pixel_spec

TINY = {
    "backbone": "timm:test_resnet",
    "pretrained": False,
    "encoder_depth": 3,
    "decoder_channels": [8, 16, 8],
}
KINDS = (ClassInfo(1, "built", (220, 60, 40)), ClassInfo(2, "gone", (40, 80, 220)))

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Noise of two dates; a square of each chip has become brighter, another darker."""
    rng = np.random.default_rng(7)
    before = rng.integers(90, 110, (12, 3, 32, 32), np.uint8)
    after = rng.integers(95, 115, (12, 3, 32, 32), np.uint8)
    masks = np.zeros((12, 32, 32), np.uint8)
    for number, (row, col) in enumerate(rng.integers(0, 20, (12, 2))):
        built = slice(row, row + 12), slice(col, col + 12)
        gone = slice(row, row + 6), slice(20 - col, 26 - col)
        after[number][:, *built] += 100
        masks[number][built] = 1
        after[number][:, *gone] = 20
        masks[number][gone] = 2
    path = tmp_path_factory.mktemp("dates") / "change.zarr"
    return write_store(path, before, masks, images2=after, classes=KINDS)


@pytest.fixture
def data(store, tmp_path):
    return prepare_data(store, chip_size=32, batch_size=4, val_split_pct=0.25, working_dir=tmp_path)


@pytest.fixture
def model(data):
    torch.manual_seed(0)
    return ChangeDetector(data, **TINY)


def test_it_learns_what_is_judged_by_pixels_that_changed(model, data, tmp_path):
    assert model.available_metrics[:4] == ["valid_loss", "precision", "recall", "f1"]
    model.fit(20, lr=5e-3, checkpoint=False, show_progress=False, monitor="f1")
    rows = model.history.rows
    assert set(rows[0].metrics) == {"precision", "recall", "f1", "iou"}
    assert rows[-1].train_loss < rows[0].train_loss / 2
    scores = evaluate(model, data, show_progress=False)
    figures = model.precision_recall_score()
    assert figures == {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
    last = rows[-1].metrics
    assert all(last[name] == pytest.approx(value) for name, value in figures.items())
    found, truth = [], []
    model.network.eval()
    with torch.no_grad():
        for batch in data.valid_loader():
            found.append(model.change_logits(*batch[0]).argmax(1))
            truth.append(batch[1])
    both = torch.cat(found), torch.cat(truth)
    hits = ((both[0] == both[1]) & (both[1] > 0)).sum().item()
    assert figures["precision"] == pytest.approx(hits / (both[0] > 0).sum().item())
    assert figures["recall"] == pytest.approx(hits / (both[1] > 0).sum().item())
    assert figures["f1"] > 0.6


def test_a_package_tells_the_figures_and_gives_the_same_answers(model, data, tmp_path):
    path = model.save(tmp_path / "changes")
    package = load_package(path)
    assert (package.emd["ModelName"], package.emd["ModelType"]) == ("ChangeDetector", "ChangeDetection")
    scores = evaluate(model, data, show_progress=False)
    assert json.loads(package.emd["precision_recall_score"])["recall"] == scores.recall
    assert "InferenceFunction" not in package.emd
    again = ChangeDetector.from_model(path, data)
    assert again.spec == model.spec
    dates = torch.rand(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).unbind()
    started = ChangeDetector(data, pretrained_path=path, **{**TINY, "pretrained": True})
    with torch.no_grad():
        wanted = model.network.eval()(*dates)
        assert torch.equal(again.network.eval()(*dates), wanted)
        assert torch.equal(started.network.eval()(*dates), wanted)
    frozen = [p for p in started.network.encoder.parameters() if not p.requires_grad]
    assert frozen
    started.unfreeze()
    assert all(p.requires_grad for p in frozen)


def test_results_are_both_images_the_truth_and_what_was_found(model, tmp_path):
    figure = model.show_results(rows=2, statistics_percent=(2, 98), alpha=0.6)
    assert [panel.get_title() for panel in figure.axes[:4]] == ["before", "after", "truth", "prediction"]
    assert len(figure.axes) == 8
    pictures = [np.asarray(panel.images[0].get_array()) for panel in figure.axes[:4]]
    assert all(picture.shape == (32, 32, 3) for picture in pictures)
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[2], pictures[3])
    with pytest.raises(SettingError, match="size"):
        model.show_results(size=3)


def test_a_rate_is_found_and_losses_are_drawn(model):
    assert 1e-7 < model.lr_find(allow_plot=False) < 1
    model.fit(1, lr=1e-3, checkpoint=False, show_progress=False)
    assert len(model.plot_losses().axes[0].lines) == 2


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_batch_size_can_be_estimated(model, mode):
    assert estimate_batch_size(model, mode=mode).recommended_batchsize >= 1


def test_both_dates_are_scaled_alike_as_the_model_says(store, data, tmp_path):
    other = prepare_data(
        store, chip_size=32, batch_size=4, imagery_type="multispectral", transforms=(None, None)
    )
    (before, after), _ = next(iter(other.train_loader()))
    mean, std = (np.array(v)[:, None, None] for v in (other.normalization.mean, other.normalization.std))
    units = np.rint(after.numpy() * std + mean)
    assert units.min() == 20
    assert 195 <= units.max() <= 214
    assert np.rint(before.numpy() * std + mean).max() <= 110
    # the scaling of weights that were loaded is for both dates too
    model = ChangeDetector(other, **TINY)
    path = ChangeDetector(data, **TINY).save(tmp_path / "rgb", compute_metrics=False)
    model.load(path)
    assert model.data.normalization == data.normalization != other.normalization
    (_, again), _ = next(iter(model.data.train_loader()))
    mean, std = (np.array(v)[:, None, None] for v in (data.normalization.mean, data.normalization.std))
    assert np.rint(again.numpy() * std + mean).min() == 20


def test_the_loss_is_that_of_the_distance_and_of_the_kinds(model):
    target = torch.randint(-1, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    distance = 3 * torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(1))
    kinds = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(2))
    change = SHARPNESS * (distance - DIVIDE)[:, None] + kinds - kinds.amax(1, keepdim=True)
    logits = torch.cat([torch.zeros(2, 1, 8, 8), change], dim=1)
    wanted = balanced_contrastive_loss(distance, target, margin=MARGIN) + kinds_loss(logits, target)
    torch.testing.assert_close(model.loss(logits, target), wanted)


def test_chips_of_one_date_are_refused(store, tmp_path):
    one = prepare_data(store, dataset_type="Classified_Tiles", chip_size=32)
    with pytest.raises(ModelMismatchError, match="ChangeDetector learns change"):
        ChangeDetector(one, **TINY)


def test_a_class_of_no_change_is_needed():
    spec = pixel_spec(model="ChangeDetector", task=Task.CHANGE, background=False, parameters=TINY)
    with pytest.raises(SettingError, match=r"class values \[1, 2, 7\]: use 0 for no change"):
        ChangeDetector.from_spec(spec)


def test_backbones_are_the_family_of_resnet(model):
    assert model.supported_backbones[:2] == ["resnet18", "resnet34"]
    assert all(name.startswith("res") for name in model.supported_backbones)
    assert model.supported_datasets == ["ChangeDetection"]


def test_attention_is_the_third_argument(data):
    model = ChangeDetector(data, "timm:test_resnet", "bam", pretrained=False, encoder_depth=3)
    assert model.spec.parameters["attention_type"] == "BAM"
