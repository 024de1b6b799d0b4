"""STANet as a model of change between two dates."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, final

from torch import Tensor, nn

from rasterloom.models.backbones.names import backbone_names
from rasterloom.models.change.predicting import predict_change
from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.models.losses.change import balanced_contrastive_loss, kinds_loss
from rasterloom.models.networks.stanet import DIVIDE, MARGIN, SHARPNESS, StanetSettings, build_stanet
from rasterloom.models.services import service
from rasterloom.models.settings import plain_parameters, read_settings


class Counts(Protocol):
    """Pixels of each true class by the class they were given."""

    @property
    def accuracy(self) -> float: ...
    def to_json(self) -> dict[str, Any]: ...


class ChangeScores(Protocol):
    """How well changed pixels are found, as the evaluating service returns it."""

    @property
    def confusion(self) -> Counts: ...
    @property
    def precision(self) -> float: ...
    @property
    def recall(self) -> float: ...
    @property
    def f1(self) -> float: ...
    @property
    def iou(self) -> float: ...


@final
class ChangeDetector(ImageryModel):
    """Tells where two images of the same ground differ in what matters, and in which way."""

    dataset_types: ClassVar[tuple[str, ...]] = ("ChangeDetection",)
    network: nn.Module
    """Two images (N, C, H, W) float32, normalised -> logits (N, K, H, W)."""

    predict = predict_change

    def __init__(
        self,
        data: TrainingData | None,
        backbone: str | None = None,
        attention_type: str = "PAM",
        pretrained_path: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        """Build a STANet that fits the data.

        A model that starts from trained weights has its backbone frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned for chips with images of two dates.
        backbone
            One of :attr:`supported_backbones`; every other one of ``UnetClassifier`` works too. None is
            resnet18.
        attention_type
            ``PAM``, attention at four scales, or ``BAM``, at one.
        pretrained_path
            A saved ChangeDetector with the same bands and classes to start from.
        kwargs
            ``pretrained``, ``encoder_depth``, ``decoder_channels``, ``finest_stride``: see
            :class:`~rasterloom.models.networks.stanet.StanetSettings`.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work; the message lists what does.
        PretrainedError
            If the backbone's weights cannot be had.
        """
        super().__init__(data, backbone, pretrained_path, attention_type=attention_type, **kwargs)

    @classmethod
    def complete_parameters(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, checked, JSON-able, with the defaults filled in."""
        return plain_parameters(*read_settings(cls.__name__, parameters, StanetSettings))

    def build_network(self, *, pretrained: bool) -> nn.Module:
        """A new network for :attr:`spec`."""
        values = self.spec.output_values
        if values[0] != 0 or len(values) < 2:
            raise SettingError(
                f"change cannot be learnt of the class values {list(values)}: use 0 for no change and other "
                "values for changes."
            )
        return build_stanet(
            bands=self.spec.band_count, outputs=len(values), settings=self._settings, pretrained=pretrained
        )

    def change_logits(self, before: Tensor, after: Tensor) -> Tensor:
        """Logits (N, K, H, W), one channel for each of ``spec.output_values``; the first is no change.

        Parameters
        ----------
        before, after
            Images of the earlier and the later date, (N, C, H, W) float32, normalised.
        """
        logits: Tensor = self.network(before, after)
        return logits

    def scores(self, logits: Tensor) -> Tensor:
        """The logits as they are: the largest belongs to the most probable class."""
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """The logits as probabilities, in the same shape."""
        return logits.softmax(dim=1)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Distances too long where nothing changed or too short where something did, and wrong kinds.

        Parameters
        ----------
        logits
            (N, K, H, W), as :meth:`change_logits` gives them.
        target
            (N, H, W) int64 positions among the outputs, 0..K-1; negative ones count for nothing.
        """
        logits = logits.float()
        distance = logits[:, 1:].amax(dim=1) / SHARPNESS + DIVIDE
        loss = balanced_contrastive_loss(distance, target, margin=MARGIN)
        return loss if logits.shape[1] == 2 else loss + kinds_loss(logits, target)

    def training_loss(self, batch: Any) -> Tensor:
        """The loss of images of both dates, each (N, C, H, W), and targets (N, H, W)."""
        (before, after), targets = batch
        return self.loss(self.change_logits(before, after), targets)

    def judged(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The loss, and the position of the likeliest output of each pixel, (N, H, W)."""
        (before, after), targets = batch
        logits = self.change_logits(before, after)
        return self.loss(logits, targets), logits.argmax(dim=1)

    def early_layers(self) -> nn.Module:
        """The backbone."""
        return self.network.get_submodule("encoder")

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return self._settings.tile_multiple

    @property
    def available_metrics(self) -> list[str]:
        """Columns of the training table that ``fit(monitor=...)`` can watch."""
        return ["valid_loss", "precision", "recall", "f1", "iou"]

    @property
    def supported_backbones(self) -> list[str]:
        """The family of ResNet."""
        return [name for name in backbone_names() if name.startswith("res")]

    def precision_recall_score(self) -> dict[str, float]:
        """Precision, recall and F1 of the changed pixels of the validation set, 0..1.

        With several kinds of change a pixel counts as found where it is of the right kind.
        """
        scores = self._scores()
        return {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}

    def package_facts(self, *, compute_metrics: bool) -> dict[str, Any]:
        """On request the figures on the validation set."""
        if not compute_metrics or self.data is None:
            return {}
        scores = self._scores(show_progress=False)
        return {
            "confusion": scores.confusion.to_json(),
            "accuracy": scores.confusion.accuracy,
            "precision_recall_score": {
                "precision": scores.precision,
                "recall": scores.recall,
                "f1": scores.f1,
                "iou": scores.iou,
            },
        }

    @cached_property
    def _settings(self) -> StanetSettings:
        settings: StanetSettings
        (settings,) = read_settings(type(self).__name__, self.spec.parameters, StanetSettings)
        return settings

    def _scores(self, *, show_progress: bool = True) -> ChangeScores:
        data = self._data_for("a figure on the validation set")
        scores: ChangeScores = service("evaluate")(self, data, show_progress=show_progress)
        return scores
