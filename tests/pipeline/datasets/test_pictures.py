"""Chips as pictures."""

import numpy as np
import pytest

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.pictures import class_colors, true_color
from rasterloom.pipeline.datasets.prepare import prepare_data
from tests.pipeline.datasets.stores import CLASSES, toy_chips, write_store

BANDS = ("nir", "Blue", "green", "red")


def ramp(bands=4):
    return np.arange(bands * 100, dtype=np.float32).reshape(bands, 10, 10)


@pytest.mark.parametrize(
    ("bands", "chosen", "shown"),
    [
        (BANDS, None, [3, 2, 1]),
        (BANDS, ["nir", "red", 2], [0, 3, 2]),
        (("a", "b", "c", "d"), None, [0, 1, 2]),
        (("a", "b"), None, [0, 0, 0]),
        (BANDS, ["nir"], [0, 0, 0]),
    ],
)
def test_the_bands_shown_are_those_asked_for_or_the_visible_ones(bands, chosen, shown):
    image = np.random.default_rng(0).random((len(bands), 8, 8)).astype(np.float32)
    picture = true_color(image, bands=bands, rgb_bands=chosen, statistics_percent=(0, 100))
    for channel, band in enumerate(shown):
        low, high = image[band].min(), image[band].max()
        np.testing.assert_allclose(picture[..., channel], (image[band] - low) / (high - low), atol=1e-5)


def test_percentiles_become_black_and_white():
    picture = true_color(ramp(), bands=BANDS, statistics_percent=(10, 90))
    assert picture.min() == 0
    assert picture.max() == 1
    assert 0.18 < (picture == 0).mean() + (picture == 1).mean() < 0.22


def test_a_flat_image_is_drawn():
    assert np.isfinite(true_color(np.zeros((1, 4, 4)), bands=("a",))).all()


def test_classes_have_their_colours_and_no_class_is_grey():
    colors = class_colors(np.array([[0, 1, 2]]), CLASSES) * 255
    assert colors[0, 1].tolist() == list(CLASSES[0].color)
    assert colors[0, 2].tolist() == list(CLASSES[1].color)
    assert colors[0, 0, 0] == colors[0, 0, 1] == colors[0, 0, 2]
    with_zero = (ClassInfo(0, "ground", (1, 2, 3)), *CLASSES)
    assert (class_colors(np.array([[0]]), with_zero) * 255).tolist() == [[[1, 2, 3]]]


def test_a_batch_is_drawn_with_a_legend(tmp_path):
    data = prepare_data(write_store(tmp_path / "toy.zarr", *toy_chips(12)), batch_size=4)
    figure = data.show_batch(rows=2, rgb_bands=[3, 2, 1], alpha=0.2)
    assert len([panel for panel in figure.axes if panel.images]) == 8
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["field", "water"]
    figure.savefig(tmp_path / "batch.png")
    assert (tmp_path / "batch.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"statistics_percent": (98, 2)}, "two rising numbers"),
        ({"rgb_bands": ["mauve", 0, 1]}, "'mauve'.*band_1"),
        ({"rgb_bands": [0, 1]}, "three bands"),
        ({"colour": 1}, "rgb_bands, statistics_percent, alpha"),
    ],
)
def test_picture_settings_that_cannot_work_are_refused(tmp_path, settings, remedy):
    data = prepare_data(write_store(tmp_path / "toy.zarr", *toy_chips(4)))
    with pytest.raises(SettingError, match=remedy):
        data.show_batch(**settings)
