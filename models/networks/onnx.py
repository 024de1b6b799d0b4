"""ONNX files as networks, run by ONNX Runtime. Nothing in such a file is code of its author's."""

import importlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from rasterloom.models.errors import MissingExtraError, ModelMismatchError, PackageError
from rasterloom.models.networks.fixed import FixedShape

_TYPES = {1: torch.float32, 10: torch.float16, 11: torch.float64}
"""Numbers of the types in ONNX."""
_CUDA = "CUDAExecutionProvider"


@final
class OnnxNetwork(nn.Module):
    """A graph that ONNX Runtime computes, on the device that the images are on.

    Where this ONNX Runtime has no support for the images' GPU the graph is computed on the CPU.
    """

    def __init__(self, content: bytes, input_dtype: torch.dtype, source: str) -> None:
        super().__init__()
        self.content = content
        self.source = source
        self.input_dtype = input_dtype
        self._sessions: dict[str, Any] = {}
        self._lock = threading.Lock()

    def forward(self, images: Tensor) -> list[Tensor]:
        """The graph's outputs for (N, C, H, W) images, on their device.

        Raises
        ------
        RuntimeError
            If ONNX Runtime cannot compute them.
        """
        device = images.device
        session = self._session(device)
        given = {session.get_inputs()[0].name: images.to("cpu", self.input_dtype).contiguous().numpy()}
        try:
            found = session.run(None, given)
        except _failures() as error:
            raise RuntimeError(f"ONNX Runtime: {error}") from error
        return [torch.from_numpy(array).to(device) for array in found if hasattr(array, "dtype")]

    def __getstate__(self) -> dict[str, Any]:
        # sessions and locks stay in the process that made them
        return {name: v for name, v in self.__dict__.items() if name not in ("_sessions", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call] # torch leaves this method without types
        self._sessions, self._lock = {}, threading.Lock()

    def _session(self, device: torch.device) -> Any:
        key = str(device)
        with self._lock:
            if key not in self._sessions:
                self._sessions[key] = _open_session(self.content, device, self.source)
            return self._sessions[key]


def read_onnx_file(path: Path) -> bytes:
    """The content of an ONNX file with all its weights, wherever it keeps them.

    Raises
    ------
    MissingExtraError
        If the package that reads it is not installed.
    PackageError
        If it is no ONNX file, or lacks weights, or they lie outside its folder.
    """
    onnx = _package("onnx")
    from google.protobuf.message import DecodeError, EncodeError

    try:
        return bytes(onnx.load(path).SerializeToString())
    except (DecodeError, EncodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        raise PackageError(
            f"{path} cannot be read as ONNX: {error}. Weights that it keeps in further files must lie "
            "beside it, and all together take less than 2 GiB."
        ) from error


def open_onnx(content: bytes, *, source: str) -> nn.Module:
    """A network from the content of an ONNX file.

    Raises
    ------
    MissingExtraError
        If ONNX Runtime is not installed.
    PackageError
        If the content is damaged, or names further files.
    ModelMismatchError
        If it takes anything but one batch of images.
    """
    onnx = _package("onnx")
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise PackageError(f"{source} is damaged: it is no ONNX file ({error}).") from error
    # ONNX Runtime would read them, from the current folder
    if any(tensor.data_location for tensor in _tensors(model)):
        raise PackageError(
            f"{source} is refused: it names further files, and it should hold all its weights."
        )
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [given for given in model.graph.input if given.name not in weights]
    shapes = [_shape(given) for given in inputs]
    kinds = [_TYPES.get(given.type.tensor_type.elem_type) for given in inputs]
    if len(inputs) != 1 or kinds[0] is None or len(shapes[0]) != 4:
        told = ", ".join(f"{i.name} {shape}" for i, shape in zip(inputs, shapes, strict=True))
        raise ModelMismatchError(
            f"{source} takes {told or 'nothing'}, and it should take one batch of images (N, C, H, W) of "
            "numbers with a fraction."
        )
    return FixedShape(OnnxNetwork(content, kinds[0], source), shapes[0])


def _shape(given: Any) -> tuple[int | None, ...]:
    sides = given.type.tensor_type.shape.dim
    return tuple(side.dim_value if side.dim_value > 0 else None for side in sides)


def _open_session(content: bytes, device: torch.device, source: str) -> Any:
    runtime = _package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and _CUDA in runtime.get_available_providers():
        providers.insert(0, (_CUDA, {"device_id": device.index or 0}))
    try:
        return runtime.InferenceSession(content, options, providers=providers)
    except _failures() as error:
        raise PackageError(f"{source} cannot be run by ONNX Runtime: {error}") from error


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor of a model, in nested graphs and functions too."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> Iterator[Any]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for graph in (attribute.g, *attribute.graphs):
            if graph.node:
                yield from _of_graph(graph)


def _failures() -> tuple[type[Exception], ...]:
    """Everything that ONNX Runtime raises: its errors have no base of their own."""
    state = _package("onnxruntime").capi.onnxruntime_pybind11_state
    found = (getattr(state, name) for name in dir(state))
    kinds = tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception))
    return (*kinds, RuntimeError, ValueError)


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"ONNX files need {name}, which is not installed: pip install 'rasterloom[onnx]'."
        ) from error
