"""DeepLabV3 as a pixel classifier."""

from pathlib import Path
from typing import Any, final

from torch import nn

from rasterloom.models.backbones.names import backbone_names, dilated_backbone_names
from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.networks.deeplab import DeepLabSettings, build_deeplab
from rasterloom.models.pixels.classifier import PixelClassifier


@final
class DeepLab(PixelClassifier):
    """Gives every pixel a class with DeepLabV3 on a chosen backbone."""

    network_settings = DeepLabSettings

    def __init__(
        self,
        data: TrainingData | None,
        backbone: str | None = None,
        pretrained_path: str | Path | None = None,
        pointrend: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Build a DeepLabV3 that fits the data.

        A model that starts from trained weights has its backbone frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned.
        backbone
            One of :meth:`backbones`, or a convolutional network of timm that can be dilated as ``timm:NAME``.
            None is resnet101.
        pretrained_path
            A saved DeepLab with the same bands and classes to start from.
        pointrend
            Render the edges of classes with PointRend, on a backbone without dilation.
        kwargs
            ``class_balancing``, ``class_weights``, ``mixup``, ``focal_loss``, ``dice_loss_fraction``,
            ``dice_loss_average``, ``ignore_classes``: see
            :class:`~rasterloom.models.losses.pixels.PixelLossSettings`; ``pretrained``, ``keep_dilation``,
            ``encoder_depth``, ``decoder_channels``: see
            :class:`~rasterloom.models.networks.deeplab.DeepLabSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work; the message lists what does.
        PretrainedError
            If the backbone's weights cannot be had.
        """
        if args:
            raise SettingError(
                f"DeepLab takes four arguments by position and got {4 + len(args)}: "
                "name the further ones, such as class_balancing=True."
            )
        super().__init__(data, backbone, pretrained_path, pointrend=pointrend, **kwargs)

    @staticmethod
    def backbones() -> list[str]:
        """Feature extractors that are always known; other convolutional networks of timm work too."""
        return dilated_backbone_names()

    @property
    def supported_backbones(self) -> list[str]:
        """Those that work with this model's settings: with PointRend also some that cannot be dilated."""
        return dilated_backbone_names() if self._settings[0].dilated else backbone_names()

    def new_network(self, settings: DeepLabSettings, *, pretrained: bool) -> nn.Module:
        """A new DeepLabV3 for the bands and classes of :attr:`spec`."""
        return build_deeplab(
            bands=self.spec.band_count,
            outputs=len(self.spec.output_values),
            settings=settings,
            pretrained=pretrained,
            ignored=self.ignored_positions,
        )
