"""Labels of whole chips as pictures."""

import numpy as np
import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.training.evaluate import evaluate
from rasterloom.pipeline.training.pictures import show_results
from rasterloom.pipeline.training.scene_pictures import plot_confusion, plot_hard
from tests.support.scene_models import colour_model
from tests.support.scenes import CLASSES, write_scenes

POSITIONS = np.array([0, 1, 2, 0, 1, 0] * 6)


class _Knowing:
    """A model that knows the colours, but for one class that it takes for another."""

    def __init__(self, data, *, several=False, blind=None):
        self._inner = colour_model(
            multilabel=several,
            normalize=(list(data.normalization.mean), list(data.normalization.std)),
        )
        self.spec, self.network, self.multilabel = self._inner.spec, self._inner.network, several
        self.output_classes, self._blind = self._inner.output_classes, blind
        self._scaling = data.normalization

    def classify_chips(self, images):
        mean, std = (torch.tensor(v)[:, None, None] for v in (self._scaling.mean, self._scaling.std))
        likely = self._inner.classify_chips(images * std + mean)
        if self._blind is not None:
            likely = likely.clone()
            likely[likely[:, self._blind] > 0.5] = torch.tensor([0.7, 0.2, 0.1])
        return likely

    def heat(self, images, positions):
        return torch.linspace(0, 1, images.shape[-1]).expand(len(images), images.shape[-2], -1)


@pytest.fixture
def data(tmp_path):
    store = write_scenes(tmp_path / "one.zarr", POSITIONS)
    return prepare_data(store, chip_size=32, batch_size=5, val_split_pct=0.5, working_dir=tmp_path)


@pytest.fixture
def several(tmp_path):
    positions = np.array([[(n >> place) & 1 for place in range(3)] for n in range(8)] * 4)
    store = write_scenes(tmp_path / "several.zarr", positions)
    return prepare_data(store, chip_size=32, batch_size=5, val_split_pct=0.5, working_dir=tmp_path)


def _texts(panel):
    return [text.get_text() for text in panel.texts]


def _truth(data):
    return torch.cat([labels for _, labels in data.valid_dl])


def test_results_name_the_class_in_green_and_mistakes_in_red(data):
    model = _Knowing(data, blind=2)
    figure = show_results(model, data, rows=2)
    titled = [panel for panel in figure.axes if panel.get_title()]
    assert len(titled) == 8
    for panel in titled:
        wrong = panel.get_title().endswith(", is lake")
        assert (panel.title.get_color() == "#c1121f") == wrong
    assert sum(panel.get_title() == "meadow 70%, is lake" for panel in titled) > 0


def test_results_of_several_labels_name_all(several):
    figure = show_results(_Knowing(several, several=True), several, rows=4)
    names = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert "none" in names
    assert "meadow, roof, lake" in names
    none_sure = show_results(_Knowing(several, several=True), several, rows=1, thresh=1.0)
    assert all(p.get_title().startswith("none") for p in none_sure.axes if p.get_title())


def test_the_confusion_counts_what_evaluate_counts(data):
    model = _Knowing(data, blind=2)
    (panel,) = plot_confusion(model, data).axes
    counts = evaluate(model, data, show_progress=False).counts
    assert _texts(panel) == [str(count) for count in counts.flatten()]
    lakes = int((_truth(data) == 2).sum())
    assert counts[2].tolist() == [lakes, 0, 0]
    assert counts.sum() == len(data.valid)


def test_the_confusion_of_several_labels_has_a_table_for_each_class(several):
    model = _Knowing(several, several=True)
    figure = plot_confusion(model, several)
    named = [panel for panel in figure.axes if panel.get_title()]
    assert [panel.get_title() for panel in named] == [info.name for info in CLASSES]
    there = int((_truth(several)[:, 0] > 0).sum())
    absent = len(several.valid) - there
    assert _texts(named[0]) == [str(absent), "0", "0", str(there)]
    everything = plot_confusion(model, several, thresh=0.0).axes[0]
    assert _texts(everything) == ["0", str(absent), "0", str(there)]


def test_the_hardest_chips_are_those_with_the_largest_loss(data):
    model = _Knowing(data, blind=2)
    lakes = int((_truth(data) == 2).sum())
    figure = plot_hard(model, data, num_examples=lakes + 1)
    first = [panel.get_title() for panel in figure.axes[::2]]
    assert [name == "meadow 70%, is lake" for name in first] == [True] * lakes + [False]
    losses = [float(panel.get_title().removeprefix("loss ")) for panel in figure.axes[1::2]]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(-np.log(0.1), abs=0.01)
    assert len(plot_hard(model, data, num_examples=100).axes) == 2 * len(data.valid)


@pytest.mark.parametrize(
    ("draw", "settings", "message"),
    [
        (plot_hard, {"num_examples": 0}, "num_examples=0 cannot work"),
        (plot_confusion, {"thresh": 2}, "thresh=2 cannot work"),
        (show_results, {"rows": 0}, "rows=0 cannot work"),
        (show_results, {"colour": 1}, "pictures do not know colour"),
    ],
)
def test_settings_that_cannot_work_are_refused(draw, settings, message, data):
    with pytest.raises(SettingError, match=message):
        draw(_Knowing(data), data, **settings)
