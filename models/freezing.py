"""Which layers of a network learn, and at which rate."""

from typing import Any

from torch import nn

_NORMS = (
    nn.modules.batchnorm._NormBase,  # batch and instance normalisation have no public base
    nn.GroupNorm,
    nn.LayerNorm,
)


def freeze_layers(layers: nn.Module, *, keep_first: bool) -> None:
    """Hold layers still, except those that normalise.

    Parameters
    ----------
    keep_first
        Let the first convolution learn on, for bands that its weights were not trained for.
    """
    first = _first_convolution(layers) if keep_first else None
    for module in layers.modules():
        free = isinstance(module, _NORMS) or module is first
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(free)


def grouped_parameters(network: nn.Module, early: nn.Module) -> list[dict[str, Any]]:
    """All parameters of a network in two groups for an optimiser, ``early`` and ``late``, in this order."""
    first = list(early.parameters())
    known = {id(parameter) for parameter in first}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in known]
    return [{"name": "early", "params": first}, {"name": "late", "params": rest}]


def _first_convolution(module: nn.Module) -> nn.Module | None:
    return next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
