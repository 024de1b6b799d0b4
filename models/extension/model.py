"""A model whose network, loss and decoding are a class of the user's."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self, final

from torch import Tensor, nn

from rasterloom.models.contract import ModelSpec, Task
from rasterloom.models.data import TrainingData
from rasterloom.models.errors import ModelMismatchError, PackageError, SettingError
from rasterloom.models.extension.configuration import (
    SOURCE_FILE,
    Configuration,
    backbone_name,
    read_backbone,
)
from rasterloom.models.extension.network import HookedNetwork
from rasterloom.models.imagery import ImageryModel
from rasterloom.models.objects.detector import (
    BOX_FORMATS,
    JUDGED_THRESHOLD,
    NMS_OVERLAP,
    THRESHOLD,
    Objects,
    average_precision,
    giving_losses,
    modes_kept,
    precision_facts,
)
from rasterloom.models.services import service
from rasterloom.models.settings import read_settings
from rasterloom.models.weights import put_weights

_TASKS = (Task.PIXELS, Task.OBJECTS)


@dataclass(frozen=True)
class ExtensionSettings:
    """What is kept of an extension besides its source and weights."""

    configuration: str = ""
    """Name of the class in ``ModelConfiguration.py``."""
    backbone: str | None = None
    """A name, or ``function:MODULE:NAME``."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of ``get_model``."""
    tile_multiple: int = 1
    """What both sides of an image must be a multiple of, in pixels."""

    def __post_init__(self) -> None:
        number = self.tile_multiple
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise SettingError(
                f"tile_multiple={number!r} of {self.configuration} cannot work: use a whole number from 1."
            )


