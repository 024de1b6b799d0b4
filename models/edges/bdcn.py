"""Bi-directional cascade network as a model for edges."""

from pathlib import Path
from typing import Any, final

from torch import nn

from rasterloom.models.data import TrainingData
from rasterloom.models.edges.detector import EdgeDetector
from rasterloom.models.networks.bdcn import BdcnSettings, build_bdcn


@final
class BDCNEdgeDetector(EdgeDetector):
    """Finds edges scale by scale, each adding what finer and coarser ones leave out (BDCN)."""

    network_settings = BdcnSettings
    other_weight = 1.1
    """Lambda of the paper's equation 8."""

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
            A saved BDCNEdgeDetector with the same bands to start from.
        kwargs
            ``pretrained``, ``encoder_depth`` and ``scale_channels``: see
            :class:`~rasterloom.models.networks.bdcn.BdcnSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work, or the data has several classes.
        PretrainedError
            If the backbone's weights cannot be had; ``pretrained=False`` does without them.
        """
        super().__init__(data, backbone, pretrained_path, **kwargs)

    def new_network(self, settings: BdcnSettings, *, pretrained: bool) -> nn.Module:
        """A new network for the bands of :attr:`spec`."""
        return build_bdcn(bands=self.spec.band_count, settings=settings, pretrained=pretrained)
