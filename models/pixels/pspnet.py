"""PSPNet as a pixel classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from torch import nn

from rasterloom.models.backbones.names import backbone_names, dilated_backbone_names
from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.pspnet import PYRAMID_SIZES, PspSettings, build_pspnet
from rasterloom.models.pixels.classifier import PixelClassifier


@final
class PSPNetClassifier(PixelClassifier):
    """Gives every pixel a class with a pyramid of pooled surroundings on a chosen backbone."""

    network_settings = PspSettings

    def __init__(
        self,
        data: TrainingData | None,
        backbone: str | None = None,
        use_unet: bool = True,
        pyramid_sizes: Sequence[int] = PYRAMID_SIZES,
        pretrained_path: str | Path | None = None,
        unet_aux_loss: bool = False,
        pointrend: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Build a PSPNet that fits the data.

        A model that starts from trained weights has its backbone frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned.
        backbone
            One of :meth:`backbones`, or any convolutional network of timm as ``timm:NAME``. None is resnet50.
        use_unet
            Go up to the image's grid as a U-Net does. False interpolates the scores of a dilated backbone, as
            the paper has it. ``use_net`` is another spelling.
        pyramid_sizes
            Sides of the grids that the coarsest features are pooled to.
        pretrained_path
            A saved PSPNetClassifier with the same bands and classes to start from.
        unet_aux_loss
            Train a side output on the backbone too; its loss counts 0.4. With ``use_unet`` only.
        pointrend
            Render the edges of classes with PointRend.
        kwargs
            ``class_balancing``, ``class_weights``, ``mixup``, ``focal_loss``, ``dice_loss_fraction``,
            ``dice_loss_average``, ``ignore_classes``: see
            :class:`~rasterloom.models.losses.pixels.PixelLossSettings`; ``pretrained``, ``keep_dilation``,
            ``encoder_depth``, ``decoder_channels``: see
            :class:`~rasterloom.models.networks.pspnet.PspSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work; the message lists what does.
        PretrainedError
            If the backbone's weights cannot be had.
        """
        if args:
            raise SettingError(
                f"PSPNetClassifier takes seven arguments by position and got {7 + len(args)}: "
                "name the further ones, such as class_balancing=True."
            )
        other = kwargs.pop("use_net", use_unet)
        if other != use_unet and use_unet is not True:
            raise SettingError(
                f"use_net={other!r} and use_unet={use_unet!r} mean the same: give one of them."
            )
        super().__init__(
            data,
            backbone,
            pretrained_path,
            use_unet=other,
            pyramid_sizes=pyramid_sizes,
            unet_aux_loss=unet_aux_loss,
            pointrend=pointrend,
            **kwargs,
        )

    @staticmethod
    def backbones() -> list[str]:
        """Feature extractors that are always known; any convolutional network of timm works too.

        Without ``use_unet`` they are dilated, which those of :meth:`dilated_backbones` can be.
        """
        return backbone_names()

    @staticmethod
    def dilated_backbones() -> list[str]:
        """Those of :meth:`backbones` that work without ``use_unet``."""
        return dilated_backbone_names()

    @property
    def supported_backbones(self) -> list[str]:
        """Those of :meth:`backbones` that work with this model's settings."""
        return dilated_backbone_names() if self._settings[0].dilated else backbone_names()

    def new_network(self, settings: PspSettings, *, pretrained: bool) -> nn.Module:
        """A new PSPNet for the bands and classes of :attr:`spec`."""
        return build_pspnet(
            bands=self.spec.band_count,
            outputs=len(self.spec.output_values),
            settings=settings,
            pretrained=pretrained,
            ignored=self.ignored_positions,
        )