@final
class ModelExtension(ImageryModel):
    """Trains, judges, shows, saves and runs a network that the user describes in a class of six methods.

    For chips of pixel classes and of objects. Images (N, C, H, W) are float32 and normalised, as
    ``data.normalization`` says. Where a method returns a list or tuple as input or target, the network and
    ``loss`` get its items one by one.

    ``get_model(self, data, backbone=None, **kwargs)``
        The network, a ``torch.nn.Module``. ``data`` is a
        :class:`~rasterloom.models.extension.network.DataFacts` and the same when a package is read.
    ``on_batch_begin(self, learn, xb, yb, **kwargs)``
        Returns input of the network and target of ``loss``. ``learn.model`` is the network, ``learn.data``
        what ``get_model`` got. ``yb`` is for pixels (N, 1, H, W) int64, positions among the outputs, negative
        where nothing is known; for objects a list with a dict for each chip, ``boxes`` (n, 4) float32 as x1,
        y1, x2, y2 in pixels of the chip, and ``labels`` (n,) int64 from 1. ``train`` is among the keywords,
        where the method takes them: False for the loss of validation chips.
    ``loss(self, model_output, *model_target)``
        One number, a tensor. For the loss of validation chips the network of a pixel model is in evaluation
        mode, that of a detector in training mode with its normalisation and dropout at rest.
    ``transform_input(self, xb)``, ``transform_input_multispectral(self, xb)``
        Input of the network for predictions, of three bands and of any other number.
    ``post_process(self, pred, thres)``
        For pixels: the position of each pixel's class, (N, 1, H, W), or the probabilities of all classes,
        (N, K, H, W).
    ``post_process(self, pred, nms_overlap, thres, chip_size, device)``
        For objects: a list with a dict for each chip, ``boxes`` and ``labels`` as above and ``scores`` (n,)
        in 0..1. Those below ``thres`` are dropped.

    A class may have ``tile_multiple``, a whole number that sides of an image must be a multiple of.
    """

    dataset_types = ("Classified_Tiles", *BOX_FORMATS)

    network: HookedNetwork
    _configuration: Configuration

    def __init__(
        self,
        data: TrainingData | None,
        model_conf: type,
        backbone: str | Callable[..., Any] | None = None,
        pretrained_path: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        """Build the network of a class for the data.

        Parameters
        ----------
        data
            What ``prepare_data`` returned, with pixel classes or objects.
        model_conf
            The class, without arguments to its constructor. It stands in a module of its own that needs
            nothing but installed packages: a package carries that file.
        backbone
            Handed to ``get_model``: a name, or a function of an installed package.
        pretrained_path
            A saved model of the same class, bands and classes to start from.
        kwargs
            Handed to ``get_model``; plain values that JSON can hold.

        Raises
        ------
        SettingError
            If the class lacks a method or cannot be saved, an argument cannot be saved, or there is no data.
        ModelMismatchError
            If the data is for another task.
        """
        if data is None:
            raise SettingError(
                "ModelExtension needs data: give what prepare_data returns, or use ModelExtension.from_model."
            )
        self._configuration = Configuration.of(model_conf)
        parameters = self.complete_parameters(
            {
                "configuration": self._configuration.class_name,
                "backbone": backbone_name(backbone),
                "arguments": _plain(kwargs),
                "tile_multiple": getattr(model_conf, "tile_multiple", 1),
            }
        )
        self._begin(data.spec_for(type(self).__name__, parameters), data, pretrained=False)
        if pretrained_path is not None:
            self.load(pretrained_path)
            self.freeze()

    @classmethod
    def from_spec(cls, spec: ModelSpec, data: TrainingData | None = None) -> NoReturn:
        """Nothing: a description does not hold the class."""
        raise SettingError(
            "a ModelExtension cannot be built from its description: use ModelExtension with the class, or "
            "load its package."
        )

    @classmethod
    def from_package(cls, package: Any, trust: bool) -> Self:
        """The model of a package; runs the source in it. Raises PackageError if that is not trusted."""
        if not trust:
            package.check_trust()
            raise PackageError(f"{package.source} is not trusted: read it with trust=True.")
        model = cls.without_network(package.spec)
        origin = f"{package.source}, {SOURCE_FILE}"
        try:
            source = package.member(SOURCE_FILE).decode()
        except UnicodeDecodeError as error:
            raise PackageError(f"{origin} is damaged: it is no text in UTF-8 ({error}).") from error
        model._configuration = Configuration.from_source(source, model._settings.configuration, origin)
        model._begin(model.spec, None, pretrained=False)
        put_weights(model.network, package.tensors())
        return model

    @classmethod
    def complete_parameters(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, checked, JSON-able, with the defaults filled in."""
        settings: ExtensionSettings = read_settings(cls.__name__, parameters, ExtensionSettings)[0]
        return asdict(settings)

    def build_network(self, *, pretrained: bool) -> HookedNetwork:
        """A new network of the class for :attr:`spec`."""
        if self.spec.task not in _TASKS:
            raise ModelMismatchError(
                f"ModelExtension learns pixels and objects, and this data is for {self.spec.task}."
            )
        settings = self._settings
        backbone, arguments = read_backbone(settings.backbone), copy.deepcopy(dict(settings.arguments))
        return HookedNetwork.built(self._configuration, self.spec, backbone, arguments)

    def training_loss(self, batch: Any) -> Tensor:
        """What the class's ``loss`` says of images and targets."""
        images, targets = batch
        return self.network.loss(images, self._checked(targets), train=True)

    def judged(self, batch: Any) -> tuple[Tensor, Any]:
        """The loss of a validation batch, and the positions (N, H, W) of classes, or the objects found."""
        images, targets = batch
        if self._finds_objects:
            with giving_losses(self.network, images.device):
                loss = self.network.loss(images, self._checked(targets), train=False)
            return loss, self.detect(images, threshold=JUDGED_THRESHOLD)
        with modes_kept(self.network):
            loss = self.network.loss(images, targets, train=False)
        return loss, self.network.scores(images).argmax(dim=1)

    def detect(
        self, images: Tensor, *, threshold: float = THRESHOLD, nms_overlap: float = NMS_OVERLAP
    ) -> list[Objects]:
        """The objects of each chip, of a model for objects; the network does not train.

        Parameters
        ----------
        images
            (N, C, H, W) float32, normalised.
        threshold, nms_overlap
            Handed to ``post_process``.
        """
        return self.network.objects(images, threshold=threshold, nms_overlap=nms_overlap)

    def scores(self, logits: Tensor) -> Tensor:
        """The network's outputs as they are: the largest belongs to the most probable class."""
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """The network's outputs as they are: ``post_process`` has made probabilities, or ones and zeros."""
        return logits

    def average_precision_score(
        self, detect_thresh: float = 0.2, iou_thresh: float = 0.1, mean: bool = False
    ) -> dict[str, float] | float:
        """Average precision on the validation set, of a model for objects.

        Parameters
        ----------
        detect_thresh
            Least score of an object that counts, 0..1.
        iou_thresh
            Least intersection over union of a found object with the true one, above 0 and at most 1.
        mean
            The mean over the classes instead of a number for each.
        """
        if not self._finds_objects:
            raise SettingError("average_precision_score is for objects, and this model is for pixels.")
        return average_precision(self, detect_thresh=detect_thresh, iou_thresh=iou_thresh, mean=mean)

    def early_layers(self) -> nn.Module:
        """``backbone`` or ``encoder`` of the network, where it has one; else nothing."""
        for name in ("backbone", "encoder"):
            if isinstance(part := getattr(self.network.inner, name, None), nn.Module):
                return part
        return nn.Module()

    def package_files(self) -> dict[str, bytes]:
        """The source of the class."""
        return {SOURCE_FILE: self._configuration.source.encode()}

    def package_facts(self, *, compute_metrics: bool) -> dict[str, Any]:
        """What other software looks for, and on request figures on the validation set."""
        facts: dict[str, Any] = {
            "ModelConfigurationFile": SOURCE_FILE,
            "ModelFileConfigurationClass": self._configuration.class_name,
            "DatasetType": BOX_FORMATS[0] if self._finds_objects else "Classified_Tiles",
            "Kwargs": dict(self._settings.arguments),
        }
        if self._finds_objects:
            facts["ModelType"] = "ObjectDetection"
        if not compute_metrics or self.data is None:
            return facts
        return {**facts, **(precision_facts(self) if self._finds_objects else self._pixel_facts())}

    @property
    def unscored_values(self) -> tuple[int, ...]:
        """Class values that means over classes leave out: 0 where it is no class."""
        named = {info.value for info in self.spec.classes}
        return tuple(value for value in self.spec.output_values if value not in named)

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return self._settings.tile_multiple

    @property
    def available_metrics(self) -> list[str]:
        """Columns of the training table that ``fit(monitor=...)`` can watch."""
        if self._finds_objects:
            return ["valid_loss", "average_precision"]
        return ["valid_loss", "accuracy", "miou", "dice"]

    @property
    def supported_backbones(self) -> list[str]:
        """None: what ``backbone`` may be is the class's own matter."""
        return []

    @property
    def _finds_objects(self) -> bool:
        return self.spec.task == Task.OBJECTS

    @property
    def _settings(self) -> ExtensionSettings:
        settings: ExtensionSettings = read_settings(
            type(self).__name__, self.spec.parameters, ExtensionSettings
        )[0]
        return settings

    def __getstate__(self) -> dict[str, Any]:
        # classes of the user's module have no name in another process: the network is built there anew
        state = {name: value for name, value in vars(self).items() if name != "network"}
        weights = {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        learning = [name for name, value in self.network.named_parameters() if value.requires_grad]
        return {**state, "_weights": weights, "_learning": learning}

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights, learning = state.pop("_weights"), set(state.pop("_learning"))
        vars(self).update(state)
        self.network = self.build_network(pretrained=False)
        self.network.load_state_dict(weights)
        for name, value in self.network.named_parameters():
            value.requires_grad_(name in learning)

    def _take_data(self, data: TrainingData) -> None:
        task = data.spec_for(type(self).__name__, self.spec.parameters).task
        if task != self.spec.task:
            raise ModelMismatchError(f"this model is for {self.spec.task}, and the data is for {task}.")
        super()._take_data(data)

    def _checked(self, targets: Any) -> Any:
        if self._finds_objects and isinstance(targets, Mapping):
            raise ModelMismatchError(
                "ModelExtension learns pixels or objects, and these chips hold both (Panoptic_Segmentation): "
                "export them as Classified_Tiles or RCNN_Masks."
            )
        return targets

    def _pixel_facts(self) -> dict[str, Any]:
        scores = service("evaluate")(self, self.data, show_progress=False)
        named = [info for info in self.output_classes if info.value not in self.unscored_values]
        figures = {"precision": scores.precision(), "recall": scores.recall(), "f1": scores.f1()}
        table = {
            name: {info.name: float(values[info.value]) for info in named} for name, values in figures.items()
        }
        return {
            "accuracy": float(scores.accuracy),
            "per_class_metrics": table,
            "confusion": scores.to_json(),
        }


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as a package holds them, so that training sees the same ones."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(arguments), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise SettingError(
            f"the arguments {', '.join(arguments)} cannot be saved with the model ({error}): give numbers, "
            "texts, lists and dicts of them."
        ) from error
    return plain
