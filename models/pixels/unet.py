"""U-Net as a pixel classifier."""

from pathlib import Path
from typing import Any, final

from torch import nn

from rasterloom.models.backbones.names import backbone_names
from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.unet import UnetSettings, build_unet
from rasterloom.models.pixels.classifier import PixelClassifier


@final
class UnetClassifier(PixelClassifier):
    """Gives every pixel a class with a U-Net on a chosen backbone."""

    network_settings = UnetSettings

    def __init__(
        self,
        data: TrainingData | None,
        backbone: str | None = None,
        pretrained_path: str | Path | None = None,
        backend: str = "pytorch",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Build a U-Net that fits the data.

        A model that starts from trained weights has its backbone frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned.
        backbone
            One of :meth:`backbones`, or any convolutional network of timm as ``timm:NAME``. None is resnet34.
        pretrained_path
            A saved UnetClassifier with the same bands and classes to start from.
        backend
            ``pytorch``.
        kwargs
            ``class_balancing``, ``class_weights``, ``mixup``, ``focal_loss``, ``dice_loss_fraction``,
            ``dice_loss_average``, ``ignore_classes``: see
            :class:`~rasterloom.models.losses.pixels.PixelLossSettings`; ``pretrained``, ``encoder_depth``,
            ``decoder_channels``: see
            :class:`~rasterloom.models.networks.unet.UnetSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work; the message lists what does.
        PretrainedError
            If the backbone's weights cannot be had.
        """
        if args:
            raise SettingError(
                f"UnetClassifier takes four arguments by position and got {4 + len(args)}: "
                "name the further ones, such as class_balancing=True."
            )
        super().__init__(data, backbone, pretrained_path, backend, **kwargs)

    @staticmethod
    def backbones() -> list[str]:
        """Feature extractors that are always known; any convolutional network of timm works too."""
        return backbone_names()

    @property
    def supported_backbones(self) -> list[str]:
        """The same as :meth:`backbones`."""
        return backbone_names()

    def new_network(self, settings: UnetSettings, *, pretrained: bool) -> nn.Module:
        """A new U-Net for the bands and classes of :attr:`spec`."""
        return build_unet(
            bands=self.spec.band_count,
            outputs=len(self.spec.output_values),
            settings=settings,
            pretrained=pretrained,
        )
