"""Networks as bytes that another process can run: exported programs, TorchScript, ONNX, pickled modules."""

import hashlib
import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from rasterloom.models.errors import MissingInputError, ModelMismatchError, PackageError, SettingError
from rasterloom.models.networks.fixed import FixedShape
from rasterloom.models.networks.onnx import open_onnx, read_onnx_file
from rasterloom.models.networks.outputs import FirstTensor
from rasterloom.models.networks.pickled import dump_module, load_module


class ProgramKind(StrEnum):
    """How a network is written down; the word is the ending of its file."""

    EXPORTED = "pt2"
    """``torch.export``."""
    SCRIPT = "torchscript"
    ONNX = "onnx"
    PICKLED = "pickle"
    """The module itself, with its code."""


NAMES: Mapping[ProgramKind, str] = MappingProxyType(
    {
        ProgramKind.EXPORTED: "a torch.export program",
        ProgramKind.SCRIPT: "a TorchScript program",
        ProgramKind.ONNX: "an ONNX graph",
        ProgramKind.PICKLED: "a pickled module",
    }
)
"""What messages call them."""

HARMLESS = frozenset({ProgramKind.ONNX})
"""Kinds that can be read without running what their author wrote.

torch.export's reader unpickles parts of the file and evaluates expressions in it; PyTorch's own security
notes say to treat TorchScript as code.
"""

FAULTS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    OSError,
    zipfile.BadZipFile,
    pickle.UnpicklingError,
)
"""What networks and torch's readers raise when something does not fit."""


@dataclass(frozen=True)
class Program:
    """A network written down."""

    kind: ProgramKind
    content: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal: equal for programs that were written from equal networks."""
        content = _lasting_script(self.content) if self.kind is ProgramKind.SCRIPT else self.content
        return hashlib.sha256(str(self.kind).encode() + content).hexdigest()


@final
class ExportedNetwork(nn.Module):
    """A ``torch.export`` program that can be asked to evaluate, which it does anyway."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, images: Tensor) -> Any:
        """What the program returns."""
        return self.graph(images)

    def train(self, mode: bool = True) -> Self:
        """Change nothing below: the program is what it was exported as, and torch refuses to change it."""
        self.training = mode
        return self


def read_program(path: Path) -> Program:
    """The program in a file; nothing in it is run.

    Raises
    ------
    MissingInputError
        If there is no such file.
    PackageError
        If it is none of the kinds, or holds weights without a network; the message says how to go on.
    """
    if not path.is_file():
        raise MissingInputError(f"{path} is not there: give a .pt2, TorchScript or .onnx file.")
    if path.suffix.lower() == ".onnx":
        return Program(ProgramKind.ONNX, read_onnx_file(path))
    content = path.read_bytes()
    return Program(_kind_of(content, str(path)), content)


def write_down(network: Any) -> Program | None:
    """The program of an object that is one, TorchScript or ``torch.export``; None for other modules."""
    buffer = io.BytesIO()
    if isinstance(network, torch.jit.ScriptModule):
        torch.jit.save(network, buffer)
        return Program(ProgramKind.SCRIPT, buffer.getvalue())
    if isinstance(network, torch.export.ExportedProgram):
        torch.export.save(network, buffer)
        return Program(ProgramKind.EXPORTED, buffer.getvalue())
    return None


def pickle_down(module: nn.Module) -> Program:
    """A module as it is, for the caller's own processes. Raises SettingError if it cannot leave this one."""
    return Program(ProgramKind.PICKLED, dump_module(module))


def export_module(module: nn.Module, example: Tensor) -> Program:
    """A module as a ``torch.export`` program, with batch size, height and width left open where that goes.

    Parameters
    ----------
    module
        In evaluation mode, on the CPU.
    example
        (2, C, H, W) images.

    Raises
    ------
    SettingError
        If torch cannot export it, or the program gives other answers than the module.
    """
    auto = torch.export.Dim.AUTO
    last: Exception | None = None
    for shapes in (({0: auto, 2: auto, 3: auto},), None):
        try:
            with torch.no_grad():
                # keyword arguments keep the name of the one input
                exported = torch.export.export(FirstTensor(module), (example,), dynamic_shapes=shapes)
                program = write_down(exported)
                assert program is not None, "exported programs are written down"
                same = _same_answers(module, open_exported(exported), example)
        except FAULTS as error:
            last = error
            continue
        if same:
            return program
    reason = "the exported program gives other answers than the module" if last is None else first_line(last)
    raise SettingError(
        f"{type(module).__name__} cannot be exported by torch.export: {reason}. Use save(path, "
        "pickled=True) to write the module with its code instead; whoever loads that must trust it."
    ) from last


