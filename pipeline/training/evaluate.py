"""A model judged on the validation set."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from rich.progress import track
from torch import nn

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.models.services import service
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.metrics.change import ChangeScores
from rasterloom.pipeline.metrics.objects import Matches
from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.metrics.scenes import LabelCounts
from rasterloom.pipeline.training.learning import judge_for, match_batch, scene_scores
from rasterloom.pipeline.training.processor import cpu_is_wanted


def evaluate(
    model: ImageryModel, data: ImageryData, show_progress: bool = True, **settings: float
) -> Confusion | Matches | ChangeScores | LabelCounts:
    """Judge the model on the validation chips.

    The network is left as it was: on its device, training or not.

    Parameters
    ----------
    show_progress
        Whether a bar shows how far it is.
    settings
        Of models for objects: ``threshold`` (0.05), the least score of an object that counts; ``iou`` (0.5),
        the least intersection over union with the true one; ``masks`` (False), whether outlines are compared
        instead of boxes; ``tta`` (False), whether chips are seen in their eight flips and rotations too.

    Returns
    -------
    Confusion, Matches, ChangeScores or LabelCounts
        Pixels of each true class by the class they were given; or of each found object whether it is right;
        or how well changed pixels are found; or chips, of one label each, by the class they were given, or
        chips with and without each class by whether they were given it.

    Raises
    ------
    SettingError
        If models of the task are not judged, or a setting is not known.
    """
    if model.spec.task not in _EVALUATIONS:
        raise SettingError(f"a {model.spec.model} is not judged: it is for {model.spec.task}.")
    known = _SETTINGS[model.spec.task]
    if unknown := sorted(set(settings) - set(known)):
        raise SettingError(
            f"evaluate does not take {', '.join(unknown)} for {model.spec.task}: it takes "
            f"{', '.join(('show_progress', *known))}."
        )
    device = fastest_device()
    loader = data.valid_loader(device=device)
    batches = track(
        loader, total=len(loader), description="validation", transient=True, disable=not show_progress
    )
    with judging(model.network, device):
        return _EVALUATIONS[model.spec.task](model, data, batches, **settings)


def predicted(model: Any, images: torch.Tensor) -> torch.Tensor:
    """Position of the likeliest class of each pixel, (N, H, W) int64."""
    positions: torch.Tensor = model.probabilities(model.network(images)).argmax(dim=1)
    return positions


def predicted_change(model: Any, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Position of the likeliest class of change of each pixel, (N, H, W) int64; 0 is no change."""
    positions: torch.Tensor = model.probabilities(model.change_logits(before, after)).argmax(dim=1)
    return positions


def fastest_device() -> torch.device:
    """The first GPU if there is one and the caller has not asked for the CPU, else the CPU."""
    on_gpu = torch.cuda.is_available() and not cpu_is_wanted()
    return torch.device("cuda", 0) if on_gpu else torch.device("cpu")


def placed(network: nn.Module, device: torch.device, layout: torch.memory_format) -> nn.Module:
    """The same network, its weights moved to a device and laid out for it."""
    return network.to(device).to(memory_format=layout)


@contextmanager
def judging(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, the network is on ``device``, channels last, not training, and keeps no gradients."""
    home = next((p.device for p in network.parameters()), torch.device("cpu"))
    modes = [(part, part.training) for part in network.modules()]
    placed(network, device, torch.channels_last).eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        placed(network, home, torch.contiguous_format)
        for part, was_training in modes:
            part.training = was_training


def _of_pixels(model: ImageryModel, data: ImageryData, batches: Any) -> Confusion:
    judge = judge_for(model)
    counts = judge.merged(judge.tally(predicted(model, batch[0]), batch) for batch in batches)
    return Confusion(data.output_values, counts.numpy())


def _of_change(model: Any, data: ImageryData, batches: Any) -> ChangeScores:
    judge = judge_for(model)
    counts = judge.merged(judge.tally(predicted_change(model, *batch[0]), batch) for batch in batches)
    return ChangeScores(Confusion(data.output_values, counts.numpy()))


def _of_scenes(model: Any, data: ImageryData, batches: Any) -> Confusion | LabelCounts:
    judge = judge_for(model)
    tallies = (judge.tally(model.classify_chips(batch[0]), batch) for batch in batches)
    return scene_scores(model, judge.merged(tallies))


def _of_objects(
    model: Any,
    data: ImageryData,
    batches: Any,
    *,
    threshold: float = 0.05,
    iou: float = 0.5,
    masks: bool = False,
    tta: bool = False,
) -> Matches:
    count = len(data.classes)
    matches = Matches.empty(count)
    for images, targets in batches:
        found = find_objects(model, images, threshold=threshold, tta=tta)
        matches = Matches.merged([matches, match_batch(found, targets, count, iou=iou, masks=masks)])
    return matches


def find_objects(
    model: Any, images: torch.Tensor, *, tta: bool = False, **settings: float
) -> list[Mapping[str, torch.Tensor]]:
    """The objects of chips; with ``tta`` what their eight flips and rotations show, put together."""
    if not tta:
        return list(model.detect(images, **settings))
    return list(service("find_all_ways")(model, images, **settings))


_EVALUATIONS: dict[Task, Callable[..., Confusion | Matches | ChangeScores | LabelCounts]] = {
    Task.PIXELS: _of_pixels,
    Task.SCENES: _of_scenes,
    Task.OBJECTS: _of_objects,
    Task.CHANGE: _of_change,
}
_SETTINGS: dict[Task, tuple[str, ...]] = {
    Task.PIXELS: (),
    Task.SCENES: (),
    Task.OBJECTS: ("threshold", "iou", "masks", "tta"),
    Task.CHANGE: (),
}
