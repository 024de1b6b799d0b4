"""The network of a user's model class, between the methods of that class."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from rasterloom.models.contract import ModelSpec, Normalization, Task
from rasterloom.models.errors import SettingError
from rasterloom.models.extension.configuration import Configuration
from rasterloom.models.objects.detector import NMS_OVERLAP, THRESHOLD, Objects, checked_objects


@final
@dataclass(frozen=True)
class DataFacts:
    """What ``get_model`` is told of the data: the same when training and when a package is read."""

    c: int
    """Outputs: the classes, and background where there is one. For objects background is number 0."""
    classes: tuple[str, ...]
    """Names of the outputs, in their order."""
    class_mapping: Mapping[int, str]
    """Name of each class value."""
    chip_size: int
    """Side of the training chips, in pixels."""
    bands: tuple[str, ...]
    """Names of the input bands."""
    normalization: Normalization
    """Scaling that images have gone through: ``(pixel - mean) / std``, a number for each band."""
    dtype: str
    """Pixel type of the chips."""

    @classmethod
    def of(cls, spec: ModelSpec) -> "DataFacts":
        """Those of a model's description."""
        names = tuple(info.name for info in spec.output_classes)
        if spec.task == Task.OBJECTS:  # label k is the k-th class whatever their values
            names = ("background", *(info.name for info in spec.classes))
        return cls(
            c=len(names),
            classes=names,
            class_mapping={info.value: info.name for info in spec.classes},
            chip_size=spec.tile_size,
            bands=spec.bands,
            normalization=spec.normalization,
            dtype=spec.dtype,
        )


@final
@dataclass(frozen=True)
class Learner:
    """What ``on_batch_begin`` is told of the training."""

    model: nn.Module
    """What ``get_model`` returned."""
    data: DataFacts


@final
class HookedNetwork(nn.Module):
    """From normalised images to predictions: ``transform_input``, the network, ``post_process``."""

    def __init__(self, inner: nn.Module, configuration: Configuration, spec: ModelSpec) -> None:
        """Put a network between the methods of its class."""
        super().__init__()
        self.inner = inner
        self.facts = DataFacts.of(spec)
        self._task, self._configuration = spec.task, configuration
        self._told_train = _takes_train(configuration.hooks.on_batch_begin)

    @classmethod
    def built(
        cls, configuration: Configuration, spec: ModelSpec, backbone: Any, arguments: Mapping[str, Any]
    ) -> "HookedNetwork":
        """With a new network of ``get_model``. Raises SettingError if that returns something else."""
        inner = configuration.hooks.get_model(DataFacts.of(spec), backbone, **arguments)
        if not isinstance(inner, nn.Module):
            raise SettingError(
                f"get_model of {configuration.class_name} should return a torch.nn.Module, and returned "
                f"{_told(inner)}."
            )
        return cls(inner, configuration, spec)

    def forward(self, images: Tensor) -> Any:
        """Probabilities (N, K, H, W) of the classes of pixels, or the objects of each chip."""
        if self._task == Task.PIXELS:
            return self.scores(images)
        return self.objects(images, threshold=THRESHOLD, nms_overlap=NMS_OVERLAP)

    def scores(self, images: Tensor, threshold: float = THRESHOLD) -> Tensor:
        """Probabilities of the classes, (N, K, H, W) float32: 1 and 0 where only positions are known."""
        found = self._configuration.hooks.post_process(self._predicted(images), threshold)
        count, _, height, width = images.shape
        shapes = {(count, height, width), (count, 1, height, width)}
        if isinstance(found, Tensor) and self.facts.c > 1 and found.shape == (
            count, self.facts.c, height, width
        ):  # fmt: skip
            return found.float()
        if not isinstance(found, Tensor) or tuple(found.shape) not in shapes:
            raise SettingError(
                f"post_process of {self._name} should return the position of each pixel's class, "
                f"({count}, 1, {height}, {width}), or the probabilities of all classes, "
                f"({count}, {self.facts.c}, {height}, {width}), and returned {_told(found)}."
            )
        positions = found.reshape(count, height, width).long()
        if int(positions.min()) < 0 or int(positions.max()) >= self.facts.c:
            raise SettingError(
                f"post_process of {self._name} returned positions from {int(positions.min())} to "
                f"{int(positions.max())}: they are those among {self.facts.c} outputs, from 0."
            )
        one_hot = nn.functional.one_hot(positions, self.facts.c)
        return one_hot.permute(0, 3, 1, 2).float()

    def objects(self, images: Tensor, *, threshold: float, nms_overlap: float) -> list[Objects]:
        """The objects of each chip whose score is ``threshold`` or more."""
        found = self._configuration.hooks.post_process(
            self._predicted(images), nms_overlap, threshold, images.shape[-1], images.device
        )
        origin = f"post_process of {self._name}"
        chips = checked_objects(found, len(images), classes=self.facts.c - 1, origin=origin)
        return [_at_least(chip, threshold) for chip in chips]

    def loss(self, images: Tensor, targets: Any, *, train: bool) -> Tensor:
        """The number that training makes small, of one batch after ``on_batch_begin``."""
        told = {"train": train} if self._told_train else {}
        target = targets[:, None] if self._task == Task.PIXELS else targets
        begun = self._configuration.hooks.on_batch_begin(
            Learner(self.inner, self.facts), images, target, **told
        )
        if not isinstance(begun, tuple | list) or len(begun) != 2:
            raise SettingError(
                f"on_batch_begin of {self._name} should return the input of the network and the target of "
                f"the loss, and returned {_told(begun)}."
            )
        inputs, target = begun
        loss = self._configuration.hooks.loss(self.inner(*_listed(inputs)), *_listed(target))
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise SettingError(
                f"loss of {self._name} should return one number as a tensor, and returned {_told(loss)}."
            )
        return loss.reshape(())

    def _predicted(self, images: Tensor) -> Any:
        hooks = self._configuration.hooks
        # other software gives three bands of 0..255 one method and everything else the other
        transform = (
            hooks.transform_input if len(self.facts.bands) == 3 else hooks.transform_input_multispectral
        )
        return self.inner(*_listed(transform(images)))

    @property
    def _name(self) -> str:
        return self._configuration.class_name


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple | list) else (value,)


def _at_least(chip: Objects, threshold: float) -> Objects:
    kept = chip["scores"] >= threshold
    return {name: values[kept] for name, values in chip.items()}


def _takes_train(hook: Any) -> bool:
    parameters = inspect.signature(hook).parameters.values()
    return any(p.kind == p.VAR_KEYWORD or p.name == "train" for p in parameters)


def _told(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, torch.Tensor) else type(value).__name__
