"""What training asks of a task: how good the model is on a batch, and figures over all of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, final

import torch

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.metrics.objects import Matches
from rasterloom.pipeline.metrics.pixels import Confusion


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
        size = len(self.model.spec.output_values)
        total = torch.zeros((size, size), dtype=torch.int64)
        for counts in tallies:
            total += counts.cpu()
        return total

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


_JUDGES: dict[Task, type[Judge]] = {Task.PIXELS: PixelJudge, Task.OBJECTS: ObjectJudge}


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


def _plain(chip: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    names = ("boxes", "labels", "scores", "masks")
    return {name: chip[name].cpu().numpy() for name in names if name in chip}
