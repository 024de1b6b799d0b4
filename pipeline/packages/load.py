"""Reading model packages; what is in them is run only where the caller trusts it."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasterloom.cluster.places import Place
from rasterloom.models.catalog import find_adapter
from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import ModelMismatchError, PackageError, SettingError
from rasterloom.models.history import History
from rasterloom.pipeline.packages.finding import Described, find_package, open_archive
from rasterloom.pipeline.packages.manifest import from_emd
from rasterloom.pipeline.packages.members import Members
from rasterloom.pipeline.packages.tensors import PICKLED, SAFETENSORS, read_state, read_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from rasterloom.models.networks.programs import Program

_PROGRAMS = (".pt2", ".torchscript", ".onnx", ".pickle")
"""What a network of another author is written as."""
_CODE = (".py", ".pyc", ".pyd", ".so")
"""Files that are there to be run."""
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
    members: Members = field(repr=False)
    """Where its files are read from."""
    files: tuple[str, ...] = ()
    """Further files that the model is made of; see :meth:`member`."""
    optimizer: str | None = None
    """File with the optimiser's state, where there is one."""
    trust: bool = False
    """Whether code in the package may be run: a network that is a program, a model's Python file."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of spec, files and weights, in hexadecimal: equal for models that compute the same."""
        digest = hashlib.sha256(json.dumps(self.spec.to_json(), sort_keys=True).encode())
        for name in self.files:
            digest.update(hashlib.sha256(name.encode() + b"\0" + self._content(name)).digest())
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
        return read_tensors(
            self.weights, name=self.weights_name, source=f"{self.source}, {self.weights_name}"
        )

    def optimizer_state(self) -> dict[str, Any] | None:
        """State of the optimiser of the last run, where the package holds it.

        Raises
        ------
        PackageError
            If the file is damaged, or holds anything but tensors and plain values.
        """
        if self.optimizer is None:
            return None
        return read_state(self._content(self.optimizer), source=f"{self.source}, {self.optimizer}")

    def member(self, name: str) -> bytes:
        """The content of a file of the package.

        Parameters
        ----------
        name
            Its path relative to the ``.emd``, with forward slashes.

        Raises
        ------
        PackageError
            If it is not there or damaged, or is code and the package is not trusted.
        """
        self._check_code(name)
        return self._content(name)

    def program(self) -> "Program":
        """The network as a program, of a model that is not built from its description."""
        from rasterloom.models.networks.programs import Program, ProgramKind

        content = self.weights if isinstance(self.weights, bytes) else self.weights.read_bytes()
        return Program(ProgramKind(self.weights_name.rpartition(".")[2]), content)

    @property
    def needs_trust(self) -> bool:
        """Whether it is made of code that is run when the model is built, or predicts."""
        from rasterloom.models.networks.programs import HARMLESS

        harmless = tuple(f".{kind}" for kind in HARMLESS)
        program = self.weights_name.endswith(_PROGRAMS) and not self.weights_name.endswith(harmless)
        return program or any(name.lower().endswith(_CODE) for name in self.files)

    def check_trust(self) -> None:
        """Refuse code that the model is made of, where it is not trusted. Raises PackageError."""
        for name in self.files:
            self._check_code(name)
        if self.weights_name.endswith(_PROGRAMS):
            from rasterloom.models.networks.programs import ProgramKind, check_trust

            kind = ProgramKind(self.weights_name.rpartition(".")[2])
            check_trust(kind, trust=self.trust, source=self.source)

    def _check_code(self, name: str) -> None:
        if not self.trust and name.lower().endswith(_CODE):
            raise PackageError(
                f"{self.source} is made of {name}, Python code that is run when the model is built. If you "
                "trust where it is from, say so and give the tools what comes back: load_package(path, "
                "trust=True)."
            )

    def _content(self, name: str) -> bytes:
        found = self.members.find(name)
        return found if isinstance(found, bytes) else found.read_bytes()


def load_package(
    path: str | Path | Place, *, working_dir: Path | None = None, trust: bool = False
) -> Package:
    """Read a model package. Nothing in it is run by this, and later only what is trusted.

    Parameters
    ----------
    path
        A ``.dlpk`` file, an ``.emd`` file with its weights beside it, the folder of one, or either path
        without its ending; the URL of a ``.dlpk`` file, such as s3://bucket/fields.dlpk; or the name of a
        model that is installed in the registry.
    working_dir
        A name alone that is nowhere else is looked for in this folder's ``models``.
    trust
        Whether code in the package may be run: a network that is a program of its author, as ``from_torch``
        brings them, or the Python file of a model that brings its own class. Without it packages of weights
        and of ONNX graphs can be used.

    Raises
    ------
    MissingInputError
        If nothing is there.
    PackageError
        If what is there is no whole package of ours; the message says what is wrong with it.
    MissingExtraError
        If nothing here reads that kind of URL.
    """
    return package_of(find_package(path, working_dir), trust=trust)


def read_package(content: bytes, *, source: str, trust: bool = False) -> Package:
    """The package in the bytes of a ``.dlpk`` file; otherwise as :func:`load_package`."""
    return package_of(open_archive(content, source), trust=trust)


def package_of(described: Described, *, trust: bool = False) -> Package:
    """The package that a description is of; otherwise as :func:`load_package`."""
    source = described.source
    manifest = from_emd(described.emd, source=source)
    name = manifest.model_file
    endings = SAFETENSORS + PICKLED if find_adapter(manifest.spec.model).trainable else _PROGRAMS
    if not name.lower().endswith(endings):
        known = ", ".join(endings)
        raise PackageError(
            f"{source} holds its network as {name}, which cannot be read: it should be {known}."
        )
    return Package(
        spec=manifest.spec,
        emd=described.emd,
        weights=described.members.find(name),
        weights_name=name.lower(),
        history=manifest.history,
        source=source,
        members=described.members,
        files=tuple(sorted(manifest.files)),
        optimizer=manifest.optimizer,
        trust=trust,
    )


def build_model(package: Package, device: str = "cpu") -> Any:
    """The model of a package on a device, in evaluation mode, without data.

    Returns
    -------
    ImageryModel or TorchModel

    Raises
    ------
    PackageError
        If the weights are damaged or do not belong to the description, or the package is made of code that
        is not trusted.
    """
    package.check_trust()  # before anything is read, also by a model class
    row = find_adapter(package.spec.model)
    own = getattr(row.load(), "from_package", None)
    try:
        if own is not None:
            model = own(package, package.trust)
        else:
            model = _from_weights(package) if row.trainable else _from_program(package)
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
    kind = find_adapter(package.spec.model).load()
    return kind.from_program(
        package.spec,
        package.program(),
        trust=package.trust,
        source=f"{package.source}, {package.weights_name}",
    )
