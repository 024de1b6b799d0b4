"""What training asks of a task: how good the model is on a batch, and figures over all of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, final

import torch

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.metrics.change import ChangeScores
from rasterloom.pipeline.metrics.objects import Matches
from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.metrics.scenes import LabelCounts


class Judge(ABC):
    """Gathers what a model makes of validation batches into figures.

    A tally is what one batch adds: a value that is pickled when ranks put theirs together, in rank order.
    """

    columns: ClassVar[tuple[str, ...]]
    """Columns of the training table beside the losses; higher is better."""

    def __init__(self, model: ImageryModel) -> None:
        self.model = model

    @abstractmethod
    def tally(self, predictions: Any, batch: Any) -> Any:
        """What one batch adds.

        Parameters
        ----------
        predictions
            The second value of ``model.judged(batch)``.
        """

    @abstractmethod
    def merged(self, tallies: Iterable[Any]) -> Any:
        """One tally of many."""

    @abstractmethod
    def figures(self, tally: Any) -> dict[str, float]:
        """A number for each of :attr:`columns`; not a number where nothing was seen."""


@final
class PixelJudge(Judge):
    """Counts pixels of each true class by the class they were given."""

    columns = ("accuracy", "miou", "dice")

    def tally(self, predictions: torch.Tensor, batch: Any) -> torch.Tensor:
        """Counts (K, K) int64 on the batch's device.

        Pixels of classes that the model ignores, or whose target is negative, count nowhere.
        """
        values, ignored = self.model.spec.output_values, set(getattr(self.model, "ignored_values", ()))
        left_out = [position for position, value in enumerate(values) if value in ignored]
        return count_batch(predictions, batch[1], len(values), left_out=left_out)

    def merged(self, tallies: Iterable[torch.Tensor]) -> torch.Tensor:
        """The sum, on the CPU."""
        return _summed(tallies, len(self.model.spec.output_values))

    def figures(self, tally: torch.Tensor) -> dict[str, float]:
        """Accuracy, and means over the classes that count."""
        confusion = Confusion(self.model.spec.output_values, tally.cpu().numpy())
        unscored = tuple(getattr(self.model, "unscored_values", ()))
        return {
            "accuracy": confusion.accuracy,
            "miou": confusion.mean_iou(unscored),
            "dice": confusion.mean_f1(unscored),
        }


@final
class ObjectJudge(Judge):
    """Matches found objects with true ones that they overlap by half."""

    columns = ("average_precision",)

    def tally(self, predictions: Any, batch: Any) -> Matches:
        """The matches of each chip."""
        return match_batch(predictions, batch[1], len(self.model.spec.classes))

    def merged(self, tallies: Iterable[Matches]) -> Matches:
        """All matches, in the order of the tallies."""
        return Matches.merged([Matches.empty(len(self.model.spec.classes)), *tallies])

    def figures(self, tally: Matches) -> dict[str, float]:
        """Average precision at an intersection over union of 0.5, the mean over the classes."""
        return {"average_precision": tally.mean_average_precision()}


@final
class ChangeJudge(Judge):
    """Counts pixels of each true change by what was found there."""

    columns = ("precision", "recall", "f1", "iou")

    def tally(self, predictions: torch.Tensor, batch: Any) -> torch.Tensor:
        """Counts (K, K) int64 on the batch's device; pixels whose target is negative count nowhere."""
        return count_batch(predictions, batch[1], len(self.model.spec.output_values))

    def merged(self, tallies: Iterable[torch.Tensor]) -> torch.Tensor:
        """The sum, on the CPU."""
        return _summed(tallies, len(self.model.spec.output_values))

    def figures(self, tally: torch.Tensor) -> dict[str, float]:
        """Figures of the changed pixels of all batches."""
        scores = ChangeScores(Confusion(self.model.spec.output_values, tally.cpu().numpy()))
        return {name: getattr(scores, name) for name in self.columns}


