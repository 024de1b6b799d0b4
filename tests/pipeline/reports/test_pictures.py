"""Figures and PNGs for reports."""

import io
import math

import matplotlib.image
import numpy as np
import pytest

from rasterloom.models.contract import ClassInfo
from rasterloom.models.history import EpochRow, History
from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.rasters.grid import Grid
from rasterloom.pipeline.reports.accuracy import PixelAccuracy
from rasterloom.pipeline.reports.pictures import (
    Picture,
    confusion_picture,
    plot_confusion,
    plot_training,
    plot_views,
    short_count,
    training_picture,
    view_pictures,
)
from rasterloom.pipeline.reports.views import Views

CLASSES = (
    ClassInfo(0, "Background", (60, 60, 60)),
    ClassInfo(1, "Roof", (200, 0, 0)),
    ClassInfo(2, "Road", (9, 9, 9)),
)


def some_accuracy() -> PixelAccuracy:
    counts = np.array([[0, 0, 0], [1000, 80, 20], [3, 4, 5_000_000]])
    return PixelAccuracy(Confusion((0, 1, 2), counts), CLASSES, False, 0.0)


def some_history() -> History:
    rows = (
        EpochRow(1, 1.5, 900.0, {"miou": 0.2}),
        EpochRow(2, 0.7, 0.8, {"miou": 0.5, "accuracy": math.nan}),
    )
    return History(rows)


def pixels_of(picture: Picture) -> np.ndarray:
    return np.asarray(matplotlib.image.imread(io.BytesIO(picture.png)))


def test_views_become_pictures_of_the_same_pixels() -> None:
    random = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3)).astype("uint8")
    views = Views(*random, CLASSES[1:], Grid("", (1, 0, 0, 0, -1, 0), 20, 30), 1.0)
    pictures = view_pictures(views, of="A field")
    for picture, expected in zip(pictures, random, strict=True):
        assert (np.round(pixels_of(picture)[..., :3] * 255) == expected).all()
        assert (picture.height, picture.width) == (20, 30)
        assert picture.alt.startswith("A field")
    assert [axes.get_title() for axes in plot_views(views).axes] == ["scene", "truth", "prediction"]


@pytest.mark.parametrize("picture", [confusion_picture(some_accuracy()), training_picture(some_history())])
def test_figures_become_pictures_with_words(picture: Picture) -> None:
    assert picture.png.startswith(b"\x89PNG")
    assert pixels_of(picture).shape[:2] == (picture.height, picture.width)
    assert len(picture.alt) > 20


def test_the_matrix_shows_shares_and_counts_of_what_is_true() -> None:
    axes = plot_confusion(some_accuracy()).axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert "91%\n1.0k" in texts
    assert "100%\n5.0M" in texts
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["Background", "Roof", "Road"]


def test_one_far_loss_does_not_hide_the_others() -> None:
    losses = plot_training(some_history()).axes[0]
    assert losses.get_ylim()[1] < 3


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (9960, "10k"), (999_600, "1.0M"), (16_777_216, "17M")],
)
def test_counts_are_short(number: int, text: str) -> None:
    assert short_count(number) == text
