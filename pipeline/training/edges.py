"""A model for edges judged on the validation set, and its edges as pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import track
from skimage.morphology import thin

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.datasets.pictures import (
    add_legend,
    check_stretch,
    class_colors,
    new_figure,
    true_color,
)
from rasterloom.pipeline.metrics.edges import EdgeCounts, count_edges
from rasterloom.pipeline.training.evaluate import fastest_device, judging

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def judge_edges(
    model: Any,
    data: ImageryData,
    *,
    thresholds: Sequence[float],
    buffer: float,
    thinning: bool = False,
    show_progress: bool = True,
) -> EdgeCounts:
    """Count the edges that a model finds in the validation chips against the true ones, chip by chip.

    Pixels without a label count for nothing.

    Parameters
    ----------
    thresholds, buffer, thinning
        As for :func:`~rasterloom.pipeline.metrics.edges.count_edges`.
    show_progress
        Whether a bar shows how far it is.

    Raises
    ------
    SettingError
        If a number cannot work.
    """
    settings: dict[str, Any] = {"thresholds": thresholds, "buffer": buffer, "thinning": thinning}
    nothing = np.zeros((1, 1))
    count_edges(nothing > 0, nothing, **settings)  # refuses what cannot work before the network runs
    chips = _seen(model, data, show_progress=show_progress)
    return EdgeCounts.merged(
        count_edges(target > 0, probability, known=target >= 0, **settings)
        for _, target, probability in chips
    )


def show_edges(
    model: Any,
    data: ImageryData,
    rows: int = 5,
    *,
    thresh: float = 0.5,
    thinning: bool = True,
    alpha: float = 1.0,
    **stretch: Any,
) -> "Figure":
    """A picture of validation chips: image, true edges and those found.

    Parameters
    ----------
    rows
        Chips to show, taken evenly over the validation set.
    thresh
        Probability, 0 to 1, from which on a pixel counts as found.
    thinning
        Whether what is found is thinned to lines one pixel wide.
    alpha
        Opacity of the edges over the image, 0 to 1.
    stretch
        ``rgb_bands`` and ``statistics_percent``, as for
        :func:`~rasterloom.pipeline.datasets.pictures.true_color`.

    Raises
    ------
    SettingError
        If a setting cannot work.
    """
    if not isinstance(rows, int) or rows < 1:
        raise SettingError(f"rows={rows!r} cannot work: give a whole number, 1 or more.")
    if not 0 <= thresh <= 1:
        raise SettingError(f"thresh={thresh!r} is no probability: use a number from 0 to 1.")
    check_stretch(stretch)
    indices = data.valid.indices
    chosen = np.unique(np.linspace(0, len(indices) - 1, min(rows, len(indices))).round().astype(int))
    some = replace(data, valid=replace(data.valid, indices=indices[chosen]))
    figure = new_figure(rows=len(chosen), columns=3, titles=("image", "truth", "prediction"))
    for number, (image, target, probability) in enumerate(_seen(model, some, show_progress=False)):
        found = probability >= thresh
        picture = true_color(image, bands=data.bands, **stretch)
        first, second, third = figure.axes[3 * number : 3 * number + 3]
        first.imshow(picture, interpolation="nearest")
        for panel, edges in ((second, target > 0), (third, thin(found) if thinning else found)):
            colors = class_colors(edges.astype(int), data.classes)
            panel.imshow(alpha * colors + (1 - alpha) * picture, interpolation="nearest")
    add_legend(figure, data.classes)
    return figure


def _seen(
    model: Any, data: ImageryData, *, show_progress: bool
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Each validation chip (C, H, W), its targets (H, W) and its probability of being an edge (H, W)."""
    device = fastest_device()
    loader = data.valid_loader(device=device)
    batches = track(
        loader, total=len(loader), description="validation", transient=True, disable=not show_progress
    )
    with judging(model.network, device):
        for images, targets in batches:
            probabilities = model.probabilities(model.network(images).float())[:, 1]
            yield from zip(
                images.cpu().numpy(), targets.cpu().numpy(), probabilities.cpu().numpy(), strict=True
            )
