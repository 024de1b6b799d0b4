"""Weights and optimisers' states in the files of a package, read without running what is in them."""

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasterloom.models.errors import PackageError

if TYPE_CHECKING:
    from torch import Tensor

SAFETENSORS = (".safetensors",)
PICKLED = (".pth", ".pt")


def read_tensors(weights: Path | bytes, *, name: str, source: str) -> dict[str, "Tensor"]:
    """Named tensors on the CPU.

    Parameters
    ----------
    weights
        The file, or its content.
    name
        Its name, whose ending tells the format.
    source
        What messages call it.

    Raises
    ------
    PackageError
        If the file is damaged, or holds anything but tensors.
    """
    return _safetensors(weights, source) if name.lower().endswith(SAFETENSORS) else _pickled(weights, source)


def read_state(content: bytes, *, source: str) -> dict[str, Any]:
    """The state of an optimiser, as ``torch.optim.Optimizer.state_dict`` gives it, on the CPU.

    Raises
    ------
    PackageError
        If it is damaged, or holds anything but tensors and plain values.
    """
    state = _unpickled(content, source)
    if not isinstance(state, dict) or not {"state", "param_groups"} <= state.keys():
        raise PackageError(f"{source} is refused: it holds no state of an optimiser.")
    return state


def _safetensors(weights: Path | bytes, source: str) -> dict[str, "Tensor"]:
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    try:
        return dict(load(weights) if isinstance(weights, bytes) else load_file(weights))
    except (SafetensorError, OSError, ValueError) as error:
        raise PackageError(f"{source}: the weights are damaged ({error}).") from error


def _pickled(weights: Path | bytes, source: str) -> dict[str, "Tensor"]:
    from torch import Tensor

    state = _unpickled(weights, source)
    if not isinstance(state, Mapping) or not all(isinstance(item, Tensor) for item in state.values()):
        raise PackageError(f"{source} is refused: it holds something other than named tensors.")
    return {str(name): tensor for name, tensor in state.items()}


def _unpickled(content: Path | bytes, source: str) -> Any:
    import torch

    file = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PackageError(
            f"{source} is refused: it holds more than tensors, or is damaged ({error})."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise PackageError(f"{source}: the weights are damaged ({error}).") from error
