"""Training as pictures: losses, learning rates, results beside the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from rasterloom.models.contract import ClassInfo, Task
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
from rasterloom.pipeline.training.evaluate import (
    fastest_device,
    find_objects,
    judging,
    predicted,
    predicted_change,
)
from rasterloom.pipeline.training.rates import RateCurve
from rasterloom.pipeline.training.scene_pictures import show_scenes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE = 2.6
"""Of a picture, in inches."""
_COLOURS = 20
"""As many as matplotlib's tab20 has."""


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

    Of change there are the images of both dates, the true and the found one.

    Parameters
    ----------
    rows
        Chips to show, taken evenly over the validation set.
    kwargs
        ``rgb_bands``: three names or positions of bands; ``statistics_percent``: percentiles that become
        black and white, such as ``(2, 98)``; ``alpha``: opacity of the classes over the image, 0 to 1 (1;
        0.45 for outlines). Of objects also ``thresh``: least score (0.5); ``nms_overlap``: of objects that
        overlap more than this the most certain one is shown (0.1); ``mode``: ``mask`` draws outlines where
        there are some, ``bbox`` boxes, ``bbox_mask`` both; ``cmap``: a colour map of matplotlib for outlines,
        whose colours objects take in turn, instead of the colours of classes; ``side``: of each picture in
        inches (2.6); ``first``: chip to begin with (0); ``tta``: whether chips are also seen turned and
        mirrored; ``mask_threshold``: least probability of a pixel of an outline, where the model knows it.
        Of whole chips, four of which make a row, ``thresh``: least probability of one of several labels.

    Raises
    ------
    SettingError
        If a setting cannot work.
    """
    if not isinstance(rows, int) or rows < 1:
        raise SettingError(f"rows={rows!r} cannot work: give a whole number, 1 or more.")
    if model.spec.task == Task.OBJECTS:
        return _show_objects(model, data, rows, **kwargs)
    if model.spec.task == Task.SCENES:
        return show_scenes(model, data, rows, **kwargs)
    if model.spec.task == Task.CHANGE:
        return _show_change(model, data, rows, **kwargs)
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
    mode: str = "mask",
    cmap: str | None = None,
    side: float = _SIDE,
    first: int = 0,
    tta: bool = False,
    mask_threshold: float | None = None,
    **stretch: Any,
) -> "Figure":
    check_stretch(stretch)
    colours = None if cmap is None else _colour_map(cmap)
    some = _some_chips(data, rows, first=first)
    settings = {"threshold": thresh, "nms_overlap": nms_overlap}
    if mask_threshold is not None:
        settings["mask_threshold"] = mask_threshold
    titles = ("truth", "prediction")
    figure = new_figure(rows=len(some.valid), columns=2, side=side, titles=titles)
    panels, device = iter(figure.axes), fastest_device()
    with judging(model.network, device):
        for images, targets in some.valid_loader(device=device):
            found = find_objects(model, images, tta=tta, **settings)
            for image, *both in zip(images.cpu().numpy(), targets, found, strict=True):
                for objects in both:
                    panel = next(panels)
                    chip_picture(panel, image, data.bands, **stretch)
                    _draw(panel, objects, data.classes, mode=mode, colours=colours, alpha=alpha)
    if colours is None or mode != "mask":
        add_legend(figure, data.classes)
    return figure


def _show_change(model: Any, data: ImageryData, rows: int, *, alpha: float = 1.0, **stretch: Any) -> "Figure":
    check_stretch(stretch)
    some = _some_chips(data, rows)
    titles = ("before", "after", "truth", "prediction")
    figure = new_figure(rows=len(some.valid), columns=len(titles), titles=titles)
    panels, device = iter(figure.axes), fastest_device()
    with judging(model.network, device):
        for (before, after), targets in some.valid_loader(device=device):
            found = predicted_change(model, before, after)
            for first, second, *maps in zip(before, after, targets, found, strict=True):
                for image, bands in ((first, data.bands), (second, data.bands2 or data.bands)):
                    chip_picture(next(panels), image.cpu().numpy(), bands, **stretch)
                under = true_color(second.cpu().numpy(), bands=data.bands2 or data.bands, **stretch)
                for positions in maps:
                    colors = class_colors(positions.cpu().numpy(), data.classes)
                    next(panels).imshow(alpha * colors + (1 - alpha) * under, interpolation="nearest")
    add_legend(figure, data.classes)
    return figure


def _draw(
    panel: Any,
    objects: Mapping[str, Any],
    classes: Sequence[ClassInfo],
    *,
    mode: str,
    colours: Sequence[tuple[int, int, int]] | None,
    alpha: float,
) -> None:
    """Outlines, boxes or both of the objects of one chip."""
    known = {name: values.cpu() for name, values in objects.items()}
    boxes = {name: values for name, values in known.items() if name != "masks"}
    if mode != "bbox" and "masks" in known:
        outlines, shades = known, classes
        if colours is not None:
            count = len(known["labels"])
            shades = [ClassInfo(n + 1, "", colours[n % len(colours)]) for n in range(count)]
            outlines = {**known, "labels": range(1, count + 1)}
        overlay_objects(panel, outlines, shades, alpha=alpha)
    if mode != "mask" or "masks" not in known:
        overlay_objects(panel, boxes, classes, alpha=alpha)


def _colour_map(name: str) -> list[tuple[int, int, int]]:
    """Twenty colours of a colour map of matplotlib, 0..255."""
    from matplotlib import colormaps

    if name not in colormaps:
        raise SettingError(f"cmap={name!r} is no colour map of matplotlib: use 'tab20' or 'viridis', say.")
    colours = colormaps[name](np.linspace(0, 1, _COLOURS), bytes=True)
    return [(int(red), int(green), int(blue)) for red, green, blue, _ in colours]


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


def _some_chips(data: ImageryData, rows: int, *, first: int = 0) -> ImageryData:
    """The data with at most ``rows`` chips to validate, taken evenly from ``first`` on."""
    last = len(data.valid.indices) - 1
    if not isinstance(first, int) or not 0 <= first <= last:
        raise SettingError(f"index={first!r} is no chip: the validation set has those from 0 to {last}.")
    indices = data.valid.indices[first:]
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
