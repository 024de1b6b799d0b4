"""YOLOv3 as a detector of things."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_iou, complete_box_iou_loss

from rasterloom.models.backbones.names import backbone_names
from rasterloom.models.contract import ModelSpec
from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.found import found_objects
from rasterloom.models.networks.yolo import TILE_MULTIPLE, YoloNetwork, YoloSettings, build_yolo
from rasterloom.models.networks.yolo_boxes import ALIKE, fitting_shapes, responsible
from rasterloom.models.objects.detector import NMS_OVERLAP, ObjectDetector, Objects
from rasterloom.models.objects.predicting import TRACKER_OPTIONS, VISUAL_OPTIONS
from rasterloom.models.saving import model_in
from rasterloom.models.services import service

THRESHOLD = 0.1
"""Least score of an object that is shown."""


@final
class YOLOv3(ObjectDetector):
    """Finds things with three heads on Darknet-53, or on another backbone, in chips of multiples of 32."""

    settings_kinds = (YoloSettings,)
    network: YoloNetwork

    def __init__(
        self, data: TrainingData | None = None, pretrained_path: str | Path | None = None, **kwargs: Any
    ) -> None:
        """Build a detector that fits the data.

        A model that starts from trained weights has its backbone frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned, with boxes or outlines, in chips of 32, 64, 96, ... pixels. None
            takes the model of ``pretrained_path`` as it is, for inference.
        pretrained_path
            A saved YOLOv3 to start from, with the same bands and classes.
        kwargs
            ``backbone``: one of :attr:`supported_backbones`, or a network of timm as ``timm:NAME``;
            darknet53 is the usual one. ``anchors``: nine pairs of width and height in pixels; without,
            those that the data's boxes look like, or those of ``pretrained_path``. ``pretrained``,
            ``head_channels``: see :class:`~rasterloom.models.networks.yolo.YoloSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work, or the chips' side is no multiple of 32.
        PretrainedError
            If the backbone's weights cannot be had.
        """
        if data is None and pretrained_path is not None:
            if kwargs:
                raise SettingError(
                    f"YOLOv3 without data takes the saved model as it is, not {', '.join(sorted(kwargs))}: "
                    "leave that out, or give data."
                )
            vars(self).update(vars(model_in(pretrained_path, YOLOv3, None, trust=False)))
            return
        if data is not None and kwargs.get("anchors") is None:
            kwargs["anchors"] = _anchors_of(pretrained_path, data)
        super().__init__(data, pretrained_path=pretrained_path, **kwargs)

    @classmethod
    def complete_parameters(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, checked, JSON-able, with the defaults filled in."""
        plain = super().complete_parameters(parameters)
        return {**plain, "anchors": [list(pair) for pair in plain["anchors"]]}

    def build_network(self, *, pretrained: bool) -> nn.Module:
        """A new network for the bands and classes of :attr:`spec`."""
        _check_tile(self.spec)
        return build_yolo(
            bands=self.spec.band_count,
            classes=len(self.spec.classes),
            settings=self._settings,
            pretrained=pretrained,
        )

    def batch_loss(self, images: Tensor, targets: Sequence[Objects]) -> Tensor:
        """How far boxes, the certainty that there is one, and class scores are off."""
        answers = self.network(images).float()  # half precision ends here: the losses sum over many anchors
        height, width = images.shape[-2:]
        anchors = self.network.anchors(height, width, images.device)
        sure, counted = torch.zeros_like(answers[..., 4]), torch.ones_like(answers[..., 4])
        boxes, classes, count = answers.new_zeros(()), answers.new_zeros(()), 0
        for number, target in enumerate(targets):
            if not len(target["boxes"]):
                continue
            own, box = responsible(self.network.shapes, target["boxes"].float(), height, width)
            # what overlaps a thing well is not held against it, though the thing is another anchor's
            counted[number] = (box_iou(anchors.boxes, target["boxes"].float()).amax(dim=1) <= ALIKE).float()
            counted[number, own], sure[number, own] = 1.0, 1.0
            count += len(own)
            found = anchors.decoded(answers[number, :, :4])[own]
            boxes = boxes + complete_box_iou_loss(found, target["boxes"].float()[box], reduction="sum")
            classes = classes + _class_loss(answers[number, own, 5:], target["labels"][box])
        certainty = F.binary_cross_entropy_with_logits(answers[..., 4], sure, counted, reduction="sum")
        total: Tensor = (boxes + certainty + classes) / max(1, count)
        return total + 0.0 * answers.sum()  # every weight has a gradient, in a batch without objects too

    def detect(
        self, images: Tensor, *, threshold: float = THRESHOLD, nms_overlap: float = NMS_OVERLAP
    ) -> list[Objects]:
        """The objects of each chip; the network does not train.

        Parameters
        ----------
        images
            (N, C, H, W) float32, normalised; sides are multiples of 32.
        threshold
            Least score, 0..1: the probability of an object times that of its class.
        nms_overlap
            Of objects of a class that overlap more than this, the most certain one is kept.
        """
        with torch.no_grad():
            answers = self.network(images).float()
        height, width = images.shape[-2:]
        boxes = self.network.anchors(height, width, images.device).decoded(answers[..., :4])
        scores = answers[..., 4:5].sigmoid() * answers[..., 5:].sigmoid()
        return [
            found_objects(own, likely, size=(height, width), threshold=threshold, nms_overlap=nms_overlap)
            for own, likely in zip(boxes, scores, strict=True)
        ]

    def average_precision_score(
        self,
        detect_thresh: float = THRESHOLD,
        iou_thresh: float = 0.1,
        mean: bool = False,
        show_progress: bool = True,
    ) -> dict[str, float] | float:
        """Average precision on the validation set; see :meth:`ObjectDetector.average_precision_score`."""
        return super().average_precision_score(detect_thresh, iou_thresh, mean, show_progress)

    def show_results(
        self, rows: int = 5, thresh: float = THRESHOLD, nms_overlap: float = NMS_OVERLAP, **kwargs: Any
    ) -> Any:
        """Draw chips of the validation set; see :meth:`ObjectDetector.show_results`."""
        return super().show_results(rows, thresh, nms_overlap, **kwargs)

    def predict(
        self,
        image_path: Any,
        threshold: float = THRESHOLD,
        nms_overlap: float = NMS_OVERLAP,
        return_scores: bool = True,
        visualize: bool | str | Path = False,
        resize: bool = False,
        batch_size: int = 1,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Boxes and class values of the objects of one image; see :meth:`ObjectDetector.predict`."""
        return super().predict(
            image_path, threshold, nms_overlap, return_scores, visualize, resize, batch_size, **kwargs
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
        """Write the objects of every frame into the metadata; see :meth:`ObjectDetector.predict_video`."""
        return super().predict_video(
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
        """The anchors and, on request, average precision."""
        anchors = [list(pair) for pair in self._settings.shapes]
        return {
            "backbone": self._settings.backbone,
            "Anchors": anchors,
            **super().package_facts(compute_metrics=compute_metrics),
        }

    @staticmethod
    def backbones() -> list[str]:
        """Feature extractors that are always known, the usual one first; other networks of timm work too."""
        return [YoloSettings.backbone, *backbone_names()]

    @cached_property
    def _settings(self) -> YoloSettings:
        settings: YoloSettings = self.settings[0]
        return settings


def _class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Each class by itself, of anchors (p, K) for objects of these labels from 1."""
    wanted = torch.zeros_like(logits)
    wanted[torch.arange(len(labels), device=labels.device), labels - 1] = 1.0
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")


def _anchors_of(pretrained_path: str | Path | None, data: TrainingData) -> Sequence[Sequence[float]] | None:
    """The anchors of a saved model, or those that the data's boxes look like; None where it has none."""
    if pretrained_path is not None:
        saved = service("load")(pretrained_path, working_dir=data.working_dir).spec
        anchors: Sequence[Sequence[float]] | None = saved.parameters.get("anchors")
        return anchors
    sizes = data.object_sizes
    return fitting_shapes(sizes) if len(sizes) else None


def _check_tile(spec: ModelSpec) -> None:
    side = spec.tile_size
    if side % TILE_MULTIPLE or side < TILE_MULTIPLE:
        below = side // TILE_MULTIPLE * TILE_MULTIPLE
        near = f"{below} or {below + TILE_MULTIPLE}" if below else f"{TILE_MULTIPLE}"
        raise SettingError(
            f"chips of {side} pixels cannot feed YOLOv3, whose coarsest cells have 32: use chip_size={near}, "
            "or resize_to of a multiple of 32."
        )
