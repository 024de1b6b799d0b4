"""A network that was built and trained elsewhere, as a pixel classifier."""

import copy
import dataclasses
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, Self, final

import torch
from torch import Tensor, nn

from rasterloom.models.contract import ClassInfo, ModelSpec
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.models.history import History
from rasterloom.models.networks.fingerprint import module_digest
from rasterloom.models.networks.outputs import PixelOutputs
from rasterloom.models.networks.programs import Program, export_module, open_program, pickle_down
from rasterloom.models.services import service
from rasterloom.models.settings import read_settings


@dataclasses.dataclass(frozen=True)
class TorchSettings:
    """What is kept of a brought network besides its program."""

    name: str = ""
    """What messages call it."""
    outputs: str = "logits"
    """``logits`` or ``probabilities``: what the network returns."""
    tile_multiple: int = 1
    """What both sides of an image must be a multiple of, in pixels."""

    def __post_init__(self) -> None:
        if self.outputs not in ("logits", "probabilities"):
            raise SettingError(f"outputs={self.outputs!r} is not known: use 'logits' or 'probabilities'.")
        if not isinstance(self.tile_multiple, int) or self.tile_multiple < 1:
            raise SettingError(
                f"tile_multiple={self.tile_multiple!r} cannot work: use a whole number from 1."
            )


@final
class TorchModel:
    """Gives every pixel a class with a network of any origin; :func:`rasterloom.models.from_torch` makes it.

    It is run and saved like the other models, and not trained: that happened elsewhere.
    """

    spec: ModelSpec
    """Everything about the model except the network."""
    network: PixelOutputs
    """(N, C, H, W) float32, normalised -> (N, K, H, W), one channel for each of ``spec.output_values``."""
    history: History
    """Empty: it was not trained here."""

    def __init__(self, spec: ModelSpec, module: nn.Module, program: Program | None = None) -> None:
        """Put a network and its description together.

        Parameters
        ----------
        spec
            Its parameters are those of :class:`TorchSettings`.
        module
            The network as its author wrote it. It is not changed.
        program
            What the module was read from, if it was.
        """
        self.spec, self.history = spec, History()
        self.network = PixelOutputs(module, probabilities=self._settings.outputs == "probabilities")
        self._program = program

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
        return self._settings.tile_multiple

    @property
    def output_classes(self) -> tuple[ClassInfo, ...]:
        """The class of each network output; output 0 may be background, which is no class."""
        return self.spec.output_classes

    def scores(self, logits: Tensor) -> Tensor:
        """The network's outputs as they are: the largest belongs to the most probable class."""
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """The network's outputs as probabilities, in the same shape."""
        return logits if self.network.probabilities else logits.softmax(dim=1)

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
            return export_module(module.eval(), torch.zeros(2, self.spec.band_count, side, side))
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

    def package_facts(self, *, compute_metrics: bool) -> dict[str, Any]:
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
    def _settings(self) -> TorchSettings:
        settings: TorchSettings = read_settings(type(self).__name__, self.spec.parameters, TorchSettings)[0]
        return settings

    @staticmethod
    def _refuse(verb: str) -> NoReturn:
        raise SettingError(
            f"{verb} cannot work: a network that was brought by from_torch is trained where it was built. "
            "Train it there and bring it again, or train one of rasterloom's models, such as UnetClassifier."
        )
