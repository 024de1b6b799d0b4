"""What all models share that find edges."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from rasterloom.models.backbones.names import backbone_names
from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.models.losses.edges import balanced_edge_loss
from rasterloom.models.networks.edges import edge_scores
from rasterloom.models.networks.parts import training_parts
from rasterloom.models.services import service
from rasterloom.models.settings import plain_parameters, read_settings

_TRANSFORMERS = ("timm:pvt_v2_b0", "timm:pvt_v2_b2")
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Probabilities that are tried for the best figures: 0.05 to 0.95."""


class EdgeScores(Protocol):
    """How many found and true edge pixels lie near each other, as the judging service returns it."""

    def figures(self, threshold: float) -> dict[str, float]: ...
    def ods(self) -> dict[str, float]: ...
    def ois(self) -> dict[str, float]: ...


class EdgeDetector(ImageryModel):
    """A model that tells edges from what is none; an adapter adds the network.

    The network has its feature extractor under the name ``encoder``. In training mode it answers a list of
    :class:`~rasterloom.models.networks.parts.Part` with scores (N, 1, H, W) of being an edge; otherwise
    logits (N, 2, H, W) of no edge and edge.
    """

    dataset_types: ClassVar[tuple[str, ...]] = ("Classified_Tiles",)
    network_settings: ClassVar[type]
    """Dataclass of the settings that shape the network."""
    other_weight: ClassVar[float] = 1.0
    """How much more than in balance the pixels count in the loss that are no edges."""

    @classmethod
    def complete_parameters(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, checked, JSON-able, with the defaults filled in."""
        return plain_parameters(*read_settings(cls.__name__, parameters, cls.network_settings))

    @abstractmethod
    def new_network(self, settings: Any, *, pretrained: bool) -> nn.Module:
        """A new network of ``network_settings`` for the bands of :attr:`spec`."""

    def build_network(self, *, pretrained: bool) -> nn.Module:
        """A new network for :attr:`spec`."""
        values = self.spec.output_values
        if len(values) != 2 or values[0] != 0:
            names = ", ".join(info.name for info in self.spec.classes) or "none"
            raise SettingError(
                f"{self.spec.model} finds edges of one kind, and the data has the classes {names}: use chips "
                "with one class besides background, 0, such as those exported from a raster of 0 and 1."
            )
        return self.new_network(self._settings, pretrained=pretrained)

    def early_layers(self) -> nn.Module:
        """The backbone."""
        return self.network.get_submodule("encoder")

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return int(self._settings.tile_multiple)

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """The loss of scores (N, H, W) of being an edge; targets (N, H, W) below 0 count for nothing."""
        return balanced_edge_loss(scores, target, other_weight=self.other_weight)

    def training_loss(self, batch: Any) -> Tensor:
        """The loss of images (N, C, H, W) and targets (N, H, W), over the fused score and all sides."""
        images, targets = batch
        total = torch.zeros((), device=images.device)
        for part in training_parts(self.network(images)):
            total = total + part.weight * self.loss(part.logits[:, 0], targets)
        return total

    def judged(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The loss of the fused score, and 1 for each pixel that is more likely an edge, (N, H, W)."""
        images, targets = batch
        logits = self.network(images).float()
        return self.loss(edge_scores(logits), targets), logits.argmax(dim=1)

    def scores(self, logits: Tensor) -> Tensor:
        """The logits, (N, 2, H, W)."""
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Of no edge and edge, (N, 2, H, W) in 0..1."""
        return logits.softmax(dim=1)

    @property
    def unscored_values(self) -> tuple[int, ...]:
        """Class values that means over classes leave out: background."""
        return (0,)

    @property
    def available_metrics(self) -> list[str]:
        """Columns of the training table that ``fit(monitor=...)`` can watch.

        They compare pixel with pixel; ``dice`` is the F1 of edges without any tolerance.
        """
        return ["valid_loss", "accuracy", "miou", "dice"]

    @staticmethod
    def backbones() -> list[str]:
        """Feature extractors that are always known; any convolutional network of timm works too."""
        return backbone_names()

    @staticmethod
    def transformer_backbones() -> list[str]:
        """Transformers of timm that have been tried; they take images of any size."""
        return list(_TRANSFORMERS)

    @property
    def supported_backbones(self) -> list[str]:
        """Those of :meth:`backbones` and of :meth:`transformer_backbones`."""
        return [*backbone_names(), *_TRANSFORMERS]

    def compute_precision_recall(
        self, thresh: float = 0.5, buffer: int = 3, show_progress: bool = True
    ) -> dict[str, float]:
        """How right and how complete the edges found in the validation set are.

        Parameters
        ----------
        thresh
            Probability, 0 to 1, from which on a pixel counts as found.
        buffer
            Furthest that found and true pixels may lie apart, in pixels, 0 or more.
        show_progress
            Show a progress bar.

        Returns
        -------
        dict
            ``precision``: share of found pixels near a true one; ``recall``: share of true pixels near a
            found one; ``f1``: their harmonic mean. Not a number where there is nothing to take a share of.

        Raises SettingError if a number cannot work, or the model has no data.
        """
        return self._judged([thresh], buffer, thinning=False, show_progress=show_progress).figures(thresh)

    def compute_ods_ois(self, buffer: int = 3, show_progress: bool = True) -> dict[str, float]:
        """The best F1 of thin edges on the validation set, over 19 thresholds from 0.05 to 0.95.

        What each threshold leaves is thinned to lines one pixel wide, and so are the true edges.

        Parameters
        ----------
        buffer
            Furthest that found and true pixels may lie apart, in pixels, 0 or more.
        show_progress
            Show a progress bar.

        Returns
        -------
        dict
            ``ods_f1`` with the one threshold that is best for the whole set, its ``ods_threshold``,
            ``ods_precision`` and ``ods_recall``; ``ois_f1`` with the best threshold of each chip.

        Raises SettingError if the buffer cannot work, or the model has no data.

        References
        ----------
        Arbelaez, Maire, Fowlkes and Malik (2011), "Contour Detection and Hierarchical Image Segmentation";
        found and true pixels are not paired one to one as there.
        """
        judged = self._judged(THRESHOLDS, buffer, thinning=True, show_progress=show_progress)
        best = {f"ods_{name}": value for name, value in judged.ods().items()}
        return best | {"ois_f1": judged.ois()["f1"]}

    def show_results(self, rows: int = 5, thresh: float = 0.5, thinning: bool = True, **kwargs: Any) -> Any:
        """Draw chips of the validation set with the true edges and those found.

        Parameters
        ----------
        rows
            Chips to show.
        thresh
            Probability, 0 to 1, from which on a pixel counts as found.
        thinning
            Whether what is found is thinned to lines one pixel wide.
        kwargs
            ``rgb_bands``, ``statistics_percent`` and ``alpha``, as for
            :func:`rasterloom.pipeline.training.pictures.show_results`.
        """
        data = self._data_for("show_results")
        return service("show_edges")(self, data, rows, thresh=thresh, thinning=thinning, **kwargs)

    def package_facts(self, *, compute_metrics: bool) -> dict[str, Any]:
        """That edges are found and, on request, how right they are on the validation set."""
        facts: dict[str, Any] = {"IsEdgeDetection": True}
        if compute_metrics and self.data is not None:
            name = self.output_classes[1].name
            figures = self.compute_precision_recall(show_progress=False)
            facts["per_class_metrics"] = {figure: {name: value} for figure, value in figures.items()}
        return facts

    @cached_property
    def _settings(self) -> Any:
        (settings,) = read_settings(self.spec.model, self.spec.parameters, self.network_settings)
        return settings

    def _judged(
        self, thresholds: Sequence[float], buffer: float, *, thinning: bool, show_progress: bool
    ) -> EdgeScores:
        judged: EdgeScores = service("judge_edges")(
            self,
            self._data_for("a figure on the validation set"),
            thresholds=thresholds,
            buffer=buffer,
            thinning=thinning,
            show_progress=show_progress,
        )
        return judged
