"""Training as pictures: losses, learning rates, results beside the truth."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.models.history import History
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.datasets.pictures import (
    add_legend,
    check_stretch,
    chip_picture,
    class_colors,
    new_figure,
    overlay_objects,
    show_in_notebook,
    true_color,
)
from rasterloom.pipeline.training.evaluate import fastest_device, judging, predicted
from rasterloom.pipeline.training.rates import RateCurve

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_losses(history: History) -> "Figure":
    """A picture of the training and validation losses over the epochs.

    Raises
    ------
    SettingError
        If nothing was trained yet.
    """
    if not history.rows:
        raise SettingError("there are no losses to plot: call fit first.")
    figure, axes = _plot("epoch", "loss")
    epochs = [row.epoch for row in history.rows]
    axes.plot(epochs, [row.train_loss for row in history.rows], marker=".", label="training")
    axes.plot(epochs, [row.valid_loss for row in history.rows], marker=".", label="validation")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure


def plot_rates(curve: RateCurve) -> "Figure":
    """A picture of the loss against the learning rate, the chosen rate marked."""
    figure, axes = _plot("learning rate", "loss")
    axes.plot(curve.rates, curve.losses)
    axes.set_xscale("log")
    loss = float(np.interp(np.log(curve.best), np.log(curve.rates), curve.losses))
    axes.plot([curve.best], [loss], "o", color="tab:red", label=f"{curve.best:.2g}")
    axes.legend(frameon=False)
    return figure


def show_results(model: ImageryModel, data: ImageryData, rows: int = 5, **kwargs: Any) -> "Figure":
    """A picture of validation chips: image, truth and what the model makes of it; objects lie on the image.

    Parameters
    ----------
    rows
        Chips to show, taken evenly over the validation set.
    kwargs
        ``rgb_bands``: three names or positions of bands; ``statistics_percent``: percentiles that become
        black and white, such as ``(2, 98)``; ``alpha``: opacity of the classes over the image, 0 to 1 (1;
        0.45 for outlines). Of objects also ``thresh``: least score (0.5), and ``nms_overlap``: of objects
        that overlap more than this the most certain one is shown (0.1).

    Raises
    ------
    SettingError
        If a setting cannot work.
    """
    if not isinstance(rows, int) or rows < 1:
        raise SettingError(f"rows={rows!r} cannot work: give a whole number, 1 or more.")
    if model.spec.task == Task.OBJECTS:
        return _show_objects(model, data, rows, **kwargs)
    check_stretch(kwargs)
    alpha = float(kwargs.pop("alpha", 1.0))
    images, targets, positions = _some_results(model, data, rows)
    figure = new_figure(rows=len(images), columns=3, titles=("image", "truth", "prediction"))
    for number, (image, target, position) in enumerate(zip(images, targets, positions, strict=True)):
        picture = true_color(image, bands=data.bands, **kwargs)
        first, second, third = figure.axes[3 * number : 3 * number + 3]
        first.imshow(picture, interpolation="nearest")
        for panel, classes in ((second, target), (third, position)):
            colors = class_colors(classes, data.classes)
            panel.imshow(alpha * colors + (1 - alpha) * picture, interpolation="nearest")
    add_legend(figure, data.classes)
    return figure


def _show_objects(
    model: Any,
    data: ImageryData,
    rows: int,
    *,
    thresh: float = 0.5,
    nms_overlap: float = 0.1,
    alpha: float = 0.45,
    **stretch: Any,
) -> "Figure":
    check_stretch(stretch)
    figure, number = None, 0
    device, some = fastest_device(), _some_chips(data, rows)
    with judging(model.network, device):
        for images, targets in some.valid_loader(device=device):
            found = model.detect(images, threshold=thresh, nms_overlap=nms_overlap)
            if figure is None:
                figure = new_figure(rows=len(some.valid), columns=2, titles=("truth", "prediction"))
            for image, *both in zip(images.cpu().numpy(), targets, found, strict=True):
                for panel, objects in zip(figure.axes[number : number + 2], both, strict=True):
                    chip_picture(panel, image, data.bands, **stretch)
                    drawn = {name: values.cpu() for name, values in objects.items()}
                    overlay_objects(panel, drawn, data.classes, alpha=alpha)
                number += 2
    assert figure is not None  # a validation set has a chip at least
    add_legend(figure, data.classes)
    return figure


def _some_results(
    model: ImageryModel, data: ImageryData, rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (n, C, H, W), truth and prediction (n, H, W) of at most ``rows`` chips."""
    some = _some_chips(data, rows)
    device, parts = fastest_device(), []
    with judging(model.network, device):
        for images, targets in some.valid_loader(device=device):
            parts.append((images, targets, predicted(model, images)))
    joined = [np.concatenate([part[column].cpu().numpy() for part in parts]) for column in range(3)]
    return joined[0], joined[1], joined[2]


def _some_chips(data: ImageryData, rows: int) -> ImageryData:
    """The data with at most ``rows`` chips to validate, taken evenly."""
    indices = data.valid.indices
    chosen = np.unique(np.linspace(0, len(indices) - 1, min(rows, len(indices))).round().astype(int))
    return replace(data, valid=replace(data.valid, indices=indices[chosen]))


def _plot(across: str, up: str) -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    show_in_notebook()
    return figure, axes
