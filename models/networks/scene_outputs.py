"""From whatever a foreign network returns to scores for whole images."""

from typing import final

import torch
from torch import Tensor, nn

from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import ModelMismatchError
from rasterloom.models.networks.outputs import first_tensor
from rasterloom.models.networks.probing import check_company, evaluating
from rasterloom.models.networks.programs import FAULTS, first_line

_SURE = 1e-3
"""How far probabilities may be off by rounding."""


@final
class SceneOutputs(nn.Module):
    """A network of any origin whose answer is (N, K) float32.

    The network may return a tensor, a mapping with ``out``, an object with ``logits``, or a sequence that
    begins with one of these.
    """

    def __init__(self, inner: nn.Module) -> None:
        """Wrap ``inner``, which is kept as it is."""
        super().__init__()
        self.inner = inner
        weights = (p.dtype for p in inner.parameters() if p.is_floating_point())
        self.input_dtype = next(weights, torch.float32)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of (N, C, H, W) images.

        Raises
        ------
        ModelMismatchError
            If the answer is not one row for each image.
        """
        found = first_tensor(self.inner(images.to(self.input_dtype)))
        shape = tuple(found.shape)
        if found.dim() == 4 and shape[2:] == (1, 1):
            found = found[:, :, 0, 0]
        if found.dim() != 2 or len(found) != len(images) or not found.is_floating_point():
            raise ModelMismatchError(
                f"the network returns {shape} of {found.dtype} for {tuple(images.shape)}: a classifier of "
                "whole chips returns (N, K), one score for each class."
            )
        return found.float()


def check_scene_outputs(
    network: SceneOutputs, spec: ModelSpec, *, probabilities: bool, several: bool
) -> None:
    """Send noise through a network, one chip and two, to see that it gives what the description says.

    Parameters
    ----------
    probabilities
        Whether its answers should be shares of 0 to 1, which sum to 1 unless ``several``.

    Raises
    ------
    ModelMismatchError
        If it does not; the message says what would work.
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    chips = torch.rand(2, spec.band_count, spec.tile_size, spec.tile_size, generator=generator).to(device)
    with evaluating(network), torch.no_grad():
        try:
            alone, pair = network(chips[:1]), network(chips)
        except ModelMismatchError:
            raise
        except FAULTS as error:
            raise ModelMismatchError(
                f"the network fails on {tuple(chips.shape)} images in evaluation mode ({first_line(error)}): "
                "use bands and tile_size that it takes."
            ) from error
    _check_classes(pair, spec, several=several)
    if not torch.isfinite(pair).all():
        raise ModelMismatchError("the network returns numbers that are not finite: its weights are not set.")
    check_company(alone[0], pair[0])
    if probabilities:
        _check_shares(pair, several=several)


def _check_classes(scores: Tensor, spec: ModelSpec, *, several: bool) -> None:
    named = len(spec.output_values)
    if scores.shape[1] != named:
        raise ModelMismatchError(
            f"the network has {scores.shape[1]} outputs, and classes names {named}: name a class for each "
            "output, in their order; there is no background."
        )
    if named == 1 and not several:
        raise ModelMismatchError(
            "the network has one output, and a chip is of one class among two or more: use multilabel=True, "
            "where each class occurs or does not."
        )


def _check_shares(shares: Tensor, *, several: bool) -> None:
    outside = float(shares.min()) < -_SURE or float(shares.max()) > 1 + _SURE
    if outside or (not several and bool(((shares.sum(dim=1) - 1).abs() > _SURE).any())):
        told = "shares from 0 to 1" if several else "shares that sum to 1"
        raise ModelMismatchError(
            f"outputs='probabilities', and the network does not return {told}: use outputs='logits'."
        )
