"""What both models share that find lines and learn how they lie."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rasterloom.models.backbones.names import backbone_names
from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.losses.pixels import focal_loss
from rasterloom.models.networks.hourglass import StackedHourglass
from rasterloom.models.networks.linknet import build_linknet
from rasterloom.models.networks.roads import HALF_TURN, RoadLogits, RoadSettings
from rasterloom.models.pixels.classifier import PixelClassifier
from rasterloom.models.roads.targets import TargetMaker

SHOWN_ALPHA = 0.6
"""Opacity of lines in pictures of results, unless the caller says another."""


class LineExtractor(PixelClassifier):
    """Gives every pixel of a line its class; a second head learns how the lines lie.

    That head is there for training: to tell how a road goes on, the layers that both heads share must see it
    as a whole, so that shadows and crowns break it less often.
    """

    network_settings = RoadSettings

    def __init__(
        self,
        data: TrainingData | None,
        backbone: str | None = None,
        pretrained_path: str | Path | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Build a network that fits the data.

        A model that starts from trained weights has its early layers frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned: chips with a class for lines beside a background. Every class of a
            value other than 0 is one of lines.
        backbone
            With ``mtl_model="linknet"`` one of :meth:`backbones`, or a convolutional network of timm as
            ``timm:NAME``. None is resnet34. An hourglass has none.
        pretrained_path
            A saved model of this class with the same bands and classes to start from.
        kwargs
            ``mtl_model`` ("hourglass"), ``gaussian_thresh`` (0.76), ``orient_bin_size`` (20),
            ``orient_theta`` (8), ``pretrained``, ``encoder_depth``, ``hourglass_stacks``,
            ``hourglass_depth``, ``hourglass_channels``: see
            :class:`~rasterloom.models.networks.roads.RoadSettings`; ``class_balancing``, ``class_weights``,
            ``mixup``, ``focal_loss``, ``dice_loss_fraction``, ``dice_loss_average``, ``ignore_classes``: see
            :class:`~rasterloom.models.losses.pixels.PixelLossSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work, or the labels have no background; the message says what
            does.
        PretrainedError
            If the backbone's weights cannot be had.
        """
        if args:
            raise SettingError(
                f"{type(self).__name__} takes three arguments by position and got {3 + len(args)}: "
                "name the further ones, such as mtl_model='linknet'."
            )
        super().__init__(data, backbone, pretrained_path, **kwargs)

    @staticmethod
    def backbones() -> list[str]:
        """Feature extractors that ``linknet`` is known to work with; other convolutional ones work too."""
        return backbone_names()

    @property
    def supported_backbones(self) -> list[str]:
        """The same as :meth:`backbones`."""
        return backbone_names()

    def new_network(self, settings: RoadSettings, *, pretrained: bool) -> nn.Module:
        """A new network for the bands and classes of :attr:`spec`."""
        _ = self._targets  # labels without a background are refused now
        outputs = len(self.spec.output_values)
        if settings.mtl_model == "hourglass":
            return StackedHourglass(bands=self.spec.band_count, outputs=outputs, settings=settings)
        return build_linknet(
            bands=self.spec.band_count, outputs=outputs, settings=settings, pretrained=pretrained
        )

    def judged(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The loss of the classes alone, and the position of each pixel's likeliest output, (N, H, W)."""
        images, targets = batch
        return super().judged((images, self._targets.classes(targets)))

    def orientations(self, images: Tensor) -> Tensor:
        """How lines lie, of images (N, C, H, W) as the network takes them.

        Returns
        -------
        torch.Tensor
            (N, H, W) float32: degrees against the clock from east, 0 up to 180; nan where no line is near.
        """
        network: Any = self.network
        training = network.training
        try:
            with torch.inference_mode():
                numbers = network.eval().both(images)[1].argmax(dim=1)
        finally:
            network.train(training)
        degrees = (numbers - 1) * (HALF_TURN / self._settings[0].orientations)
        return degrees.float().masked_fill(numbers == 0, torch.nan)

    def show_results(self, rows: int = 2, **kwargs: Any) -> Any:
        """Draw chips of the validation set with their lines and those that are found.

        Parameters
        ----------
        rows
            Chips to show.
        kwargs
            ``alpha`` (0.6): opacity of the lines over the image, 0 to 1; others as of every pixel classifier.
        """
        return super().show_results(rows, **{"alpha": SHOWN_ALPHA, **kwargs})

    @cached_property
    def _targets(self) -> TargetMaker:
        values = self.spec.output_values
        if 0 not in values or len(values) < 2:
            raise SettingError(
                f"{type(self).__name__} tells lines from what is none, and the class values are "
                f"{list(values)}: it needs a background of value 0 and a class of another value. Export "
                "chips from the lines alone."
            )
        return TargetMaker(
            self._settings[0],
            outputs=len(values),
            background=values.index(0),
            ignored=self.ignored_positions,
        )

    def _loss_of(self, images: Tensor, targets: Tensor, second: tuple[Tensor, float] | None = None) -> Tensor:
        found = self.network(images)
        loss = self._loss_against(found, targets)
        if second is None:
            return loss
        others, share = second
        return (1 - share) * loss + share * self._loss_against(found, others)

    def _loss_against(self, found: RoadLogits, labels: Tensor) -> Tensor:
        """The mean over all guesses of the loss of the classes and of that of the orientations."""
        targets = self._targets(labels)
        # half precision ends at the logits: the losses sum over many pixels
        losses = [self.loss(logits.float(), targets.classes) for logits in found.classes]
        losses += [
            focal_loss(logits.float(), targets.orientations, weights=None, gamma=0.0)
            for logits in found.orientations
        ]
        return torch.stack(losses).sum() / len(found.classes)
