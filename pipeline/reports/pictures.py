"""Figures and PNG pictures for reports and notebooks, drawn without a window system."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib.image
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rasterloom.models.contract import ClassInfo
from rasterloom.models.history import History
from rasterloom.pipeline.datasets.pictures import add_legend, show_in_notebook
from rasterloom.pipeline.reports.accuracy import PixelAccuracy
from rasterloom.pipeline.reports.views import Views

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 160
"""Dots per inch: a figure 5.5 inches wide is sharp on half of a 1100-pixel page."""
_INK = "#1f2933"
_QUIET = "#7b8794"
_SERIES = ("#2f6fde", "#e4572e", "#3a9d5d")


@dataclass(frozen=True)
class Picture:
    """A PNG with what it shows in words."""

    png: bytes
    alt: str
    """For those who cannot see it."""
    caption: str
    """Printed beside or below it."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


def view_pictures(views: Views, *, of: str) -> tuple[Picture, Picture, Picture]:
    """Scene, truth and prediction as three pictures of one size.

    Parameters
    ----------
    of
        What ground they show, as in "the whole scene".
    """
    names = ", ".join(info.name for info in views.classes) or "no class"
    return (
        _image(views.scene, f"{of}: the image in natural colours.", "Scene"),
        _image(views.truth, f"{of}: the labels, with {names}.", "Truth"),
        _image(views.prediction, f"{of}: the classes that the model gave, with {names}.", "Prediction"),
    )


def plot_views(views: Views) -> Figure:
    """Scene, truth and prediction side by side, with the classes named below."""
    ratio = views.scene.shape[0] / views.scene.shape[1]
    figure = Figure(figsize=(11, 11 / 3 * ratio + 0.7), layout="constrained")
    panels = figure.subplots(1, 3)
    parts = (views.scene, views.truth, views.prediction)
    for panel, picture, title in zip(panels, parts, ("scene", "truth", "prediction"), strict=True):
        panel.imshow(picture, interpolation="nearest")
        panel.set_title(title)
        panel.set_axis_off()
    add_legend(figure, views.classes)
    show_in_notebook()
    return figure


def plot_training(history: History) -> Figure:
    """Losses over the epochs, and below them how well the validation chips agree.

    Parameters
    ----------
    history
        At least one row.
    """
    figure = Figure(figsize=(5.2, 5.0), layout="constrained")
    losses, scores = figure.subplots(2, 1, sharex=True)
    epochs = [row.epoch for row in history.rows]
    _lines(
        losses,
        epochs,
        "loss",
        {
            "training": [row.train_loss for row in history.rows],
            "validation": [row.valid_loss for row in history.rows],
        },
    )
    losses.set_ylim(0, 1.25 * max(row.train_loss for row in history.rows))  # first epochs can be far off
    names = {"miou": "mean IoU", "accuracy": "accuracy"}
    shown = {text: [row.metrics.get(key, math.nan) for row in history.rows] for key, text in names.items()}
    _lines(scores, epochs, "validation chips", shown)
    scores.set_ylim(0, 1)
    scores.set_xlabel("epoch", fontsize=9, color=_QUIET)
    show_in_notebook()
    return figure


def plot_confusion(accuracy: PixelAccuracy) -> Figure:
    """The confusion matrix: the share of each true class that was given each class, with pixel counts."""
    classes, counts = _shown_classes(accuracy)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # (true, given)
    figsize = (max(3.6, 0.76 * len(classes) + 1.2), max(3.0, 0.64 * len(classes) + 0.9))
    figure = Figure(figsize=figsize, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    _name_ticks(axes, [info.name for info in classes])
    size = 9 if len(classes) <= 8 else 6
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.55 else _INK
        text = f"{share:.0%}\n{short_count(int(counts[row, column]))}" if counts[row, column] else "0"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=size, linespacing=1.3)
    show_in_notebook()
    return figure


def training_picture(history: History) -> Picture:
    """:func:`plot_training` as a picture."""
    first, last = history.rows[0], history.rows[-1]
    alt = (
        f"Training and validation loss over {len(history)} epochs: "
        f"validation went from {first.valid_loss:.3f} to {last.valid_loss:.3f}."
    )
    return figure_picture(plot_training(history), alt, "Loss and agreement on chips, epoch by epoch")


def confusion_picture(accuracy: PixelAccuracy) -> Picture:
    """:func:`plot_confusion` as a picture."""
    scores = ", ".join(f"{s.name} {s.recall:.0%}" for s in accuracy.per_class if not math.isnan(s.recall))
    alt = f"Confusion matrix. Share of each true class that was found: {scores}."
    return figure_picture(plot_confusion(accuracy), alt, "Rows: what it is. Columns: what the model says")


def figure_picture(figure: Figure, alt: str, caption: str) -> Picture:
    """A figure as a picture."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
    width, height = (round(side * _DPI) for side in figure.get_size_inches())
    return Picture(stream.getvalue(), alt, caption, width, height)


def short_count(number: int) -> str:
    """A count in three or four characters: 950, 12k, 3.4M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            value = number / size
            return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"
    return str(number)


def _shown_classes(accuracy: PixelAccuracy) -> tuple[list[ClassInfo], np.ndarray]:
    """Classes that occur, with their counts (K, K)."""
    counts = accuracy.confusion.counts
    occurs = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    return [accuracy.classes[index] for index in occurs], counts[np.ix_(occurs, occurs)]


def _name_ticks(axes: "Axes", names: Sequence[str]) -> None:
    steep = len(names) > 6 or any(len(name) > 11 for name in names)
    axes.set_xticks(range(len(names)), names, rotation=35 if steep else 0, ha="right" if steep else "center")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0, labelsize=9, labelcolor=_INK)
    axes.set_xlabel("given", color=_QUIET, fontsize=9)
    axes.set_ylabel("true", color=_QUIET, fontsize=9)
    axes.spines[:].set_visible(False)


def _lines(axes: "Axes", epochs: Sequence[int], title: str, lines: dict[str, list[float]]) -> None:
    for (name, values), color in zip(lines.items(), _SERIES, strict=False):
        axes.plot(epochs, values, marker="o", markersize=3, color=color, label=name, linewidth=1.8)
    axes.set_title(title, fontsize=10, color=_INK, loc="left")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9, labelcolor=_INK)
    axes.legend(frameon=False, fontsize=9)


def _image(pixels: np.ndarray, alt: str, caption: str) -> Picture:
    stream = io.BytesIO()
    write: Any = matplotlib.image.imsave
    write(stream, np.ascontiguousarray(pixels), format="png", metadata={"Software": None})
    return Picture(stream.getvalue(), alt, caption, pixels.shape[1], pixels.shape[0])
