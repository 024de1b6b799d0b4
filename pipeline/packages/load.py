"""Reading model packages; what is in them is run only where the caller trusts it."""

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rasterloom.cluster.places import Place
from rasterloom.models.catalog import find_adapter
from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import MissingInputError, ModelMismatchError, PackageError, SettingError
from rasterloom.models.history import History
from rasterloom.pipeline.packages.archive import Archive
from rasterloom.pipeline.packages.manifest import from_emd, parse_emd

if TYPE_CHECKING:
    from torch import Tensor

    from rasterloom.models.networks.programs import Program

MOST_EMD_BYTES = 64 * 2**20
ARCHIVE_SUFFIXES = (".dlpk", ".zip")
_SAFETENSORS = (".safetensors",)
_PICKLED = (".pth", ".pt")
_PROGRAMS = (".pt2", ".torchscript", ".onnx", ".pickle")
"""What a network of another author is written as."""
_BLOCK = 2**20


@dataclass(frozen=True)
class Package:
    """A model package that has been read; its weights have been found but not looked into."""

    spec: ModelSpec
    emd: Mapping[str, Any] = field(repr=False)
    """The whole description."""
    weights: Path | bytes = field(repr=False)
    """The weights' file, or its content where the package is one file."""
    weights_name: str
    """Path of the weights in the package; its ending tells the format."""
    history: History = field(repr=False)
    """The training table."""
    source: str
    """What messages call it."""
    trust: bool = False
    """Whether a network that is a program may be run."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of spec and weights, in hexadecimal: equal for models that compute the same."""
        digest = hashlib.sha256(json.dumps(self.spec.to_json(), sort_keys=True).encode())
        with io.BytesIO(self.weights) if isinstance(self.weights, bytes) else self.weights.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def tensors(self) -> dict[str, "Tensor"]:
        """The weights by name, on the CPU.

        Raises
        ------
        PackageError
            If the file is damaged, or holds anything but tensors.
        """
        if self.weights_name.endswith(_SAFETENSORS):
            return _read_safetensors(self.weights, f"{self.source}, {self.weights_name}")
        return _read_pickled(self.weights, f"{self.source}, {self.weights_name}")

    def program(self) -> "Program":
        """The network as a program, of a model that is not built from its description."""
        from rasterloom.models.networks.programs import Program, ProgramKind

        content = self.weights if isinstance(self.weights, bytes) else self.weights.read_bytes()
        return Program(ProgramKind(self.weights_name.rpartition(".")[2]), content)

    def check_trust(self) -> None:
        """Refuse a network that is a program and not trusted. Raises PackageError with what to do."""
        if self.weights_name.endswith(_PROGRAMS):
            from rasterloom.models.networks.programs import ProgramKind, check_trust

            kind = ProgramKind(self.weights_name.rpartition(".")[2])
            check_trust(kind, trust=self.trust, source=self.source)


def load_package(
    path: str | Path | Place, *, working_dir: Path | None = None, trust: bool = False
) -> Package:
    """Read a model package. Nothing in it is run by this, and later only what is trusted.

    Parameters
    ----------
    path
        A ``.dlpk`` file, an ``.emd`` file with its weights beside it, the folder of one, or either path
        without its ending; or the URL of a ``.dlpk`` file, such as s3://bucket/fields.dlpk.
    working_dir
        A name alone that is nowhere else is looked for in this folder's ``models``.
    trust
        Whether a network may be run that is a program of its author, as ``from_torch`` brings them. Without
        it packages of weights and of ONNX graphs can be used.

    Raises
    ------
    MissingInputError
        If nothing is there.
    PackageError
        If what is there is no whole package of ours; the message says what is wrong with it.
    MissingExtraError
        If nothing here reads that kind of URL.
    """
    return replace(_read(str(path) if isinstance(path, Place) else path, working_dir), trust=trust)


def read_package(content: bytes, *, source: str, trust: bool = False) -> Package:
    """The package in the bytes of a ``.dlpk`` file; otherwise as :func:`load_package`."""
    return replace(_from_archive(io.BytesIO(content), source), trust=trust)


def _read(path: str | Path, working_dir: Path | None) -> Package:
    try:
        if isinstance(path, str) and "://" in path:
            return _from_url(path)
        found = _find(Path(path), working_dir)
        if found.suffix.lower() in ARCHIVE_SUFFIXES:
            return _from_archive(found, str(found))
        return _from_emd_file(found)
    except OSError as error:
        if isinstance(error, MissingInputError):
            raise
        raise PackageError(f"{path} cannot be read: {error}.") from error


