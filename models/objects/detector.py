"""What all models share that find objects."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from rasterloom.models.backbones.names import backbone_names
from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.models.objects.predicting import (
    TRACKER_OPTIONS,
    VISUAL_OPTIONS,
    predict_image,
    predict_video,
)
from rasterloom.models.services import service
from rasterloom.models.settings import plain_parameters, read_settings

if TYPE_CHECKING:
    import numpy as np

BOX_FORMATS = (
    "PASCAL_VOC_rectangles",
    "KITTI_rectangles",
    "YOLO",
    "RCNN_Masks",
    "COCO",
)
"""Kinds of chips that hold boxes, or outlines that boxes are made of."""
THRESHOLD = 0.5
"""Least score of an object that is shown."""
NMS_OVERLAP = 0.1
"""Most two objects of a class may overlap, as intersection over union."""
JUDGED_THRESHOLD = 0.05
"""Least score of an object that training counts: average precision wants the doubtful ones too."""

Objects = dict[str, Tensor]
"""What is known or found in one chip: ``boxes`` (n, 4) float32 xyxy in pixels of the chip, ``labels`` (n,)
int64 from 1, found ones with ``scores`` (n,) float32 in 0..1, and perhaps ``masks`` (n, H, W)."""

_STEADY = (
    nn.modules.batchnorm._NormBase,  # batch and instance normalisation have no public base
    nn.modules.dropout._DropoutNd,
)


class ObjectScores(Protocol):
    """Found objects against true ones, as the evaluating service returns them."""

    def average_precision(self) -> "np.ndarray": ...
    def mean_average_precision(self) -> float: ...


class ObjectDetector(ImageryModel):
    """A model that finds objects; an adapter adds the network, its loss and its decoding."""

    dataset_types: ClassVar[tuple[str, ...]] = BOX_FORMATS
    settings_kinds: ClassVar[tuple[type, ...]]
    """Dataclasses of the settings, without a name in common; the first with ``tile_multiple``."""

    @classmethod
    def complete_parameters(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, checked, JSON-able, with the defaults filled in."""
        return plain_parameters(*read_settings(cls.__name__, parameters, *cls.settings_kinds))

    @property
    def settings(self) -> tuple[Any, ...]:
        """An instance of each of :attr:`settings_kinds`, of this model."""
        return read_settings(type(self).__name__, self.spec.parameters, *self.settings_kinds)

    @abstractmethod
    def batch_loss(self, images: Tensor, targets: Sequence[Objects]) -> Tensor:
        """The number that training makes small; the network is in training mode.

        Parameters
        ----------
        images
            (N, C, H, W) float32, normalised.
        targets
            What is known of each chip; perhaps nothing, with ``boxes`` of (0, 4).
        """

    @abstractmethod
    def detect(
        self, images: Tensor, *, threshold: float = THRESHOLD, nms_overlap: float = NMS_OVERLAP
    ) -> list[Objects]:
        """The objects of each chip; the network does not train.

        Parameters
        ----------
        images
            (N, C, H, W) float32, normalised.
        threshold
            Least score, 0..1.
        nms_overlap
            Of objects of a class that overlap more than this, the most certain one is kept.
        """

    def training_loss(self, batch: Any) -> Tensor:
        """The loss of images (N, C, H, W) and the objects of each."""
        images, targets = batch
        return self.batch_loss(images, targets)

    def judged(self, batch: Any) -> tuple[Tensor, list[Objects]]:
        """The loss as in training, with nothing drawn or learnt, and the objects that are found."""
        images, targets = batch
        with giving_losses(self.network, images.device):
            loss = self.batch_loss(images, targets)
        return loss, self.detect(images, threshold=JUDGED_THRESHOLD)

    @property
    def available_metrics(self) -> list[str]:
        """Columns of the training table that ``fit(monitor=...)`` can watch."""
        return ["valid_loss", "average_precision"]

    @staticmethod
    def backbones() -> list[str]:
        """Feature extractors that are always known; other convolutional networks of timm work too."""
        return backbone_names()

    @property
    def supported_backbones(self) -> list[str]:
        """The same as :meth:`backbones`."""
        return self.backbones()

    def early_layers(self) -> nn.Module:
        """The backbone."""
        return self.network.get_submodule("encoder")

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return int(self.settings[0].tile_multiple)

    def average_precision_score(
        self,
        detect_thresh: float = 0.2,
        iou_thresh: float = 0.1,
        mean: bool = False,
        show_progress: bool = True,
    ) -> dict[str, float] | float:
        """Average precision on the validation set: see :func:`average_precision`."""
        return average_precision(
            self,
            detect_thresh=detect_thresh,
            iou_thresh=iou_thresh,
            mean=mean,
            show_progress=show_progress,
        )

    def show_results(
        self,
        rows: int = 5,
        thresh: float = THRESHOLD,
        nms_overlap: float = NMS_OVERLAP,
        **kwargs: Any,
    ) -> Any:
        """Draw chips of the validation set with their objects and those that are found.

        Parameters
        ----------
        rows
            Chips to show.
        thresh
            Least score of a found object that is shown, 0..1.
        nms_overlap
            Of found objects of a class that overlap more than this, the most certain one is shown.
        kwargs
            ``rgb_bands``, ``statistics_percent``, ``alpha``: see
            :func:`~rasterloom.pipeline.training.pictures.show_results`.
        """
        return super().show_results(rows, thresh=thresh, nms_overlap=nms_overlap, **kwargs)

    def predict(
        self,
        image_path: Any,
        threshold: float = THRESHOLD,
        nms_overlap: float = NMS_OVERLAP,
        return_scores: bool = False,
        visualize: bool | str | Path = False,
        resize: bool = False,
        batch_size: int = 1,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Boxes and class values of the objects of one image: see :func:`predict_image`."""
        return predict_image(
            self,
            image_path,
            threshold,
            nms_overlap,
            return_scores,
            visualize,
            resize,
            batch_size,
            **kwargs,
        )

    def predict_video(
        self,
        input_video_path: str | Path,
        metadata_file: str | Path,
        threshold: float = THRESHOLD,
        nms_overlap: float = NMS_OVERLAP,
        track: bool = False,
        visualize: bool = False,
        output_file_path: str | Path | None = None,
        multiplex: bool = False,
        multiplex_file_path: str | Path | None = None,
        tracker_options: Mapping[str, Any] = TRACKER_OPTIONS,
        visual_options: Mapping[str, Any] = VISUAL_OPTIONS,
        resize: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Write the objects of every frame of a video into its metadata: see :func:`predict_video`."""
        return predict_video(
            self,
            input_video_path,
            metadata_file,
            threshold,
            nms_overlap,
            track,
            visualize,
            output_file_path,
            multiplex,
            multiplex_file_path,
            tracker_options,
            visual_options,
            resize,
            **kwargs,
        )

    def package_facts(self, *, compute_metrics: bool) -> dict[str, Any]:
        """On request, the average precision of each class on the validation set."""
        return precision_facts(self) if compute_metrics else {}


def summed_losses(network: nn.Module, images: Tensor, targets: Sequence[Objects]) -> Tensor:
    """The sum of what a network answers for images and targets in training: losses by name."""
    losses: Mapping[str, Tensor] = network(images, list(targets))
    return torch.stack([loss.float() for loss in losses.values()]).sum()


def average_precision(
    model: ImageryModel,
    *,
    detect_thresh: float = 0.2,
    iou_thresh: float = 0.1,
    mean: bool = False,
    show_progress: bool = False,
    **settings: Any,
) -> dict[str, float] | float:
    """Average precision on the validation set.

    Parameters
    ----------
    detect_thresh
        Least score of an object that counts, 0..1.
    iou_thresh
        Least intersection over union of a found object with the true one, above 0 and at most 1.
    mean
        The mean over the classes instead of a number for each.
    show_progress
        Whether a bar shows how far it is.
    settings
        Of the service ``evaluate``, such as ``masks=True``.

    Returns
    -------
    dict or float
        By class name, 0..1; nan for a class that has no object in the validation set.

    Raises
    ------
    SettingError
        If a number is out of range, or the model has no data.
    """
    if not 0 <= detect_thresh <= 1:
        raise SettingError(f"detect_thresh={detect_thresh!r} cannot work: use a number from 0 to 1.")
    if not 0 < iou_thresh <= 1:
        raise SettingError(f"iou_thresh={iou_thresh!r} cannot work: use a number above 0 and at most 1.")
    if model.data is None:
        raise SettingError(
            "average precision needs data and this model was loaded without: use from_model(path, data=...)."
        )
    scores: ObjectScores = service("evaluate")(
        model, model.data, show_progress=show_progress, threshold=detect_thresh, iou=iou_thresh, **settings
    )
    if mean:
        return scores.mean_average_precision()
    return {
        info.name: float(figure)
        for info, figure in zip(model.spec.classes, scores.average_precision(), strict=True)
    }


def precision_facts(model: ImageryModel, **settings: Any) -> dict[str, Any]:
    """The entry of a package that says how well objects are found; none where the model has no data."""
    return {} if model.data is None else {"average_precision_score": average_precision(model, **settings)}


@contextmanager
def giving_losses(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, a network gives its losses as in training, the same each time, and learns nothing from it.

    Detectors have losses in training mode alone. Normalisation and dropout stay as they are when judging, and
    what the network draws at random does not depend on what was drawn before, nor change what is drawn after.
    """
    devices = [device.index or 0] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), modes_kept(network):
        torch.manual_seed(0)
        network.train()
        for part in network.modules():
            if isinstance(part, _STEADY):
                part.eval()
        yield


@contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """Afterwards each part of a network trains or judges as before."""
    modes = [(part, part.training) for part in network.modules()]
    try:
        yield
    finally:
        for part, was_training in modes:
            part.training = was_training


def checked_objects(found: Any, count: int, *, classes: int, origin: str) -> list[Objects]:
    """What a detector of any author returned, one mapping for each chip, in the types of the contract.

    Parameters
    ----------
    count
        Chips that were given.
    classes
        Labels go from 1 to this.
    origin
        What returned it, for the message.

    Raises
    ------
    SettingError
        If it is something else; the message says what.
    """
    wanted = (
        f"{origin} should return a list with a dict for each of the {count} chips: boxes (n, 4) as x1, y1, "
        f"x2, y2 in pixels, labels (n,) from 1 to {classes} and scores (n,)"
    )
    if isinstance(found, Mapping) or not isinstance(found, Sequence) or len(found) != count:
        size = f" of {len(found)}" if isinstance(found, Sequence) else ""
        raise SettingError(f"{wanted}, and returned {type(found).__name__}{size}.")
    return [_checked(chip, wanted, classes) for chip in found]


def _checked(chip: Any, wanted: str, classes: int) -> Objects:
    names = ("boxes", "labels", "scores")
    if not isinstance(chip, Mapping) or not all(isinstance(chip.get(name), Tensor) for name in names):
        raise SettingError(f"{wanted}; one of them is {_told(chip)}.")
    boxes, labels, scores = (chip[name].detach() for name in names)
    if not (boxes.shape == (len(labels), 4) and labels.shape == scores.shape == (len(labels),)):
        shapes = ", ".join(f"{name} {tuple(chip[name].shape)}" for name in names)
        raise SettingError(f"{wanted}; one of them has {shapes}.")
    if len(labels) and not (int(labels.min()) >= 1 and int(labels.max()) <= classes):
        raise SettingError(f"{wanted}; one of them has the labels {sorted(set(labels.tolist()))}.")
    checked = {"boxes": boxes.float(), "labels": labels.long(), "scores": scores.float()}
    return {**checked, "masks": chip["masks"]} if isinstance(chip.get("masks"), Tensor) else checked


def _told(chip: Any) -> str:
    if isinstance(chip, Mapping):
        return "a dict of " + ", ".join(f"{name}: {type(value).__name__}" for name, value in chip.items())
    return f"a {type(chip).__name__}"
