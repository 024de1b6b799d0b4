"""What every image model can do: train, judge, show, save and load."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from torch import Tensor, nn

from rasterloom.models.contract import ClassInfo, ModelSpec, Normalization
from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.freezing import freeze_layers, grouped_parameters
from rasterloom.models.history import History
from rasterloom.models.saving import load_weights, model_in, save_model
from rasterloom.models.services import service
from rasterloom.models.settings import FRAMEWORK, check_known


class ImageryModel(ABC):
    """A network with its description, data, loss and training table.

    An adapter fills in the abstract methods. What a verb does beyond the network itself is work of the
    pipeline, reached through :mod:`rasterloom.models.services`.
    """

    dataset_types: ClassVar[tuple[str, ...]]
    """Kinds of chips it can be trained on."""

    spec: ModelSpec
    """Everything about the model except its weights."""
    data: TrainingData | None
    """What it trains on; None for inference."""
    network: nn.Module
    """(N, C, H, W) float32, normalised -> raw outputs; for pixel classifiers logits (N, K, H, W)."""
    history: History
    """The training table of all fits so far."""
    optimizer_state: dict[str, Any] | None = None
    """What the optimiser of the last fit, or of the package it was loaded from, had gathered; on the CPU."""

    def __init__(
        self,
        data: TrainingData | None,
        backbone: str | None = None,
        pretrained_path: str | Path | None = None,
        backend: str = "pytorch",
        **kwargs: Any,
    ) -> None:
        """Build a network that fits the data.

        Parameters
        ----------
        data
            What :func:`prepare_data` returned.
        backbone
            Name of the feature extractor, one of :attr:`supported_backbones`. None takes the usual one.
        pretrained_path
            A saved model to start from. Its weights take the place of the backbone's pretrained ones.
        backend
            ``pytorch``.
        kwargs
            The model's own settings. An unknown one is an error that lists the known ones.

        Raises
        ------
        SettingError
            If a setting cannot work, or there is no data.
        PretrainedError
            If the backbone's weights cannot be had; ``pretrained=False`` does without them.
        """
        name = type(self).__name__
        if data is None:
            raise SettingError(
                f"{name} needs data: give what prepare_data returns, or use {name}.from_model."
            )
        if str(backend).lower() != "pytorch":
            raise SettingError(f"backend={backend!r} cannot work: the networks are PyTorch's, use 'pytorch'.")
        chosen = {} if backbone is None else {"backbone": backbone}
        parameters = self.complete_parameters({**kwargs, **chosen})
        pretrained = bool(parameters.get("pretrained")) and pretrained_path is None
        self._begin(data.spec_for(name, parameters), data, pretrained=pretrained)
        if pretrained_path is not None:
            self.load(pretrained_path)
        if pretrained or pretrained_path is not None:
            self.freeze()

    @classmethod
    def from_spec(cls, spec: ModelSpec, data: TrainingData | None = None) -> Self:
        """A model with random weights that fits a description.

        Raises SettingError if it is of another class or its parameters cannot work.
        """
        model = cls.without_network(spec)
        model._begin(model.spec, data, pretrained=False)
        return model

    @classmethod
    def without_network(cls, spec: ModelSpec) -> Self:
        """What the description alone tells: enough for :attr:`tile_multiple`.

        Raises SettingError if it is of another class or its parameters cannot work.
        """
        if spec.model != cls.__name__:
            raise SettingError(f"{cls.__name__} cannot be built from the description of a {spec.model}.")
        model = cls.__new__(cls)
        parameters = cls.complete_parameters(spec.parameters)
        model.spec = dataclasses.replace(spec, parameters=parameters)
        model.data, model.history = None, History()
        return model

    @classmethod
    @abstractmethod
    def complete_parameters(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, checked, JSON-able, with the defaults filled in."""

    @abstractmethod
    def build_network(self, *, pretrained: bool) -> nn.Module:
        """A new network for :attr:`spec`."""

    @abstractmethod
    def training_loss(self, batch: Any) -> Tensor:
        """The number that training makes small, of one batch as the data gives it.

        The network is in training mode. What a model does with a batch besides, such as mixing chips or a
        loss on a side output, it does here.
        """

    @abstractmethod
    def judged(self, batch: Any) -> tuple[Tensor, Any]:
        """Validation loss of one batch, and what the model makes of it as the task's figures need it.

        For pixels that is the position of the likeliest output, (N, H, W) int64. The network does not train
        and gradients are off.
        """

    @abstractmethod
    def early_layers(self) -> nn.Module:
        """The part of the network that :meth:`freeze` holds still."""

    @abstractmethod
    def package_facts(self, *, compute_metrics: bool) -> dict[str, Any]:
        """Entries of this kind of model for the description in its package, JSON-able."""

    def package_files(self) -> dict[str, bytes]:
        """Further files that the model is made of, by their names in its package, such as its own code.

        :meth:`save` writes them beside the weights. A class that has some is built from a package by a class
        method ``from_package(package, trust)``, which reads them with ``package.member(name)``; Python files
        are given out only where the package is trusted.
        """
        return {}

    @property
    @abstractmethod
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""

    @property
    @abstractmethod
    def available_metrics(self) -> list[str]:
        """Columns of the training table that ``fit(monitor=...)`` can watch."""

    @property
    @abstractmethod
    def supported_backbones(self) -> list[str]:
        """Feature extractors that are always known."""

    @property
    def supported_datasets(self) -> list[str]:
        """The same as :attr:`dataset_types`."""
        return list(self.dataset_types)

    @property
    def mixup(self) -> bool:
        """Whether training blends two chips and their losses."""
        return bool(self.spec.parameters.get("mixup", False))

    @property
    def output_classes(self) -> tuple[ClassInfo, ...]:
        """The class of each network output; output 0 is background unless 0 is a class of its own."""
        return self.spec.output_classes

    def fit(
        self,
        epochs: int = 10,
        lr: float | slice | None = None,
        one_cycle: bool = True,
        early_stopping: bool = False,
        checkpoint: bool | str = True,
        tensorboard: bool = False,
        monitor: str = "valid_loss",
        **kwargs: Any,
    ) -> None:
        """Train, with ``client=`` on a Dask cluster; the table of epochs is in :attr:`history` afterwards.

        Parameters
        ----------
        epochs
            Passes over the training chips, 1 or more.
        lr
            Learning rate, or a slice of two: for the early layers and for the rest. None looks for one.
        one_cycle
            Whether the rate rises and falls once over the run; otherwise it stays.
        early_stopping
            Stop when ``monitor`` has not improved by 0.001 for 5 epochs.
        checkpoint
            True ends with the best epoch by ``monitor``, ``"all"`` keeps every epoch too, False none.
        tensorboard
            Write a log that TensorBoard shows.
        monitor
            One of :attr:`available_metrics`.

        Raises SettingError if a setting cannot work, or the model has no data.
        """
        if monitor not in self.available_metrics:
            raise SettingError(f"monitor={monitor!r} is no column: use one of {self.available_metrics}.")
        data = self._data_for("fit")
        done: History = service("fit")(
            self,
            data,
            epochs=epochs,
            lr=lr,
            one_cycle=one_cycle,
            early_stopping=early_stopping,
            checkpoint=checkpoint,
            tensorboard=tensorboard,
            monitor=monitor,
            **kwargs,
        )
        self.history = self.history.extended(done)

    def lr_find(self, allow_plot: bool = True) -> float:
        """A learning rate that suits model and data; with ``allow_plot`` the search is drawn."""
        data = self._data_for("lr_find")
        curve = service("find_rate")(self, data)
        if allow_plot:
            service("plot_rates")(curve)
        return float(curve.best)

    def freeze(self) -> None:
        """Hold the early layers still; their normalisation layers go on learning.

        The first convolution stays free where the image has not three bands: its weights were not trained
        for these.
        """
        freeze_layers(self.early_layers(), keep_first=self.spec.band_count != 3)

    def unfreeze(self) -> None:
        """Let every layer learn."""
        self.network.requires_grad_(True)

    def param_groups(self) -> list[dict[str, Any]]:
        """Parameters for an optimiser, the early layers first, so that each group can have its own rate."""
        return grouped_parameters(self.network, self.early_layers())

    def plot_losses(self) -> Any:
        """Draw training and validation loss over the epochs."""
        if not self.history.rows:
            raise SettingError("no losses to plot yet: call fit first.")
        return service("plot_losses")(self.history)

    def show_results(self, rows: int = 5, **kwargs: Any) -> Any:
        """Draw chips of the validation set with their labels and predictions."""
        data = self._data_for("show_results")
        return service("show_results")(self, data, rows=rows, **kwargs)

    def save(
        self,
        name_or_path: str | Path,
        framework: str = FRAMEWORK,
        publish: bool = False,
        gis: None = None,
        compute_metrics: bool = True,
        save_optimizer: bool = False,
        save_inference_file: bool = True,
        **kwargs: Any,
    ) -> Path:
        """Write the model as a package: a folder with everything, and the same as one ``.dlpk`` file.

        Parameters
        ----------
        name_or_path
            A path without ending: its last part names the model. A name alone goes to ``models`` in the
            data's working folder, or to the current folder where there is no data.
        framework
            ``PyTorch``: the weights, from which the model is built again to predict or to train on.
            ``torchscript`` or ``onnx``, for classifiers: the network as a program that runs without
            its class, compared with the network before it is written. Such a package is read with
            ``trust=True`` (ONNX without) and is not trained on.
        publish
            Also install the package in the registry, by its name.
        gis
            None: it belongs to a hosted GIS.
        compute_metrics
            Judge the model on the validation set and put figures and pictures in the package.
        save_optimizer
            Put the state of the optimiser of the last fit into the package, so that another fit begins with
            what it had gathered. It is about twice the size of the weights.
        save_inference_file
            Put a script into the package with which other software runs it, where rasterloom is installed.
        kwargs
            ``overwrite`` (False): replace a package of this name, also in the registry.
            ``registry`` (None): folder or URL of the registry, with ``publish``.

        Returns
        -------
        pathlib.Path
            The ``.dlpk`` file.

        Raises SettingError if a setting cannot work, OutputExistsError if a package of this name exists, and
        MissingExtraError if what writes ONNX is not installed.
        """
        check_known("save", kwargs, {"overwrite", "registry"})
        return save_model(
            self,
            name_or_path,
            framework=framework,
            publish=publish,
            gis=gis,
            compute_metrics=compute_metrics,
            save_optimizer=save_optimizer,
            save_inference_file=save_inference_file,
            **kwargs,
        )

    def load(self, name_or_path: str | Path, **kwargs: Any) -> None:
        """Take over the weights of a saved model, and the scaling of pixels that they were trained with.

        Parameters
        ----------
        name_or_path
            A ``.dlpk`` or ``.emd`` file, a model's folder, or the name it was saved or installed by.
        kwargs
            ``strict`` (True): whether every tensor must fit. False takes those that do, so that a model can
            start from one with other classes or bands.

        Raises ModelMismatchError if the weights or, with ``strict``, the classes do not fit, and PackageError
        if the file is no package.
        """
        check_known("load", kwargs, {"strict"})
        package = load_weights(self, name_or_path, strict=bool(kwargs.get("strict", True)))
        if package.spec.band_count == self.spec.band_count:
            self._take_scaling(package.spec.normalization)

    @classmethod
    def from_model(
        cls, emd_path: str | Path, data: TrainingData | None = None, *, trust: bool = False
    ) -> Self:
        """The model of a package, ready for inference, or with data for more training.

        Parameters
        ----------
        emd_path
            A ``.dlpk`` or ``.emd`` file, a model's folder, or the name it was installed by.
        data
            Prepared data with the same bands and classes, or None for inference.
        trust
            Whether code in the package may be run, which models with their own code need.

        Raises
        ------
        PackageError
            If the file is no package, or holds code that is not trusted.
        ModelMismatchError
            If the package holds another kind of model, or the data does not fit it.
        """
        model: Self = model_in(emd_path, cls, data, trust=trust)
        if data is not None:
            model._take_data(data)
        return model

    @classmethod
    def from_emd(cls, data: TrainingData | None, emd_path: str | Path, *, trust: bool = False) -> Self:
        """:meth:`from_model` with the arguments the other way round."""
        return cls.from_model(emd_path, data, trust=trust)

    def _begin(self, spec: ModelSpec, data: TrainingData | None, *, pretrained: bool) -> None:
        self.spec, self.data, self.history = spec, data, History()
        self.network = self.build_network(pretrained=pretrained)

    def _take_data(self, data: TrainingData) -> None:
        self.data = data
        self._take_scaling(self.spec.normalization)

    def _take_scaling(self, normalization: Normalization) -> None:
        # weights and scaling belong together: data that was scaled otherwise is taken as a copy
        self.spec = dataclasses.replace(self.spec, normalization=normalization)
        if self.data is not None and self.data.normalization != normalization:
            copy = dataclasses.replace(cast(Any, self.data), normalization=normalization)
            self.data = cast(TrainingData, copy)

    def _data_for(self, verb: str) -> TrainingData:
        if self.data is None:
            raise SettingError(
                f"{verb} needs data and this model was loaded without: use "
                f"{type(self).__name__}.from_model(path, data=prepare_data(...))."
            )
        return self.data
