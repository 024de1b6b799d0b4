"""One look at a foreign network before it is believed: whether it scores all pixels, for how many classes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rasterloom.models.errors import ModelMismatchError, RasterloomError
from rasterloom.models.networks.outputs import PixelOutputs

_MULTIPLES = (2, 4, 8, 16, 32, 64)
"""Strides that networks have."""
_FAULTS = (RuntimeError, ValueError, TypeError, AttributeError, AssertionError, LookupError)
_CHANNELS = re.compile(r"to have (\d+) channels, but got (\d+) channels")
_TOLERANCE = 0.01
"""How far scores of one chip may differ between batches, as a share of the largest score."""


@dataclass(frozen=True)
class Probe:
    """What a look at a network has shown."""

    channels: int
    """Channels of its answer, K."""
    smallest: float
    largest: float
    """Of all scores for noise."""


def probe(network: PixelOutputs, *, bands: int, tile_size: int) -> Probe:
    """Send noise through a network in evaluation mode, one chip and two.

    The network is in its own mode again afterwards.

    Parameters
    ----------
    bands
        Channels of the images.
    tile_size
        Their side, in pixels.

    Raises
    ------
    ModelMismatchError
        If it does not give finite scores for every pixel, or the scores of a chip depend on its company in
        the batch; the message says what would work.
    """
    chips = _noise(network, bands, tile_size)
    with evaluating(network), torch.no_grad():
        try:
            alone, pair = network.scores(chips[:1]), network.scores(chips)
            full = network(chips)
        except RasterloomError:
            raise
        except _FAULTS as error:
            raise ModelMismatchError(_explained(error, network, chips)) from error
    for scores in (alone, pair):
        if not torch.isfinite(scores).all():
            raise ModelMismatchError(
                "the network returns numbers that are not finite for noise between 0 and 1: its weights are "
                "not set, or its arithmetic overflows."
            )
    check_company(alone[0], pair[0])
    assert full.shape[-2:] == chips.shape[-2:], "scores are brought to the grid of the images"
    return Probe(alone.shape[1], float(pair.min()), float(pair.max()))


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Inside, the network is in evaluation mode; afterwards each part is in its own mode again."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _noise(network: PixelOutputs, bands: int, side: int, count: int = 2) -> Tensor:
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, bands, side, side, generator=generator).to(device)


def check_company(alone: Tensor, together: Tensor) -> None:
    """Refuse a network whose scores of one chip depend on the batch. Raises ModelMismatchError."""
    allowed = _TOLERANCE * max(float(alone.abs().max()), 1e-6)
    if float((alone - together).abs().max()) > allowed:
        raise ModelMismatchError(
            "the network gives a chip other scores when another chip is in the batch, or each time anew: "
            "something in it goes on as in training, such as dropout, or batch normalisation without "
            "running statistics. Such a map would depend on how the raster is cut."
        )


def _explained(error: Exception, network: PixelOutputs, chips: Tensor) -> str:
    bands, side = chips.shape[1], chips.shape[2]
    wanted = _bands_of(network, error)
    if wanted is not None and wanted != bands:
        return f"the network takes {wanted} bands, and bands says {bands}: name {wanted} bands."
    fitting = _fitting_size(network, bands, side)
    if fitting is not None:
        size, multiple = fitting
        return (
            f"tiles of {side} pixels cannot go through the network ({_short(error)}), and tiles of {size} "
            f"can: use tile_size={size}, tile_multiple={multiple}."
        )
    if side < 32 and _works(network, bands, 64):
        return f"tiles of {side} pixels are too small for the network: tiles of 64 can go through it."
    if _works(network, bands, side, training=True):
        return f"the network works in training mode only ({_short(error)}): inference needs evaluation mode."
    return f"the network fails on {tuple(chips.shape)} images, in evaluation mode: {_short(error)}"


def _bands_of(network: nn.Module, error: Exception) -> int | None:
    found = _CHANNELS.search(str(error))
    if found is None:
        return None
    for part in network.modules():  # another layer may be the one that complains
        if isinstance(part, nn.Conv2d):
            return part.in_channels
    return int(found[1])


def _fitting_size(network: PixelOutputs, bands: int, side: int) -> tuple[int, int] | None:
    for multiple in _MULTIPLES:
        size = -(-side // multiple) * multiple
        if size != side and _works(network, bands, size):
            return size, multiple
    return None


def _works(network: PixelOutputs, bands: int, side: int, *, training: bool = False) -> bool:
    network.train(training)
    try:
        network(_noise(network, bands, side))
    except (*_FAULTS, RasterloomError):
        return False
    finally:
        network.eval()
    return True


def _short(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
