"""Training as pictures."""

import numpy as np
import pytest

from rasterloom.models.errors import SettingError
from rasterloom.models.history import EpochRow, History
from rasterloom.pipeline.training.pictures import plot_losses, plot_rates, show_results
from rasterloom.pipeline.training.rates import RateCurve
from tests.pipeline.training.tiny_detectors import bright_spots
from tests.pipeline.training.tiny_models import TinyModel


def test_losses_are_drawn_over_the_epochs(tmp_path):
    history = History(tuple(EpochRow(n, 1 / n, 2 / n) for n in (1, 2, 3)))
    figure = plot_losses(history)
    lines = figure.axes[0].lines
    assert lines[0].get_xydata().tolist() == [[n, 1 / n] for n in (1, 2, 3)]
    assert lines[1].get_ydata().tolist() == [2 / n for n in (1, 2, 3)]
    figure.savefig(tmp_path / "losses.png")
    with pytest.raises(SettingError, match="call fit first"):
        plot_losses(History())


def test_the_chosen_rate_is_marked_on_the_curve():
    figure = plot_rates(RateCurve((1e-4, 1e-3, 1e-2), (3.0, 2.0, 1.0), 1e-3))
    curve, mark = figure.axes[0].lines
    assert len(curve.get_xdata()) == 3
    assert mark.get_xydata().tolist() == [[1e-3, pytest.approx(2.0)]]
    assert figure.axes[0].get_xscale() == "log"


def test_results_stand_beside_image_and_truth(data, tmp_path):
    model = TinyModel(data)
    figure = show_results(model, data, rows=3, rgb_bands=["band_1"], statistics_percent=(0, 100))
    titles = [panel.get_title() for panel in figure.axes[:3]]
    assert titles == ["image", "truth", "prediction"]
    assert len(figure.axes) == 9
    pictures = [np.asarray(panel.images[0].get_array()) for panel in figure.axes]
    assert all(p.shape == (24, 24, 3) for p in pictures)
    assert not np.array_equal(pictures[1], pictures[2])
    figure.savefig(tmp_path / "results.png")


def test_more_rows_than_chips_shows_all_of_them(data):
    assert len(show_results(TinyModel(data), data, rows=99).axes) == 3 * len(data.valid)


@pytest.mark.parametrize("settings", [{"rows": 0}, {"size": 3}])
def test_picture_settings_that_cannot_work_are_refused(data, settings):
    with pytest.raises(SettingError):
        show_results(TinyModel(data), data, **settings)


def test_found_objects_stand_beside_the_true_ones(object_data, tmp_path):
    model = bright_spots(object_data)
    figure = show_results(model, object_data, rows=3)
    assert [panel.get_title() for panel in figure.axes[:2]] == ["truth", "prediction"]
    assert len(figure.axes) == 6
    sure = show_results(model, object_data, rows=3, thresh=0.8)
    _, targets = next(iter(object_data.valid_loader()))
    for row in range(3):
        # each box is two frames, a light one below
        drawn = [len(panel.patches) for panel in figure.axes[2 * row : 2 * row + 2]]
        assert drawn[0] == len(sure.axes[2 * row].patches) > 0
        assert (drawn[1], len(sure.axes[2 * row + 1].patches)) == (2, 0)
    assert len(figure.axes[0].patches) == 2 * len(targets[0]["boxes"])
    figure.savefig(tmp_path / "objects.png")
    with pytest.raises(SettingError, match="pictures do not know size"):
        show_results(model, object_data, size=3)
