"""What all networks have in common that were built and trained elsewhere."""

import copy
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import torch
from torch import nn

from rasterloom.models.contract import ModelSpec
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.models.history import History
from rasterloom.models.networks.fingerprint import module_digest
from rasterloom.models.networks.programs import Program, export_module, open_program, pickle_down
from rasterloom.models.services import service
from rasterloom.models.settings import read_settings


@dataclass(frozen=True, kw_only=True)
class ProgramSettings:
    """What is kept of every brought network besides its program."""

    name: str = ""
    """What messages call it."""
    tile_multiple: int = 1
    """What both sides of an image must be a multiple of, in pixels."""

    def __post_init__(self) -> None:
        if not isinstance(self.tile_multiple, int) or self.tile_multiple < 1:
            raise SettingError(
                f"tile_multiple={self.tile_multiple!r} cannot work: use a whole number from 1."
            )


@dataclass(frozen=True, kw_only=True)
class ScoringSettings(ProgramSettings):
    """The same of a network that scores classes."""

    outputs: str = "logits"
    """``logits`` or ``probabilities``: what the network returns."""

    def __post_init__(self) -> None:
        if self.outputs not in ("logits", "probabilities"):
            raise SettingError(f"outputs={self.outputs!r} is not known: use 'logits' or 'probabilities'.")
        super().__post_init__()


class BroughtModel(ABC):
    """A network of any origin with its description. It is run and saved like the other models, not trained.

    Its package holds the network itself, as a program.
    """

    settings_class: ClassVar[type[ProgramSettings]]
    """What is kept besides the program."""
    spec: ModelSpec
    """Everything about the model except the network."""
    network: Any
    """A module whose ``inner`` is the network as its author wrote it."""
    history: History
    """Empty: it was not trained here."""

    def __init__(self, spec: ModelSpec, module: nn.Module, program: Program | None = None) -> None:
        """Put a network and its description together.

        Parameters
        ----------
        spec
            Its parameters are those of :attr:`settings_class`.
        module
            The network as its author wrote it. It is not changed.
        program
            What the module was read from, if it was.
        """
        self.spec, self.history = spec, History()
        self.network = self._wrapped(module)
        self._program = program

    @abstractmethod
    def _wrapped(self, module: nn.Module) -> nn.Module:
        """The module in what makes its answers those of the task."""

    @classmethod
    def from_program(cls, spec: ModelSpec, program: Program, *, trust: bool, source: str) -> Self:
        """The model of a package. Raises PackageError if it holds code and is not trusted, or is damaged."""
        return cls(spec, open_program(program, trust=trust, source=source), program)

    @classmethod
    def without_network(cls, spec: ModelSpec) -> Self:
        """What the description alone tells: enough for :attr:`tile_multiple`."""
        model = cls.__new__(cls)
        model.spec, model.history = spec, History()
        _ = model._settings  # wrong ones are refused now
        return model

    @classmethod
    def from_spec(cls, spec: ModelSpec, data: None = None) -> NoReturn:
        """Nothing: a description is not enough to build a network of another author."""
        raise SettingError(
            f"{spec.model} cannot be built from its description: use from_torch with the network, or load "
            "its package."
        )

    @classmethod
    def from_model(cls, emd_path: str | Path, data: None = None, *, trust: bool = False) -> Self:
        """The model of a package.

        Parameters
        ----------
        emd_path
            A ``.dlpk`` or ``.emd`` file, or a model's folder.
        data
            None: it cannot be trained.
        trust
            Whether the network in the package, a program, may be run. ONNX needs no trust.

        Raises
        ------
        PackageError
            If the file is no package, or its program is not trusted.
        ModelMismatchError
            If it holds another kind of model.
        """
        if data is not None:
            cls._refuse("from_model with data")
        package = service("load")(emd_path, trust=trust)
        if package.spec.model != cls.__name__:
            raise ModelMismatchError(
                f"{emd_path} holds a {package.spec.model}: use {package.spec.model}.from_model."
            )
        model: Self = service("build")(package)
        return model

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        multiple: int = self._settings.tile_multiple
        return multiple

    @property
    def input_bands(self) -> int:
        """Channels of what the network takes."""
        return self.spec.band_count

    @property
    def digest(self) -> str:
        """SHA-256 of description and network as it is now, in hexadecimal: the same in every process."""
        inner = module_digest(self.network.inner) if self._program is None else self._program.digest
        plain = json.dumps(self.spec.to_json(), sort_keys=True)
        return hashlib.sha256(f"{plain}\n{inner}".encode()).hexdigest()

    def program(self, *, pickled: bool = False) -> Program:
        """The network as bytes: what it was read from, else exported by ``torch.export``, or ``pickled``.

        Raises SettingError if the module can be neither; the message says what would work.
        """
        if self._program is not None:
            return self._program
        module = self.network.inner
        if any(tensor.device.type != "cpu" for tensor in module.state_dict().values()):
            module = copy.deepcopy(module).to("cpu")
        if pickled:
            return pickle_down(module)
        side = self.spec.tile_size
        modes = [(part, part.training) for part in module.modules()]
        try:
            return export_module(module.eval(), torch.zeros(2, self.input_bands, side, side))
        finally:
            for part, mode in modes:
                part.training = mode

    def save(self, name_or_path: str | Path, *, overwrite: bool = False, pickled: bool = False) -> Path:
        """Write the model as a package: a folder with everything, and the same as one ``.dlpk`` file.

        A module is written as a ``torch.export`` program; TorchScript, ``torch.export`` and ONNX as they are.
        All but ONNX are programs, which are read back with ``trust=True`` only.

        Parameters
        ----------
        name_or_path
            A path without ending: its last part names the model.
        overwrite
            Replace a package of this name.
        pickled
            Write the module with its Python code, for one that ``torch.export`` cannot take.

        Returns
        -------
        pathlib.Path
            The ``.dlpk`` file.

        Raises
        ------
        SettingError
            If the module cannot be written in this way.
        OutputExistsError
            If a package of this name exists.
        """
        program = self.program(pickled=pickled)
        path: Path = service("save")(self, name_or_path, overwrite=overwrite, program=program)
        return path

    def package_facts(self, *, compute_metrics: bool) -> Mapping[str, Any]:
        """Nothing but what the description says."""
        return {}

    def fit(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: the network is trained where it was built."""
        self._refuse("fit")

    def lr_find(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: the network is trained where it was built."""
        self._refuse("lr_find")

    def unfreeze(self) -> NoReturn:
        """Refuse: the network is trained where it was built."""
        self._refuse("unfreeze")

    def load(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: the network has the weights that it was brought with."""
        self._refuse("load")

    def show_results(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuse: there are no validation chips."""
        self._refuse("show_results")

    def plot_losses(self) -> NoReturn:
        """Refuse: there is no training to show."""
        self._refuse("plot_losses")

    @cached_property
    def _settings(self) -> Any:
        return read_settings(type(self).__name__, self.spec.parameters, self.settings_class)[0]

    @staticmethod
    def _refuse(verb: str) -> NoReturn:
        raise SettingError(
            f"{verb} cannot work: a network that was brought by from_torch is trained where it was built. "
            "Train it there and bring it again, or train one of rasterloom's models, such as UnetClassifier."
        )
