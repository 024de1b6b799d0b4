"""What a module is, as a hash: the same in every process, another when weights, settings or code change."""

import dis
import functools
import hashlib
import inspect
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rasterloom.models.networks.pickled import is_installed

_MACHINERY = frozenset(vars(nn.Module()))
"""Attributes of every module: what is in them is looked at in other ways, or is no part of the answer."""
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device)


def module_digest(module: nn.Module) -> str:
    """SHA-256, in hexadecimal, of weights, plain attributes and code.

    Code of installed packages counts by its name, own code as it was compiled, with the functions and
    constants that it names.
    Whether the module is in training mode does not count.
    """
    digest, seen = hashlib.sha256(), _Seen()
    for name, part in module.named_modules():
        digest.update(f"\nmodule {name} {_described_module(part, seen)}".encode())
    tensors = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    for name, tensor in tensors:
        digest.update(f"\ntensor {name} {_described_tensor(tensor)}".encode())
    return digest.hexdigest()


class _Seen:
    """Objects that are being described already: descriptions may meet themselves."""

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}

    def first(self, thing: Any) -> bool:
        new = id(thing) not in self.kept
        self.kept[id(thing)] = thing  # held, so that no other object gets its address
        return new


def _described_module(module: nn.Module, seen: _Seen) -> str:
    seen.first(module)
    own = {name: value for name, value in vars(module).items() if name not in _MACHINERY}
    hooks = {name: list(getattr(module, name).values()) for name in _HOOKS}
    return _described((type(module), own, hooks), seen)


def _described(value: Any, seen: _Seen) -> str:
    if isinstance(value, Enum):
        return f"{_name(type(value))}.{value.name}"
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, Tensor | np.ndarray):
        return _described_tensor(torch.as_tensor(value) if isinstance(value, Tensor) else value)
    if isinstance(value, Mapping):
        pairs = (f"{_described(k, seen)}:{_described(v, seen)}" for k, v in value.items())
        return f"{{{','.join(pairs)}}}"
    if isinstance(value, set | frozenset):
        return f"set({','.join(sorted(_described(item, seen) for item in value))})"
    if isinstance(value, list | tuple):
        return f"[{','.join(_described(item, seen) for item in value)}]"
    if not seen.first(value):
        return "again"
    return _described_thing(value, seen)


def _described_thing(value: Any, seen: _Seen) -> str:
    if isinstance(value, type):
        return _described_class(value, seen)
    if isinstance(value, FunctionType):
        return _described_function(value, seen)
    if isinstance(value, MethodType):
        return _described((value.__func__, value.__self__), seen)
    if isinstance(value, functools.partial):
        return _described((value.func, value.args, value.keywords), seen)
    if isinstance(value, nn.Module):
        return module_digest(value)
    if hasattr(value, "__dict__") and not inspect.ismodule(value):
        return _described((type(value), vars(value)), seen)
    return _ADDRESS.sub("", repr(value))


def _described_class(kind: type, seen: _Seen) -> str:
    if is_installed(kind.__module__):
        return _name(kind)
    members = {
        name: getattr(value, "__func__", getattr(value, "fget", value))  # of class methods and properties
        for name, value in sorted(vars(kind).items())
        if name not in ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__")
        and not name.startswith("__static_attributes__")
        and isinstance(value, (*_PLAIN, FunctionType, classmethod, staticmethod, property, list, tuple, dict))
    }
    members.pop("__firstlineno__", None)
    bases = [_described(base, seen) for base in kind.__bases__]
    return f"{_name(kind)}({bases}){_described(members, seen)}"


def _described_function(function: FunctionType, seen: _Seen) -> str:
    if is_installed(function.__module__ or ""):
        return _name(function)
    code = function.__code__
    cells = [_cell(cell) for cell in function.__closure__ or ()]
    named = {n: function.__globals__[n] for n in sorted({*_names(code)}) if n in function.__globals__}
    own = {n: v for n, v in named.items() if isinstance(v, (*_PLAIN, list, tuple, dict, FunctionType, type))}
    given = (function.__defaults__, function.__kwdefaults__)
    return f"{_of_code(code)}{_described((given, cells, own), seen)}"


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _of_code(code: CodeType) -> str:
    consts = (_of_code(c) if isinstance(c, CodeType) else _ordered(c) for c in code.co_consts)
    return f"{code.co_code.hex()}{list(consts)}{code.co_names}{code.co_varnames}"


def _ordered(value: Any) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def _names(code: CodeType) -> Iterable[str]:
    """Global variables that the code reads."""
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names(const)


def _described_tensor(tensor: Tensor | np.ndarray) -> str:
    if isinstance(tensor, np.ndarray):
        content = np.ascontiguousarray(tensor).tobytes()
    else:
        plain = tensor.detach().to("cpu").contiguous()
        content = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return f"{tensor.dtype} {tuple(tensor.shape)} {hashlib.sha256(content).hexdigest()}"


def _name(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"