def build_model(package: Package, device: str = "cpu") -> Any:
    """The model of a package on a device, in evaluation mode, without data.

    Returns
    -------
    ImageryModel or TorchModel

    Raises
    ------
    PackageError
        If the weights are damaged or do not belong to the description, or the network is a program that is
        not trusted.
    """
    trainable = find_adapter(package.spec.model).trainable
    try:
        model = _from_weights(package) if trainable else _from_program(package)
    except (ModelMismatchError, SettingError) as error:
        raise PackageError(f"{package.source} contradicts itself: {error}") from error
    model.history = package.history
    model.network.to(device).eval()
    return model


def _from_weights(package: Package) -> Any:
    from rasterloom.models.build import build
    from rasterloom.models.weights import put_weights

    model = build(package.spec)
    put_weights(model.network, package.tensors())
    return model


def _from_program(package: Package) -> Any:
    package.check_trust()  # before anything is read, also by a model class
    kind = find_adapter(package.spec.model).load()
    return kind.from_program(
        package.spec,
        package.program(),
        trust=package.trust,
        source=f"{package.source}, {package.weights_name}",
    )


def _from_url(url: str) -> Package:
    place = Place.of(url)
    if not place.name.lower().endswith(ARCHIVE_SUFFIXES):
        raise PackageError(f"{url} is no package: a URL must be that of a .dlpk file.")
    try:
        content = place.parent.read(place.name)
    except FileNotFoundError as error:
        raise MissingInputError(f"{url} is not there: give the URL of a .dlpk file.") from error
    return _from_archive(io.BytesIO(content), url)


def _find(path: Path, working_dir: Path | None) -> Path:
    path = path.expanduser()
    places = [path]
    if working_dir is not None and len(path.parts) == 1:
        places.append(working_dir / "models" / path)
    for place in places:
        if place.is_dir():
            return _emd_in(place)
        for candidate in (place, place.with_name(f"{place.name}.dlpk"), place.with_name(f"{place.name}.emd")):
            if candidate.is_file():
                return candidate
    raise MissingInputError(
        f"{path} is not there: give a .dlpk or .emd file, or the folder of a saved model."
    )


def _emd_in(folder: Path) -> Path:
    found = sorted(folder.glob("*.emd"))
    if len(found) != 1:
        raise PackageError(
            f"{folder} is no model's folder: it holds {len(found)} .emd files and should hold one."
        )
    return found[0]


def _from_archive(file: Path | BinaryIO, source: str) -> Package:
    with Archive(file, source=source) as archive:
        names = [name for name in archive.names if name.lower().endswith(".emd")]
        if len(names) != 1:
            raise PackageError(
                f"{source} is no model package: it holds {len(names)} .emd files and should hold one."
            )
        emd = parse_emd(archive.read(names[0]), source=source)
        folder = names[0].rpartition("/")[0]
        return _package(emd, source, lambda name: archive.read(f"{folder}/{name}" if folder else name))


def _from_emd_file(path: Path) -> Package:
    if path.stat().st_size > MOST_EMD_BYTES:
        raise PackageError(f"{path} is no .emd file: it is larger than {MOST_EMD_BYTES} bytes.")
    emd = parse_emd(path.read_bytes(), source=str(path))
    return _package(emd, str(path), lambda name: _weights_beside(path, name))


def _weights_beside(emd: Path, name: str) -> Path:
    weights = (emd.parent / name).resolve()
    if not weights.is_relative_to(emd.parent.resolve()):
        raise PackageError(f"{emd} names {name!r}, which leads out of its folder.")
    if not weights.is_file():
        raise PackageError(f"{emd} lacks its weights: {name} is not beside it.")
    return weights


def _package(emd: dict[str, Any], source: str, weights: Callable[[str], Path | bytes]) -> Package:
    manifest = from_emd(emd, source=source)
    name = manifest.model_file
    endings = _SAFETENSORS + _PICKLED if find_adapter(manifest.spec.model).trainable else _PROGRAMS
    if not name.lower().endswith(endings):
        known = ", ".join(endings)
        raise PackageError(
            f"{source} holds its network as {name}, which cannot be read: it should be {known}."
        )
    return Package(manifest.spec, emd, weights(name), name.lower(), manifest.history, source)


def _read_safetensors(weights: Path | bytes, source: str) -> dict[str, "Tensor"]:
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    try:
        return dict(load(weights) if isinstance(weights, bytes) else load_file(weights))
    except (SafetensorError, OSError, ValueError) as error:
        raise PackageError(f"{source}: the weights are damaged ({error}).") from error


def _read_pickled(weights: Path | bytes, source: str) -> dict[str, "Tensor"]:
    import torch

    file = io.BytesIO(weights) if isinstance(weights, bytes) else weights
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise PackageError(
            f"{source} is refused: it holds more than tensors, or is damaged ({error})."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise PackageError(f"{source}: the weights are damaged ({error}).") from error
    if not isinstance(state, Mapping) or not all(isinstance(item, torch.Tensor) for item in state.values()):
        raise PackageError(f"{source} is refused: it holds something other than named tensors.")
    return {str(name): tensor for name, tensor in state.items()}