def open_program(program: Program, *, trust: bool, source: str) -> nn.Module:
    """The network of a program, on the CPU.

    Parameters
    ----------
    trust
        Whether code in the program may be run. Only ONNX is read without.
    source
        What messages call it.

    Raises
    ------
    PackageError
        If it is damaged, or holds code that is not trusted.
    MissingExtraError
        If it is ONNX and the packages for that are not installed.
    """
    check_trust(program.kind, trust=trust, source=source)
    if program.kind is ProgramKind.ONNX:
        return open_onnx(program.content, source=source)
    if program.kind is ProgramKind.PICKLED:
        return load_module(program.content, source=source)
    file = io.BytesIO(program.content)
    try:
        if program.kind is ProgramKind.SCRIPT:
            script: nn.Module = torch.jit.load(file, "cpu")  # type: ignore[no-untyped-call] # torch has no type
            return script
        return open_exported(torch.export.load(file))
    except FAULTS as error:
        raise PackageError(f"{source}: {NAMES[program.kind]} cannot be read: {first_line(error)}.") from error


def check_trust(kind: ProgramKind, *, trust: bool, source: str) -> None:
    """Refuse code that is not trusted. Raises PackageError with what to do."""
    if not trust and kind not in HARMLESS:
        raise PackageError(
            f"{source} holds {NAMES[kind]}, which can run any code of its author when it is read. If you "
            "trust where it is from, say so and give the tools what comes back: load_package(path, "
            "trust=True) for a package, from_torch(path, ..., trust=True) for another file."
        )


def open_exported(program: torch.export.ExportedProgram) -> nn.Module:
    """The network of an exported program that is at hand. Raises ModelMismatchError if it takes no images."""
    taken = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    shapes = [getattr(node.meta.get("val"), "shape", ()) for node in taken]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        told = ", ".join(str(tuple(shape)) for shape in shapes) or "nothing"
        raise ModelMismatchError(
            f"the exported program takes {told}, and it should take one batch of images (N, C, H, W)."
        )
    # what is left open is no int but a symbol
    shape = tuple(side if type(side) is int else None for side in shapes[0])
    return FixedShape(ExportedNetwork(program.module()), shape)


def first_line(error: Exception) -> str:
    """What an error of torch says first, without a full stop."""
    text = str(error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__


def _same_answers(module: nn.Module, exported: nn.Module, example: Tensor) -> bool:
    plain, noise = FirstTensor(module), torch.rand_like(example)
    return all(
        torch.allclose(plain(images), exported(images), rtol=1e-3, atol=1e-4)
        for images in (example, noise, noise[:1])
    )


def _kind_of(content: bytes, source: str) -> ProgramKind:
    names: list[str] = []
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    if any("/code/" in name for name in names):
        return ProgramKind.SCRIPT
    if any(name.endswith(("models/model.json", "serialized_exported_program.json")) for name in names):
        return ProgramKind.EXPORTED
    if any(name.endswith("data.pkl") for name in names):
        raise PackageError(
            f"{source} was written by torch.save: it holds weights, or a pickled module, and no network "
            "that can be run without its code. Build the module in Python, give it the weights with "
            "load_state_dict, and bring the module."
        )
    raise PackageError(f"{source} is no .pt2, TorchScript or .onnx file.")


def _lasting_script(content: bytes) -> bytes:
    """The parts of a TorchScript file that are the same whenever the same network is written."""
    parts = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if name.endswith((".debug_pkl", "serialization_id")) or "traced_inputs" in name:
                continue
            part = _unmangled(archive.read(name))
            if name.endswith(".py"):  # constants stand in the order of a set
                part = b"\n".join(sorted(part.splitlines()))
            parts.append(_unmangled(name.encode()) + b"\0" + part)
    return b"\0".join(sorted(parts))


def _unmangled(text: bytes) -> bytes:
    # numbers that torch gives to equal names within one process
    return re.sub(rb"[./]?___torch_mangle_\d+", b"", text)
