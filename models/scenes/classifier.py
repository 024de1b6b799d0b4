"""A model that gives a whole chip one label, or several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.backbones.names import backbone_names
from rasterloom.models.data import TrainingData
from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.models.networks.scenes import (
    TRANSFORMERS,
    SceneNetwork,
    SceneNetworkSettings,
    build_scenes,
    takes_one_size,
)
from rasterloom.models.scenes.predicting import (
    categorize_features,
    classify_features,
    predict,
    predict_folder_and_create_layer,
)
from rasterloom.models.services import service
from rasterloom.models.settings import checked_flag, plain_parameters, read_settings

THRESHOLD = 0.5
"""Least probability of a class that a chip of several labels is given."""
_MIXUP_ALPHA = 0.4
"""Of the beta distribution: most pairs are mixed little (fast.ai's value)."""


@dataclass(frozen=True, kw_only=True)
class SceneTrainingSettings:
    """How the network learns."""

    mixup: bool = False
    """Whether training blends two chips and their labels."""
    oversample: bool = False
    """Whether chips of rare classes are seen as often as those of the most frequent one."""

    def __post_init__(self) -> None:
        checked_flag("mixup", self.mixup)
        checked_flag("oversample", self.oversample)


@dataclass(frozen=True, kw_only=True)
class SceneChips:
    """What the chips were that a model learnt from: inference cuts chips in the same way."""

    metadata_mode: str = "Labeled_Tiles"
    """Their format."""
    multilabel: bool = False
    """Whether a chip can be of several classes, or of none."""
    crop_size_fixed: bool = True
    """Whether chips have one size; otherwise each was as large as its feature."""
    blacken_around_feature: bool = False
    """Whether pixels outside the feature were black."""

    def __post_init__(self) -> None:
        for name in ("multilabel", "crop_size_fixed", "blacken_around_feature"):
            checked_flag(name, getattr(self, name))


class SceneScores(Protocol):
    """Counts of true against predicted labels, as the evaluating service returns them."""

    @property
    def accuracy(self) -> float: ...
    def precision(self) -> dict[int, float]: ...
    def recall(self) -> dict[int, float]: ...
    def f1(self) -> dict[int, float]: ...
    def to_json(self) -> dict[str, Any]: ...


@final
class FeatureClassifier(ImageryModel):
    """Gives whole chips, and with them features and photographs, a label or several."""

    dataset_types: ClassVar[tuple[str, ...]] = ("Labeled_Tiles", "MultiLabeled_Tiles", "Imagenet")
    network: SceneNetwork
    """(N, C, H, W) float32, normalised -> logits (N, K), one for each of ``spec.output_values``."""

    def __init__(
        self,
        data: TrainingData | None,
        backbone: str | None = "resnet34",
        pretrained_path: str | Path | None = None,
        mixup: bool = False,
        oversample: bool = False,
        backend: str = "pytorch",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Build a classifier that fits the data.

        A model that starts from trained weights has its backbone frozen until :meth:`unfreeze`.

        Parameters
        ----------
        data
            What ``prepare_data`` returned, of chips with one label or several.
        backbone
            One of :meth:`backbones` or :meth:`transformer_backbones`, or any network of timm as
            ``timm:NAME``. None is resnet34.
        pretrained_path
            A saved FeatureClassifier with the same bands and classes to start from.
        mixup
            Whether training blends two chips and their labels.
        oversample
            Whether chips of rare classes are seen as often as those of the most frequent one. Not for chips
            of several labels.
        backend
            ``pytorch``.
        kwargs
            ``pretrained`` (True): whether the backbone starts from trained weights.

        Raises
        ------
        SettingError
            If a setting is unknown or cannot work; the message lists what does.
        PretrainedError
            If the backbone's weights cannot be had.
        """
        if args:
            raise SettingError(
                f"FeatureClassifier takes six arguments by position and got {6 + len(args)}: name the "
                "further ones, such as pretrained=False."
            )
        read_settings(type(self).__name__, kwargs, SceneNetworkSettings, SceneTrainingSettings)
        told = {} if data is None else service("describe_scenes")(data)
        own = {"mixup": mixup, "oversample": oversample}
        super().__init__(data, backbone, pretrained_path, backend, **own, **kwargs, **told)

    @classmethod
    def complete_parameters(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, checked, JSON-able, with the defaults filled in."""
        read = read_settings(
            cls.__name__, parameters, SceneNetworkSettings, SceneTrainingSettings, SceneChips
        )
        if read[1].oversample and read[2].multilabel:
            raise SettingError(
                "oversample=True cannot work for chips of several labels, which are not of one class each: "
                "leave it out."
            )
        return plain_parameters(*read)

    def build_network(self, *, pretrained: bool) -> nn.Module:
        """A new network for the bands and classes of :attr:`spec`."""
        outputs = len(self.spec.output_values)
        if outputs < 2 and not self.multilabel:
            raise SettingError(
                f"the chips have one class ({self.spec.classes[0].name}), so there is nothing to tell apart: "
                "export chips of another class too."
            )
        return build_scenes(
            bands=self.spec.band_count,
            outputs=outputs,
            side=self.spec.tile_size,
            settings=self._settings[0],
            pretrained=pretrained,
        )

    def early_layers(self) -> nn.Module:
        """The backbone."""
        return self.network.get_submodule("encoder")

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of; the tile size for most transformers."""
        return self.spec.tile_size if takes_one_size(self._settings[0].backbone) else 1

    @property
    def multilabel(self) -> bool:
        """Whether a chip can be of several classes, or of none."""
        return self.chips.multilabel

    @property
    def chips(self) -> SceneChips:
        """What the chips were that it learnt from."""
        chips: SceneChips = self._settings[2]
        return chips

    def classify_chips(self, images: Tensor) -> Tensor:
        """Probability of each class for each chip; the network does not train.

        Parameters
        ----------
        images
            (N, C, H, W) float32, normalised.

        Returns
        -------
        torch.Tensor
            (N, K) in the order of ``spec.output_values``. They sum to 1, unless chips have several labels.
        """
        with torch.no_grad():
            return self.probabilities(self.network(images))

    def scores(self, logits: Tensor) -> Tensor:
        """The logits as they are: the largest belongs to the most probable class."""
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over the classes, or a sigmoid of each where chips have several labels; (N, K) float32."""
        return logits.float().sigmoid() if self.multilabel else logits.float().softmax(dim=1)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy, of each class by itself where chips have several labels.

        Parameters
        ----------
        logits
            (N, K).
        target
            Class positions (N,) int64, negative for what counts for nothing; or (N, K) float, 1 where a class
            occurs.
        """
        logits = logits.float()  # half precision ends here
        if self.multilabel:
            return F.binary_cross_entropy_with_logits(logits, target.float())
        total = F.cross_entropy(logits, target.clamp(min=-1), ignore_index=-1, reduction="sum")
        return total / (target >= 0).sum().clamp(min=1)

    def training_loss(self, batch: Any) -> Tensor:
        """The loss of images (N, C, H, W) and their labels; with mixup, of blends of two chips."""
        images, target = batch
        if not self.mixup:
            return self.loss(self.network(images), target)
        share = float(torch.distributions.Beta(_MIXUP_ALPHA, _MIXUP_ALPHA).sample())
        other = torch.randperm(len(images)).to(images.device)
        logits = self.network(images.lerp(images[other], 1 - share))
        return share * self.loss(logits, target) + (1 - share) * self.loss(logits, target[other])

    def judged(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The loss without mixing, and the probability of each class, (N, K)."""
        images, target = batch
        logits = self.network(images)
        return self.loss(logits, target), self.probabilities(logits)

    def heat(self, images: Tensor, positions: Tensor) -> Tensor:
        """Where in each image the score of a class comes from (Grad-CAM, Selvaraju et al. 2017).

        It is as fine as the backbone's last features, which are a 32nd of the image's side for most.

        Parameters
        ----------
        images
            (N, C, H, W) float32, normalised.
        positions
            (N,) int64, which class is asked for.

        Returns
        -------
        torch.Tensor
            (N, H, W) from 0 to 1; all 0 where nothing in the image speaks for the class.
        """
        with torch.inference_mode(False), torch.no_grad():
            features = self.network.features(images.clone())
        with torch.inference_mode(False), torch.enable_grad():
            features.requires_grad_()
            picked = self.network.scored(features).float().gather(1, positions.clone()[:, None]).sum()
            (slopes,) = torch.autograd.grad(picked, features)
        weights = slopes.mean(dim=(2, 3), keepdim=True)
        coarse = (weights * features.detach()).sum(dim=1, keepdim=True).float().relu()
        fine = F.interpolate(coarse, images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        return fine / fine.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)

    @property
    def available_metrics(self) -> list[str]:
        """Columns of the training table that ``fit(monitor=...)`` can watch."""
        return ["valid_loss", "accuracy", "f1"]

    @staticmethod
    def backbones() -> list[str]:
        """Feature extractors that are always known; any network of timm works too, as ``timm:NAME``."""
        return backbone_names()

    @staticmethod
    def transformer_backbones() -> list[str]:
        """Transformers among the networks of timm that have been tried."""
        return list(TRANSFORMERS)

    @property
    def supported_backbones(self) -> list[str]:
        """The same as :meth:`backbones`, and the transformers."""
        return [*backbone_names(), *TRANSFORMERS]

    def accuracy(self) -> float:
        """Share of the validation chips that get their class, 0..1; of several labels of all decisions."""
        return float(self._scores().accuracy)

    def plot_confusion_matrix(self, thresh: float = THRESHOLD) -> Any:
        """Draw how many validation chips of each class were given each class.

        Parameters
        ----------
        thresh
            Of chips with several labels: least probability of a class that a chip is given, 0..1. Each class
            then has a table of its own: whether it occurs against whether it was given.
        """
        return service("plot_confusion")(self, self._data_for("plot_confusion_matrix"), thresh=thresh)

    def plot_hard_examples(self, num_examples: int) -> Any:
        """Draw the validation chips with the largest loss, and where their label was looked for.

        Parameters
        ----------
        num_examples
            How many, 1 or more.
        """
        return service("plot_hard")(self, self._data_for("plot_hard_examples"), num_examples=num_examples)

    predict = predict
    predict_folder_and_create_layer = predict_folder_and_create_layer
    classify_features = classify_features
    categorize_features = categorize_features

    def package_facts(self, *, compute_metrics: bool) -> dict[str, Any]:
        """How chips are cut and, on request, the figures on the validation set."""
        facts: dict[str, Any] = {
            "MetaDataMode": self.chips.metadata_mode,
            "CropSizeFixed": int(self.chips.crop_size_fixed),
            "BlackenAroundFeature": int(self.chips.blacken_around_feature),
        }
        if compute_metrics and self.data is not None:
            scores = self._scores(show_progress=False)
            if not self.multilabel:
                facts["confusion"] = scores.to_json()
            facts["accuracy"] = float(scores.accuracy)
            facts["per_class_metrics"] = self._table(scores)
        return facts

    @cached_property
    def _settings(self) -> Sequence[Any]:
        return read_settings(
            type(self).__name__,
            self.spec.parameters,
            SceneNetworkSettings,
            SceneTrainingSettings,
            SceneChips,
        )

    def _data_for(self, verb: str) -> TrainingData:
        data = super()._data_for(verb)
        if verb in ("fit", "lr_find") and self._settings[1].oversample:
            balanced: TrainingData = service("oversample")(data)
            return balanced
        return data

    def _scores(self, *, show_progress: bool = True) -> SceneScores:
        data = self._data_for("a figure on the validation set")
        scores: SceneScores = service("evaluate")(self, data, show_progress=show_progress)
        return scores

    def _table(self, scores: SceneScores) -> dict[str, dict[str, float]]:
        figures = {"precision": scores.precision(), "recall": scores.recall(), "f1": scores.f1()}
        return {
            name: {info.name: float(values[info.value]) for info in self.output_classes}
            for name, values in figures.items()
        }
