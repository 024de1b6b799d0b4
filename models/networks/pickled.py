"""Modules as bytes, with their Python code where other processes lack it. Reading them runs that code."""

import io
import pickle
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import torch
from torch import nn

from rasterloom.models.errors import PackageError, SettingError

_INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def dump_module(module: nn.Module) -> bytes:
    """A module with its weights and, where it is not from an installed package, its code.

    Raises
    ------
    SettingError
        If it holds something that belongs to this process, such as a lock or an open file.
    """
    buffer = io.BytesIO()
    try:
        with _code_goes_along(module):
            torch.save(module, buffer, pickle_module=cloudpickle)
    except (pickle.PicklingError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise SettingError(
            f"{type(module).__name__} cannot be taken to other processes: {error}. Leave out of the module "
            "what belongs to this process, or bring it as torch.export.export(...) or ONNX."
        ) from error
    return buffer.getvalue()


def load_module(content: bytes, *, source: str) -> nn.Module:
    """The module, on the CPU. Code in ``content`` is run: the caller must know where it is from.

    Raises
    ------
    PackageError
        If it is damaged, or needs a package that is not installed here.
    """
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=False, pickle_module=pickle)
    except ImportError as error:
        raise PackageError(
            f"{source} needs a package that this process lacks ({error}): install it wherever the model "
            "runs, or save the model as a torch.export program or ONNX."
        ) from error
    except (pickle.UnpicklingError, AttributeError, RuntimeError, EOFError, ValueError, TypeError) as error:
        raise PackageError(f"{source} is damaged, or was saved by other versions: {error}.") from error
    if not isinstance(found, nn.Module):
        raise PackageError(f"{source} holds a {type(found).__name__}, and it should hold a torch.nn.Module.")
    return found


def is_installed(name: str) -> bool:
    """Whether the Python module of this name is part of Python or of an installed package."""
    if name.partition(".")[0] in ("torch", "rasterloom"):
        return True
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return name in sys.builtin_module_names
    path = Path(file).resolve()
    return any(path.is_relative_to(folder) for folder in _INSTALLED)


@contextmanager
def _code_goes_along(module: nn.Module) -> Iterator[None]:
    """Let cloudpickle take the user's own Python files along: workers may not have them."""
    added: list[ModuleType] = []
    known: Any = cloudpickle.list_registry_pickle_by_value()
    try:
        for name in sorted({type(part).__module__ for part in module.modules()}):
            top = sys.modules.get(name.partition(".")[0]) or sys.modules.get(name)
            if top is None or name == "__main__" or is_installed(name) or {name, top.__name__} & set(known):
                continue
            cloudpickle.register_pickle_by_value(top)
            known = cloudpickle.list_registry_pickle_by_value()
            added.append(top)
        yield
    finally:
        for item in added:
            cloudpickle.unregister_pickle_by_value(item)