@final
class SceneJudge(Judge):
    """Counts chips of each true class by the class they were given; of several labels, each by itself."""

    columns = ("accuracy", "f1")

    def tally(self, predictions: torch.Tensor, batch: Any) -> torch.Tensor:
        """Counts (K, K) int64, or (K, 2, 2) where chips have several labels; see :func:`count_labels`."""
        several = bool(getattr(self.model, "multilabel", False))
        return count_labels(predictions, batch[1], several=several)

    def merged(self, tallies: Iterable[torch.Tensor]) -> torch.Tensor:
        """The sum, on the CPU."""
        size = len(self.model.spec.output_values)
        several = bool(getattr(self.model, "multilabel", False))
        total = torch.zeros((size, 2, 2) if several else (size, size), dtype=torch.int64)
        for counts in tallies:
            total += counts.cpu()
        return total

    def figures(self, tally: torch.Tensor) -> dict[str, float]:
        """Share of right labels, and F1, the mean over the classes."""
        scores = scene_scores(self.model, tally)
        return {"accuracy": scores.accuracy, "f1": scores.mean_f1()}


_JUDGES: dict[Task, type[Judge]] = {
    Task.PIXELS: PixelJudge,
    Task.OBJECTS: ObjectJudge,
    Task.SCENES: SceneJudge,
    Task.CHANGE: ChangeJudge,
}


def judge_for(model: ImageryModel) -> Judge:
    """What judges models of this task.

    Raises
    ------
    SettingError
        If models of the task are not trained.
    """
    if model.spec.task not in _JUDGES:
        raise SettingError(f"a {model.spec.model} is not trained: it is for {model.spec.task}.")
    return _JUDGES[model.spec.task](model)


def count_batch(
    positions: torch.Tensor, targets: torch.Tensor, classes: int, *, left_out: Sequence[int] = ()
) -> torch.Tensor:
    """Pixels of each true class by the class they were given, (K, K) int64 on the tensors' device.

    Pixels whose target is negative or among ``left_out`` count nowhere.
    """
    counted = targets >= 0
    for position in left_out:
        counted &= targets != position
    pairs = targets[counted] * classes + positions[counted]
    return torch.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def count_labels(
    probabilities: torch.Tensor, labels: torch.Tensor, *, several: bool, threshold: float = 0.5
) -> torch.Tensor:
    """Chips of each true class by the class they were given, int64 on the tensors' device.

    Parameters
    ----------
    probabilities
        (N, K) of each class for each chip.
    labels
        (N,) positions, negative for chips that count nowhere; or with ``several`` (N, K), 1 where a class
        occurs.
    threshold
        With ``several``, least probability of a class that a chip is given.

    Returns
    -------
    torch.Tensor
        (K, K), rows are the truth; with ``several`` (K, 2, 2), for each class chips without it and with it
        by whether they were given it.
    """
    classes = probabilities.shape[1]
    if not several:
        return count_batch(probabilities.argmax(dim=1), labels, classes)
    truth, given = (labels > 0.5).long(), (probabilities >= threshold).long()
    pairs = 4 * torch.arange(classes, device=labels.device) + 2 * truth + given
    return torch.bincount(pairs.flatten(), minlength=4 * classes).reshape(classes, 2, 2)


def scene_scores(model: Any, tally: torch.Tensor) -> Confusion | LabelCounts:
    """What counts of :func:`count_labels` say of a model."""
    kind = LabelCounts if getattr(model, "multilabel", False) else Confusion
    return kind(model.spec.output_values, tally.cpu().numpy())


def match_batch(
    found: Sequence[Mapping[str, torch.Tensor]],
    targets: Sequence[Mapping[str, torch.Tensor]],
    classes: int,
    *,
    iou: float = 0.5,
    masks: bool = False,
) -> Matches:
    """Found objects against the true ones of the same chips, on the CPU.

    Parameters
    ----------
    iou
        Least intersection over union of a match.
    masks
        Whether outlines are compared instead of boxes.
    """
    parts = [
        Matches.of(_plain(target), _plain(chip), classes=classes, iou=iou, masks=masks)
        for target, chip in zip(targets, found, strict=True)
    ]
    return Matches.merged([Matches.empty(classes), *parts])


def _summed(tallies: Iterable[torch.Tensor], size: int) -> torch.Tensor:
    total = torch.zeros((size, size), dtype=torch.int64)
    for counts in tallies:
        total += counts.cpu()
    return total


def _plain(chip: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    names = ("boxes", "labels", "scores", "masks")
    return {name: chip[name].cpu().numpy() for name in names if name in chip}
