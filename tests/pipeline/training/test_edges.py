"""Models for edges, trained and judged on chips with outlined squares."""

import json

import numpy as np
import pytest
import torch

from rasterloom.models import BDCNEdgeDetector, HEDEdgeDetector
from rasterloom.models.contract import ClassInfo
from rasterloom.models.edges.detector import THRESHOLDS
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.metrics.edges import EdgeCounts, count_edges
from rasterloom.pipeline.packages.load import load_package
from rasterloom.pipeline.training.edges import judge_edges, show_edges
from tests.pipeline.datasets.stores import square_chips, write_store
from tests.support.models import pixel_spec

SHAPE = {"backbone": "timm:test_resnet", "encoder_depth": 3, "pretrained": False}
EDGE = (ClassInfo(1, "edge", (250, 220, 20)),)


@pytest.fixture(scope="module")
def edge_store(tmp_path_factory):
    """Bright squares, and their outlines one pixel wide; the last column of each chip has no label."""
    images, outlines, _ = square_chips(16)
    masks = np.stack([np.any([_outline(mask) for mask in chip], axis=0) for chip in outlines])
    path = tmp_path_factory.mktemp("chips") / "edges.zarr"
    return write_store(path, images, masks.astype(np.uint8), classes=EDGE)


@pytest.fixture
def edge_data(edge_store, tmp_path):
    return prepare_data(edge_store, chip_size=40, batch_size=4, val_split_pct=0.25, working_dir=tmp_path)


def _outline(mask: np.ndarray) -> np.ndarray:
    inner = np.pad(mask, 1)
    kept = inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    return mask & ~kept


@pytest.mark.parametrize("kind", [HEDEdgeDetector, BDCNEdgeDetector])
def test_a_trained_model_finds_the_edges_better_than_before(kind, edge_data):
    torch.manual_seed(0)
    model = kind(edge_data, **SHAPE)
    before = model.compute_precision_recall(buffer=1, show_progress=False)
    model.fit(16, lr=0.01, checkpoint=False, show_progress=False)
    after = model.compute_precision_recall(buffer=1, show_progress=False)
    assert np.nan_to_num(after["f1"]) > np.nan_to_num(before["f1"]) + 0.1
    best = model.compute_ods_ois(buffer=1, show_progress=False)
    assert sorted(best) == ["ods_f1", "ods_precision", "ods_recall", "ods_threshold", "ois_f1"]
    assert best["ods_f1"] > 0.3
    assert best["ois_f1"] > 0.3
    assert best["ods_threshold"] in THRESHOLDS


def test_the_counts_are_those_of_each_chip_with_its_probabilities(edge_data):
    torch.manual_seed(1)
    model = HEDEdgeDetector(edge_data, **SHAPE)
    settings = {"thresholds": (0.4, 0.5), "buffer": 2}
    model.network.eval()
    parts = []
    for images, targets in edge_data.valid_loader():
        with torch.no_grad():
            probabilities = model.probabilities(model.network(images))[:, 1]
        parts += [
            count_edges(target.numpy() > 0, chip.numpy(), **settings)
            for target, chip in zip(targets, probabilities, strict=True)
        ]
    expected = EdgeCounts.merged(parts)
    model.network.train()
    found = judge_edges(model, edge_data, **settings, show_progress=False)
    # the network runs channels last there, so a probability may fall on the other side of a threshold
    assert found.counts.shape == expected.counts.shape == (len(edge_data.valid), 2, 4)
    assert np.abs(found.counts - expected.counts).max() <= 5
    assert model.network.training


def test_numbers_that_cannot_work_are_refused_before_anything_runs(edge_data):
    model = HEDEdgeDetector(edge_data, **SHAPE)
    model.network = torch.nn.Identity()
    with pytest.raises(SettingError, match=r"threshold=2 is no probability"):
        model.compute_precision_recall(thresh=2)
    with pytest.raises(SettingError, match=r"buffer=-1 cannot work"):
        model.compute_precision_recall(buffer=-1)
    with pytest.raises(SettingError, match=r"thresh=-0.1 is no probability"):
        model.show_results(thresh=-0.1)
    with pytest.raises(SettingError, match="rows=0 cannot work"):
        model.show_results(rows=0)


def test_results_show_thin_edges_beside_the_truth(edge_data, tmp_path):
    torch.manual_seed(1)
    model = HEDEdgeDetector(edge_data, **SHAPE)
    thick, thin = (
        show_edges(model, edge_data, rows=2, thresh=0.0, thinning=thinning) for thinning in (False, True)
    )
    assert [panel.get_title() for panel in thin.axes[:3]] == ["image", "truth", "prediction"]
    assert len(thin.axes) == 6
    color = np.array(EDGE[0].color) / 255
    counts = [
        np.isclose(np.asarray(figure.axes[2].images[0].get_array()), color, atol=0.01).all(axis=2).sum()
        for figure in (thick, thin)
    ]
    assert counts[0] == 40 * 40
    assert counts[1] < counts[0] / 10
    model.show_results(rows=1, rgb_bands=["band_1"]).savefig(tmp_path / "edges.png")


def test_a_package_says_that_it_is_for_edges_and_how_good_they_are(edge_data, tmp_path):
    torch.manual_seed(0)
    model = HEDEdgeDetector(edge_data, **SHAPE)
    path = model.save(tmp_path / "edges")
    emd = load_package(path).emd
    assert emd["IsEdgeDetection"] is True
    told = json.loads(emd["per_class_metrics"])
    figures = model.compute_precision_recall(show_progress=False)
    assert told["recall"] == {"edge": pytest.approx(figures["recall"])}
    again = HEDEdgeDetector.from_model(path)
    images = next(iter(edge_data.valid_loader()))[0]
    for one in (model, again):
        one.network.eval()
    with torch.no_grad():
        assert torch.equal(model.network(images), again.network(images))


def test_figures_need_data():
    spec = pixel_spec(model="HEDEdgeDetector", classes=EDGE, parameters=SHAPE)
    model = HEDEdgeDetector.from_spec(spec)
    with pytest.raises(SettingError, match="needs data"):
        model.compute_precision_recall()
    assert model.package_facts(compute_metrics=True) == {"IsEdgeDetection": True}
