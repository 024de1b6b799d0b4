"""A single shot detector of things."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.anchors import typical_shapes
from rasterloom.models.networks.found import found_objects
from rasterloom.models.networks.ssd import SsdNetwork, SsdSettings, build_ssd
from rasterloom.models.networks.ssd_boxes import (
    DENSE_ZOOMS,
    decoded,
    dense_grids,
    encoded,
    fitting_grids,
    owners,
)
from rasterloom.models.objects.detector import NMS_OVERLAP, THRESHOLD, ObjectDetector, Objects
from rasterloom.models.services import service

FITTED_SHAPES = 3
"""Shapes of boxes that grids are fitted to."""
TRANSFORMERS = ("timm:pvt_v2_b0", "timm:pvt_v2_b1", "timm:pvt_v2_b2", "timm:pvt_v2_b3")
"""Transformers of timm that give maps of images of any size."""


@final
class SingleShotDetector(ObjectDetector):
    """Finds things with grids of anchors on a chosen backbone."""

    settings_kinds = (SsdSettings,)
    network: SsdNetwork

    def __init__(
        self,
        data: TrainingData | None,
        grids: Sequence[int] | None = None,
        zooms: Sequence[float] = (1.0,),
        ratios: Sequence[Sequence[float]] = ((1.0, 1.0),),
        backbone: str | None = None,
        drop: float = 0.3,
        bias: float = -4.0,
        focal_loss: bool = False,
        pretrained_path: str | Path | None = None,
        location_loss_factor: float | None = None,
        ssd_version: int = 2,
        backend: str = "pytorch",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Build a detector that fits the data.

        A model that starts from trained weights has its backbone frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned, with boxes or outlines.
        grids
            Cells along a side of a chip, a number for each grid: 8 on chips of 256 pixels looks for things of
            about 32. None takes those that fit the data's boxes, or the anchors of ``pretrained_path``.
        zooms
            Sides of anchors over the side of a cell. With ``grids=None`` and version 2, ``[1.0]`` leaves them
            to the data too: cells become a third to a quarter of the boxes, so that some anchor is near each
            thing. What was taken stands in ``spec.parameters``.
        ratios
            Factors of an anchor's height and width: ``[1.0, 0.5]`` is half as wide as high.
        backbone
            One of :meth:`backbones`, or a network of timm as ``timm:NAME``. None is resnet34.
        drop
            Share of the head's values that are dropped in training.
        bias
            First bias of the class scores: lower ones expect fewer objects.
        focal_loss
            Let anchors that are hard to tell count more.
        pretrained_path
            A saved SingleShotDetector with the same bands, classes and anchors to start from.
        location_loss_factor
            Share of the loss that is about where boxes are, above 0 and below 1. None adds the losses of
            places and classes as they are.
        ssd_version
            2: each grid reads features as fine as its cells, and boxes are free to grow. 1: all grids read
            the coarsest features, one after the other, fine ones first, and a box keeps its centre within
            half an anchor and has 0.5 to 1.5 times its sides; for things that are large in the chip.
        backend
            ``pytorch``.
        kwargs
            ``pretrained``, ``encoder_depth``, ``head_channels``: see
            :class:`~rasterloom.models.networks.ssd.SsdSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work; the message lists what does.
        PretrainedError
            If the backbone's weights cannot be had.
        """
        if args:
            raise SettingError(
                f"SingleShotDetector takes twelve arguments by position and got {12 + len(args)}: "
                "name the further ones, such as pretrained=False."
            )
        anchors: dict[str, Any] = {"grids": grids, "zooms": zooms, "ratios": ratios}
        if grids is None and data is not None:
            anchors = _anchors_of(pretrained_path, data, anchors, dense=ssd_version == 2)
        super().__init__(
            data,
            backbone,
            pretrained_path,
            backend,
            **anchors,
            drop=drop,
            bias=bias,
            focal_loss=focal_loss,
            location_loss_factor=location_loss_factor,
            ssd_version=ssd_version,
            **kwargs,
        )

    @classmethod
    def complete_parameters(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, checked, JSON-able, with the defaults filled in."""
        plain = super().complete_parameters(parameters)
        return {**plain, "ratios": [list(pair) for pair in plain["ratios"]]}

    def build_network(self, *, pretrained: bool) -> nn.Module:
        """A new network for the bands and classes of :attr:`spec`."""
        return build_ssd(
            bands=self.spec.band_count,
            classes=len(self.spec.classes),
            tile=self.spec.tile_size,
            settings=self._settings,
            pretrained=pretrained,
        )

    def batch_loss(self, images: Tensor, targets: Sequence[Objects]) -> Tensor:
        """How far the class scores of all anchors, and the boxes of those that have an object, are off."""
        answers = self.network(images).float()  # half precision ends here: the losses sum over many anchors
        anchors = self._anchors(images)
        wanted, places = torch.zeros_like(answers[..., 4:]), []
        for number, target in enumerate(targets):
            owner = owners(anchors, target["boxes"].float())
            own = owner >= 0
            wanted[number, own, target["labels"][owner[own]] - 1] = 1.0
            boxes = target["boxes"].float()[owner[own]]
            places.append(self._off(answers[number, own, :4], anchors[own], boxes))
        count = max(1, sum(len(place) for place in places))
        classes = self._class_losses(answers[..., 4:], wanted) / count
        boxes = torch.cat(places).sum() / (4 * count)
        share = self._settings.location_loss_factor
        return classes + boxes if share is None else (1 - share) * classes + share * boxes

    def detect(
        self, images: Tensor, *, threshold: float = THRESHOLD, nms_overlap: float = NMS_OVERLAP
    ) -> list[Objects]:
        """The objects of each chip; the network does not train.

        Parameters
        ----------
        images
            (N, C, H, W) float32, normalised; sides of any length.
        threshold
            Least probability, 0..1.
        nms_overlap
            Of objects of a class that overlap more than this, the most certain one is kept.
        """
        with torch.no_grad():
            answers = self.network(images).float()
        boxes = decoded(answers[..., :4], self._anchors(images), bounded=self._bounded)
        height, width = images.shape[-2:]
        return [
            found_objects(own, scores, size=(height, width), threshold=threshold, nms_overlap=nms_overlap)
            for own, scores in zip(boxes, answers[..., 4:].sigmoid(), strict=True)
        ]

    def package_facts(self, *, compute_metrics: bool) -> dict[str, Any]:
        """The anchors as other software names them and, on request, average precision."""
        settings = self._settings
        return {
            "backbone": settings.backbone,
            "Grids": list(settings.grids or ()),
            "Zooms": list(settings.zooms),
            "Ratios": [list(pair) for pair in settings.ratios],
            "SSDVersion": settings.ssd_version,
            **super().package_facts(compute_metrics=compute_metrics),
        }

    @staticmethod
    def transformer_backbones() -> list[str]:
        """Transformers among the networks of timm that work."""
        return list(TRANSFORMERS)

    @property
    def tile_multiple(self) -> int:
        """1: images are filled up to what the backbone needs."""
        return 1

    @cached_property
    def _settings(self) -> SsdSettings:
        settings: SsdSettings = self.settings[0]
        return settings

    @property
    def _bounded(self) -> bool:
        return self._settings.ssd_version == 1

    def _anchors(self, images: Tensor) -> Tensor:
        height, width = self.network.size_over(*images.shape[-2:])
        return self.network.anchors.over(height, width, images.device)

    def _class_losses(self, logits: Tensor, wanted: Tensor) -> Tensor:
        if self._settings.focal_loss:
            focal: Tensor = sigmoid_focal_loss(logits, wanted, reduction="sum")
            return focal
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")

    def _off(self, answers: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
        """(n, 4) how far boxes are off, in sides of their anchors; of free ones the sides by logarithm."""
        if self._bounded:
            return (decoded(answers, anchors, bounded=True) - boxes).abs() / anchors[:, 2:].repeat(1, 2)
        return (answers - encoded(boxes, anchors)).abs()


def _anchors_of(
    pretrained_path: str | Path | None, data: TrainingData, given: dict[str, Any], *, dense: bool
) -> dict[str, Any]:
    """The anchors of a saved model, or those that fit the data's boxes; the given ones where it has none."""
    if pretrained_path is not None:
        saved = service("load")(pretrained_path, working_dir=data.working_dir).spec.parameters
        return {name: saved.get(name, value) for name, value in given.items()}
    tile = data.spec_for(SingleShotDetector.__name__, {}).tile_size
    if not len(data.object_sizes):
        return given
    shapes = typical_shapes(data.object_sizes, FITTED_SHAPES)
    if dense and list(given["zooms"]) == [1.0]:
        return {**given, "grids": dense_grids(shapes, tile), "zooms": DENSE_ZOOMS}
    return {**given, "grids": fitting_grids(shapes, tile)}
