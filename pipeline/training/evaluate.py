"""A model judged on the validation set."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.progress import track
from torch import nn

from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.training.learning import count_batch


def evaluate(model: ImageryModel, data: ImageryData, show_progress: bool = True) -> Confusion:
    """Count what the model makes of the validation chips.

    The network is left as it was: on its device, training or not.

    Parameters
    ----------
    show_progress
        Whether a bar shows how far it is.
    """
    device = fastest_device()
    loader = data.valid_loader(device=device)
    counts = torch.zeros((len(data.output_values),) * 2, dtype=torch.int64, device=device)
    with judging(model.network, device):
        for images, targets in track(
            loader, total=len(loader), description="validation", transient=True, disable=not show_progress
        ):
            counts += count_batch(predicted(model, images), targets, len(counts))
    return Confusion(data.output_values, counts.cpu().numpy())


def predicted(model: ImageryModel, images: torch.Tensor) -> torch.Tensor:
    """Position of the likeliest class of each pixel, (N, H, W) int64."""
    return model.probabilities(model.network(images)).argmax(dim=1)


def fastest_device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


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
