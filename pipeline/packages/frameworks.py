"""A trained network as a program that runs without its class: TorchScript or ONNX."""

import copy
import importlib
import io
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, final

import torch
from torch import Tensor, nn

from rasterloom.models.catalog import find_adapter
from rasterloom.models.contract import Task
from rasterloom.models.errors import MissingExtraError, SettingError
from rasterloom.models.networks.outputs import first_tensor
from rasterloom.models.networks.programs import FAULTS, Program, ProgramKind, open_program, write_down
from rasterloom.models.pixels.foreign import TorchModel
from rasterloom.models.scenes.foreign import TorchSceneClassifier

TOLERANCE = 1e-4
"""Largest difference of a program's answers from the network's, of the largest answer or of 1."""


def as_program(model: Any, framework: str) -> tuple[TorchModel | TorchSceneClassifier, Program]:
    """The model with its network written down, for the same images, classes and scaling.

    Its answers were compared with the network's: on a batch, on a single tile, and on a larger one. Where a
    format has no words for a network on tiles of any size, the program is for tiles of its own size only.

    Parameters
    ----------
    model
        A classifier of pixels or of whole chips.
    framework
        ``torchscript`` or ``onnx``.

    Raises
    ------
    SettingError
        If the model is for another task, or torch cannot write its network down.
    MissingExtraError
        If a package is missing that writes ONNX.
    """
    if model.spec.task not in (Task.PIXELS, Task.SCENES):
        raise SettingError(
            f"framework={framework!r} cannot work for a model of {model.spec.task}: its answers are more "
            "than one array. Use framework='PyTorch'."
        )
    if find_adapter(model.spec.model).brings_code:
        raise SettingError(
            f"framework={framework!r} cannot work for a {model.spec.model}: methods of its class run around "
            "the network, and nobody knows which of them can be written down. Use framework='PyTorch'."
        )
    scores = _Scores(copy.deepcopy(model.network).cpu(), _hidden(model)).eval().requires_grad_(False)
    side, multiple = model.spec.tile_size, model.tile_multiple
    generator = torch.Generator().manual_seed(0)
    # some networks for whole chips take them in one size
    more = side if model.spec.task is Task.SCENES and multiple == side else side + multiple
    example, single, larger = (
        torch.randn(count, model.spec.band_count, edge, edge, generator=generator)
        for count, edge in ((2, side), (1, side), (1, more))
    )
    program = _program(scores, (example, single, larger), framework, name=model.spec.model)
    parameters = {"name": model.spec.model, "outputs": "logits", "tile_multiple": multiple}
    kind: type[TorchModel | TorchSceneClassifier] = TorchModel
    if model.spec.task is Task.SCENES:
        told = ("multilabel", "crop_size_fixed", "blacken_around_feature")
        parameters |= {name: model.spec.parameters[name] for name in told}
        kind = TorchSceneClassifier
    spec = replace(model.spec, model=kind.__name__, parameters=parameters)
    with _silence():
        ready = kind.from_program(spec, program, trust=True, source=f"the {framework} program")
    ready.history = model.history
    return ready, program


@final
class _Scores(nn.Module):
    """A network whose ignored classes never win."""

    hidden: Tensor

    def __init__(self, network: nn.Module, hidden: Tensor | None) -> None:
        super().__init__()
        self.network = network
        self.hides = hidden is not None
        # a buffer, so that the program can be moved to another device
        self.register_buffer("hidden", hidden)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H, W)."""
        logits: Tensor = self.network(images)
        return logits.masked_fill(self.hidden, -torch.inf) if self.hides else logits


def _hidden(model: Any) -> Tensor | None:
    """Which outputs the model never gives, (1, K, 1, 1); None where there are none."""
    outputs = len(model.spec.output_values)
    found: Tensor = model.scores(torch.zeros(1, outputs, 1, 1)).isneginf()
    return found if found.any() else None


def _program(scores: nn.Module, images: tuple[Tensor, ...], framework: str, *, name: str) -> Program:
    """The first program that is written and answers as the network does."""
    last: Exception | None = None
    for write, any_size in _WRITERS[framework]:
        try:
            with torch.no_grad(), _silence():
                program = write(scores, images[0])
                _check_answers(scores, program, images if any_size else images[:2])
        except FAULTS as error:
            last = error
            continue
        return program
    assert last is not None, "there is a writer for each framework"
    raise SettingError(
        f"this {name} cannot be written as {framework}: {_reason(last)}. Use framework='PyTorch'."
    ) from last


def _reason(error: BaseException) -> str:
    """What is at the bottom of an error: the outer ones tell how far the writer came."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


def _script(scores: nn.Module, example: Tensor) -> Program:
    traced = torch.jit.trace(scores, example, check_trace=False)  # type: ignore[no-untyped-call] # torch has no type
    program = write_down(traced)
    assert program is not None, "a traced module is a program"
    return replace(program, content=_without_traces(program.content))


def _without_traces(content: bytes) -> bytes:
    """A TorchScript file without its notes of where its code is from, which hold paths of this machine."""
    bare = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as full, zipfile.ZipFile(bare, "w") as target:
        for name in full.namelist():
            if not name.endswith(".debug_pkl"):
                target.writestr(zipfile.ZipInfo(name), full.read(name))
    return bare.getvalue()


def _open_onnx(scores: nn.Module, example: Tensor) -> Program:
    return _onnx(scores, example, {0: "batch", 2: "height", 3: "width"})


def _fixed_onnx(scores: nn.Module, example: Tensor) -> Program:
    # adaptive pooling has no operator for sizes that are not known
    return _onnx(scores, example, {0: "batch"})


def _onnx(scores: nn.Module, example: Tensor, left_open: dict[int, str]) -> Program:
    for package in ("onnx", "onnxscript"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError(
                f"writing ONNX needs {package}, which is not installed: pip install 'rasterloom[onnx]'."
            ) from error
    written = torch.onnx.export(
        scores,
        (example,),
        dynamo=True,
        dynamic_shapes=(left_open,),
        input_names=["images"],
        output_names=["scores"],
        verbose=False,
    )
    assert written is not None, "the new exporter returns a program"
    graph = written.model_proto
    for node in [*graph.graph.node, *(node for function in graph.functions for node in function.node)]:
        # notes of the exporter: half the file of a small network, with paths of this machine
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    content: bytes = graph.SerializeToString()
    return Program(ProgramKind.ONNX, content)


_Writer = Callable[[nn.Module, Tensor], Program]
_WRITERS: Mapping[str, tuple[tuple[_Writer, bool], ...]] = MappingProxyType(
    {"torchscript": ((_script, True),), "onnx": ((_open_onnx, True), (_fixed_onnx, False))}
)
"""In the order they are tried, and whether their programs take tiles of any size."""


def _check_answers(scores: nn.Module, program: Program, images: tuple[Tensor, ...]) -> None:
    opened = open_program(program, trust=True, source="the program").eval()
    for batch in images:
        wanted, found = scores(batch), first_tensor(opened(batch))
        finite = wanted.isfinite()
        largest = max(1.0, float(wanted[finite].abs().max()))
        if not torch.equal(finite, found.isfinite()) or not torch.allclose(
            wanted[finite], found[finite], rtol=0, atol=TOLERANCE * largest
        ):
            raise ValueError(
                f"for {tuple(batch.shape)} images the program's answers differ from the network's by more "
                f"than {TOLERANCE}"
            )


@contextmanager
def _silence() -> Iterator[None]:
    """Torch's writers tell of their own future and of sizes that they keep open; the answers are compared."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
