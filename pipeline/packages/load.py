"""Reading model packages without running anything that is in them."""

import hashlib
import io
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import MissingInputError, ModelMismatchError, PackageError, SettingError
from rasterloom.models.history import History
from rasterloom.pipeline.packages.archive import Archive
from rasterloom.pipeline.packages.manifest import from_emd, parse_emd

if TYPE_CHECKING:
    from torch import Tensor

    from rasterloom.models.imagery import ImageryModel

MOST_EMD_BYTES = 64 * 2**20
ARCHIVE_SUFFIXES = (".dlpk", ".zip")
_SAFETENSORS = (".safetensors",)
_PICKLED = (".pth", ".pt")
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


def load_package(path: str | Path, *, working_dir: Path | None = None) -> Package:
    """Read a model package. Code in it is never run.

    Parameters
    ----------
    path
        A ``.dlpk`` file, an ``.emd`` file with its weights beside it, the folder of one, or either path
        without its ending.
    working_dir
        A name alone that is nowhere else is looked for in this folder's ``models``.

    Raises
    ------
    MissingInputError
        If nothing is there.
    PackageError
        If what is there is no whole package of ours; the message says what is wrong with it.
    """
    try:
        found = _find(Path(path), working_dir)
        if found.suffix.lower() in ARCHIVE_SUFFIXES:
            return _from_archive(found)
        return _from_emd_file(found)
    except OSError as error:
        if isinstance(error, MissingInputError):
            raise
        raise PackageError(f"{path} cannot be read: {error}.") from error


def build_model(package: Package, device: str = "cpu") -> "ImageryModel":
    """The model of a package on a device, in evaluation mode, without data.

    Raises
    ------
    PackageError
        If the weights are damaged or do not belong to the description.
    """
    from rasterloom.models.build import build
    from rasterloom.models.weights import put_weights

    try:
        model = build(package.spec)
        put_weights(model.network, package.tensors())
    except (ModelMismatchError, SettingError) as error:
        raise PackageError(f"{package.source} contradicts itself: {error}") from error
    model.history = package.history
    model.network.to(device).eval()
    return model


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


def _from_archive(path: Path) -> Package:
    with Archive(path) as archive:
        names = [name for name in archive.names if name.lower().endswith(".emd")]
        if len(names) != 1:
            raise PackageError(
                f"{path} is no model package: it holds {len(names)} .emd files and should hold one."
            )
        emd = parse_emd(archive.read(names[0]), source=str(path))
        folder = names[0].rpartition("/")[0]
        return _package(emd, str(path), lambda name: archive.read(f"{folder}/{name}" if folder else name))


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
    if not name.lower().endswith(_SAFETENSORS + _PICKLED):
        known = ", ".join(_SAFETENSORS + _PICKLED)
        raise PackageError(
            f"{source} holds its weights as {name}, which cannot be read: it should be {known}."
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
