"""U-Net as a pixel classifier."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, final

from torch import nn

from rasterloom.models.backbones.names import backbone_names
from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.losses.pixels import PixelLossSettings
from rasterloom.models.networks.unet import UnetSettings, build_unet
from rasterloom.models.pixels.classifier import PixelClassifier
from rasterloom.models.settings import plain_parameters, read_settings


@final
class UnetClassifier(PixelClassifier):
    """Gives every pixel a class with a U-Net on a chosen backbone."""

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
            ``class_balancing``, ``mixup``, ``focal_loss``, ``dice_loss_fraction``, ``dice_loss_average``,
            ``ignore_classes``: see :class:`~rasterloom.models.losses.pixels.PixelLossSettings`;
            ``pretrained``, ``encoder_depth``, ``decoder_channels``: see
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

    @classmethod
    def complete_parameters(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, checked, JSON-able, with the defaults filled in."""
        return plain_parameters(*read_settings(cls.__name__, parameters, UnetSettings, PixelLossSettings))

    def build_network(self, *, pretrained: bool) -> nn.Module:
        """A new U-Net for the bands and classes of :attr:`spec`."""
        self._check_ignored()
        return build_unet(
            bands=self.spec.band_count,
            outputs=len(self.spec.output_values),
            settings=self._settings[0],
            pretrained=pretrained,
        )

    def early_layers(self) -> nn.Module:
        """The backbone."""
        encoder: nn.Module = self.network.get_submodule("encoder")
        return encoder

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return self._settings[0].tile_multiple

    @property
    def loss_settings(self) -> PixelLossSettings:
        """What training makes small."""
        return self._settings[1]

    @cached_property
    def _settings(self) -> tuple[UnetSettings, PixelLossSettings]:
        shape, loss = read_settings(
            type(self).__name__, self.spec.parameters, UnetSettings, PixelLossSettings
        )
        return shape, loss
