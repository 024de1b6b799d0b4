"""Holistically nested edge detection as a model for edges."""

from pathlib import Path
from typing import Any, final

from torch import nn

from rasterloom.models.data import TrainingData
from rasterloom.models.edges.detector import EdgeDetector
from rasterloom.models.networks.edges import EdgeSettings
from rasterloom.models.networks.hed import build_hed


@final
class HEDEdgeDetector(EdgeDetector):
    """Finds edges by a score on each scale of a chosen backbone (HED)."""

    network_settings = EdgeSettings

    def __init__(
        self,
        data: TrainingData | None,
        backbone: str | None = "vgg19",
        pretrained_path: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        """Build a network that fits the data.

        A model that starts from trained weights has its backbone frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned, of chips with one class besides background.
        backbone
            One of :meth:`backbones`, or any convolutional network of timm as ``timm:NAME``. None is vgg19.
        pretrained_path
            A saved HEDEdgeDetector with the same bands to start from.
        kwargs
            ``pretrained`` and ``encoder_depth``: see
            :class:`~rasterloom.models.networks.edges.EdgeSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work, or the data has several classes.
        PretrainedError
            If the backbone's weights cannot be had; ``pretrained=False`` does without them.
        """
        super().__init__(data, backbone, pretrained_path, **kwargs)

    def new_network(self, settings: EdgeSettings, *, pretrained: bool) -> nn.Module:
        """A new network for the bands of :attr:`spec`."""
        return build_hed(bands=self.spec.band_count, settings=settings, pretrained=pretrained)
