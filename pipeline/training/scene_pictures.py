"""Labels of whole chips as pictures: results beside the truth, the confusion, and the hardest chips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.datasets.pictures import check_stretch, chip_picture, new_figure, short_title
from rasterloom.pipeline.training.evaluate import fastest_device, judging
from rasterloom.pipeline.training.learning import count_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RIGHT, _WRONG = "#1a7f37", "#c1121f"
_ACROSS = 4
"""Chips in a row of pictures."""
_HEAT = "inferno"
_MOST_NAMES = 20
"""Classes whose counts are written into the confusion matrix; of more only the colours can be read."""


@dataclass(frozen=True)
class _Seen:
    """A chip with what is known of it and what the model makes of it."""

    image: np.ndarray
    truth: np.ndarray
    """(K,) whether it is of each class."""
    probabilities: np.ndarray
    loss: float
    place: int
    """Among the validation chips."""


def show_scenes(
    model: Any, data: ImageryData, rows: int = 5, *, thresh: float = 0.5, **stretch: Any
) -> "Figure":
    """A picture of validation chips, four in a row: what each is, and what the model makes of it.

    Parameters
    ----------
    rows
        Rows of pictures; the chips are taken evenly over the validation set.
    thresh
        Of chips with several labels: least probability of a class that a chip is given.
    stretch
        As for ``show_results``.
    """
    check_stretch(stretch)
    stretch.pop("alpha", None)
    count = len(data.valid.indices)
    chosen = np.unique(np.linspace(0, count - 1, min(rows * _ACROSS, count)).round().astype(int))
    some = replace(data, valid=replace(data.valid, indices=data.valid.indices[chosen]))
    seen = list(_looked_at(model, some))
    figure = new_figure(rows=-(-len(seen) // _ACROSS), columns=min(_ACROSS, len(seen)))
    for panel, chip in zip(figure.axes, seen, strict=False):
        chip_picture(panel, chip.image, data.bands, **stretch)
        _entitle(panel, chip, model, thresh)
    return figure


def plot_confusion(model: Any, data: ImageryData, *, thresh: float = 0.5) -> "Figure":
    """A picture of the validation chips of each class by the class they were given.

    Chips of several labels have a table for each class: whether it occurs by whether it was given.
    """
    if isinstance(thresh, bool) or not isinstance(thresh, int | float) or not 0 <= thresh <= 1:
        raise SettingError(f"thresh={thresh!r} cannot work: use a number from 0 to 1.")
    counts: Any = 0
    device, several = fastest_device(), bool(model.multilabel)
    with judging(model.network, device):
        for images, labels in data.valid_loader(device=device):
            likely = model.classify_chips(images)
            counts = counts + count_labels(likely, labels, several=several, threshold=thresh).cpu()
    table, classes = np.asarray(counts), model.output_classes
    if not several:
        figure = new_figure(rows=1, columns=1, side=max(4.0, 0.55 * len(classes) + 2.0))
        _matrix(figure.axes[0], table, [info.name for info in classes])
        return figure
    columns = min(3, len(classes))
    figure = new_figure(rows=-(-len(classes) // columns), columns=columns, side=3.0)
    for panel, info, own in zip(figure.axes, classes, table, strict=False):
        _matrix(panel, own, ["no", "yes"])
        panel.set_title(info.name, fontsize=10)
    return figure


def plot_hard(model: Any, data: ImageryData, *, num_examples: int) -> "Figure":
    """A picture of the validation chips with the largest loss, each beside its heat.

    The heat shows where the score of what the model gave the chip comes from.
    """
    if isinstance(num_examples, bool) or not isinstance(num_examples, int) or num_examples < 1:
        raise SettingError(f"num_examples={num_examples!r} cannot work: give a whole number, 1 or more.")
    hardest: list[_Seen] = []
    for chip in _looked_at(model, data):
        hardest.append(chip)
        if len(hardest) >= 2 * num_examples + 64:  # not all chips at once
            hardest = _sorted(hardest)[:num_examples]
    hardest = _sorted(hardest)[:num_examples]
    figure = new_figure(rows=len(hardest), columns=2, titles=("", "heat"))
    device = fastest_device()
    with judging(model.network, device):
        for number, chip in enumerate(hardest):
            image = torch.from_numpy(chip.image)[None].to(device)
            position = torch.tensor([int(chip.probabilities.argmax())], device=device)
            heat = model.heat(image, position)[0].cpu().numpy()
            first, second = figure.axes[2 * number : 2 * number + 2]
            for panel in (first, second):
                chip_picture(panel, chip.image, data.bands)
            second.imshow(heat, cmap=_HEAT, alpha=0.5, vmin=0, vmax=1)
            _entitle(first, chip, model, 0.5)
            short_title(second, f"loss {chip.loss:.2f}")
    return figure


def _looked_at(model: Any, data: ImageryData) -> Iterator[_Seen]:
    """The validation chips in order; those of no class are left out where each has one."""
    device, place = fastest_device(), 0
    outputs = len(model.spec.output_values)
    with judging(model.network, device):
        for images, labels in data.valid_loader(device=device):
            likely = model.classify_chips(images)
            losses = _losses(likely, labels, several=model.multilabel)
            for image, label, shares, loss in zip(
                images.cpu().numpy(), labels.cpu(), likely.cpu().numpy(), losses.tolist(), strict=True
            ):
                truth = label.numpy() > 0.5 if model.multilabel else np.arange(outputs) == int(label)
                if model.multilabel or truth.any():
                    yield _Seen(np.ascontiguousarray(image), truth, shares, loss, place)
                place += 1


def _losses(likely: torch.Tensor, labels: torch.Tensor, *, several: bool) -> torch.Tensor:
    """(N,) minus the logarithm of the probability of the truth."""
    if several:
        return F.binary_cross_entropy(likely, labels.float(), reduction="none").sum(dim=1)
    picked = likely.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    return -picked.clamp(min=1e-12).log()


def _sorted(seen: list[_Seen]) -> list[_Seen]:
    return sorted(seen, key=lambda chip: (-chip.loss, chip.place))


def _entitle(panel: "Axes", chip: _Seen, model: Any, thresh: float) -> None:
    """The truth and the answer above a chip, the answer in green where it is right and in red elsewhere."""
    classes = model.output_classes
    if model.multilabel:
        given = chip.probabilities >= thresh
        told = _names(classes, given)
    else:
        given = np.arange(len(classes)) == chip.probabilities.argmax()
        told = f"{_names(classes, given)} {chip.probabilities.max():.0%}"
    right = bool((given == chip.truth).all())
    short_title(panel, told if right else f"{told}, is {_names(classes, chip.truth)}")
    panel.title.set_color(_RIGHT if right else _WRONG)


def _names(classes: Sequence[ClassInfo], chosen: np.ndarray) -> str:
    return ", ".join(info.name for info, there in zip(classes, chosen, strict=True) if there) or "none"


def _matrix(panel: "Axes", counts: np.ndarray, names: Sequence[str]) -> None:
    """Counts as a table whose colours are shares of each row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    panel.set_axis_on()
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    places = np.arange(len(names))
    panel.set_xticks(places, [name[:16] for name in names], rotation=90 if len(names) > 3 else 0, fontsize=8)
    panel.set_yticks(places, [name[:16] for name in names], fontsize=8)
    panel.set_xlabel("given")
    panel.set_ylabel("true")
    if len(names) > _MOST_NAMES:
        return
    for (row, column), count in np.ndenumerate(counts):
        ink = "white" if shares[row, column] > 0.6 else "black"
        panel.text(column, row, f"{count:,}", ha="center", va="center", color=ink, fontsize=8)
