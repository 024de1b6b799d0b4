"""What all models share that give every pixel a class."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel
from rasterloom.models.losses.pixels import PixelLoss, PixelLossSettings, balanced_weights, given_weights
from rasterloom.models.networks.parts import training_parts
from rasterloom.models.services import service
from rasterloom.models.settings import plain_parameters, read_settings

_MIXUP_ALPHA = 0.4
"""Of the beta distribution: most pairs are mixed little (fast.ai's value)."""

if TYPE_CHECKING:
    from pandas import DataFrame


class PixelScores(Protocol):
    """Counts of true against predicted classes, as the evaluating service returns them."""

    @property
    def accuracy(self) -> float: ...
    def iou(self) -> dict[int, float]: ...
    def precision(self) -> dict[int, float]: ...
    def recall(self) -> dict[int, float]: ...
    def f1(self) -> dict[int, float]: ...
    def mean_iou(self, ignore: Iterable[int] = ()) -> float: ...
    def to_json(self) -> dict[str, Any]: ...


class PixelClassifier(ImageryModel):
    """A model that gives every pixel a class; an adapter adds the network.

    The network has its feature extractor under the name ``encoder``. In training mode it answers logits, or a
    list of :class:`~rasterloom.models.networks.parts.Part`; otherwise logits (N, K, H, W).
    """

    dataset_types: ClassVar[tuple[str, ...]] = ("Classified_Tiles",)
    network_settings: ClassVar[type]
    """Dataclass of the settings that shape the network, with ``pretrained`` and ``tile_multiple``."""
    _loss: PixelLoss | None = None

    @classmethod
    def complete_parameters(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, checked, JSON-able, with the defaults filled in."""
        return plain_parameters(
            *read_settings(cls.__name__, parameters, cls.network_settings, PixelLossSettings)
        )

    @abstractmethod
    def new_network(self, settings: Any, *, pretrained: bool) -> nn.Module:
        """A new network of ``network_settings`` for the bands and outputs of :attr:`spec`."""

    def build_network(self, *, pretrained: bool) -> nn.Module:
        """A new network for :attr:`spec`."""
        self._check_ignored()
        _ = self._given_weights  # wrong ones are refused now
        return self.new_network(self._settings[0], pretrained=pretrained)

    def early_layers(self) -> nn.Module:
        """The backbone."""
        return self.network.get_submodule("encoder")

    @property
    def tile_multiple(self) -> int:
        """What both sides of an image must be a multiple of, in pixels."""
        return int(self._settings[0].tile_multiple)

    @property
    def loss_settings(self) -> PixelLossSettings:
        """What training makes small."""
        loss: PixelLossSettings = self._settings[1]
        return loss

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss as the settings have it.

        Parameters
        ----------
        logits
            (N, K, H, W), one channel for each of ``spec.output_values``.
        target
            (N, H, W) int64 positions among the outputs, 0..K-1; negative ones count for nothing. With mixup
            the caller blends the losses of the two targets as it blended the images.

        Raises
        ------
        SettingError
            If the classes are to be balanced and the model has no data to count them in.
        """
        if self._loss is None:
            self._loss = self._build_loss()
        return self._loss.to(logits.device)(logits, target)

    def training_loss(self, batch: Any) -> Tensor:
        """The loss of images (N, C, H, W) and targets (N, H, W); with mixup, of blends of two chips."""
        images, targets = batch
        if not self.mixup:
            return self._loss_of(images, targets)
        share = float(torch.distributions.Beta(_MIXUP_ALPHA, _MIXUP_ALPHA).sample())
        other = torch.randperm(len(images)).to(images.device)
        blended = images.lerp(images[other], 1 - share)
        return self._loss_of(blended, targets, (targets[other], 1 - share))

    def judged(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The loss without mixing, and the position of the likeliest output of each pixel, (N, H, W)."""
        images, targets = batch
        logits = self.network(images).float()
        return self.loss(logits, targets), self.probabilities(logits).argmax(dim=1)

    def scores(self, logits: Tensor) -> Tensor:
        """The logits, (N, K, H, W), with the lowest of all numbers for ignored classes."""
        ignored = self.ignored_positions
        if not ignored:
            return logits
        hidden = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
        hidden[ignored] = True
        return logits.masked_fill(hidden.view(1, -1, 1, 1), -torch.inf)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over the classes that are not ignored, (N, K, H, W) in 0..1; ignored ones have 0."""
        return self.scores(logits).softmax(dim=1)

    @property
    def ignored_values(self) -> tuple[int, ...]:
        """Class values that are neither learnt nor predicted."""
        return self.loss_settings.ignore_classes

    @property
    def ignored_positions(self) -> list[int]:
        """Where those values are among the outputs."""
        return [p for p, value in enumerate(self.spec.output_values) if value in self.ignored_values]

    @property
    def unscored_values(self) -> tuple[int, ...]:
        """Class values that means over classes leave out: the ignored ones, and 0 where it is no class."""
        named = {info.value for info in self.spec.classes}
        return tuple(v for v in self.spec.output_values if v in self.ignored_values or v not in named)

    @property
    def available_metrics(self) -> list[str]:
        """Columns of the training table that ``fit(monitor=...)`` can watch."""
        return ["valid_loss", "accuracy", "miou", "dice"]

    def accuracy(self) -> float:
        """Share of the validation set's pixels that get their class, 0..1."""
        return float(self._scores().accuracy)

    def mIOU(self, mean: bool = False, show_progress: bool = True) -> dict[str, float] | float:  # noqa: N802 the documented name
        """Intersection over union on the validation set.

        Parameters
        ----------
        mean
            The mean over the classes instead of a number for each. Background counts where it is a class.
        show_progress
            Show a progress bar.

        Returns
        -------
        dict or float
            By class name, 0..1; nan for a class that is neither labelled nor predicted.
        """
        scores = self._scores(show_progress=show_progress)
        if mean:
            return float(scores.mean_iou(ignore=self.unscored_values))
        return self._by_name(scores.iou(), self.unscored_values)

    def per_class_metrics(self, ignore_classes: Sequence[int] = ()) -> "DataFrame":
        """Precision, recall and F1 of each class on the validation set.

        Parameters
        ----------
        ignore_classes
            Class values to leave out, beyond those the model ignores.

        Returns
        -------
        pandas.DataFrame
            One column for each class name; rows ``precision``, ``recall``, ``f1``.
        """
        from pandas import DataFrame  # takes longer to import than the rest of this file

        unknown = sorted(set(ignore_classes) - set(self.spec.output_values))
        if unknown:
            raise SettingError(
                f"ignore_classes={unknown} are no classes: the values are {self.spec.output_values}."
            )
        return DataFrame(self._table(self._scores(), {*ignore_classes, *self.unscored_values})).T

    def package_facts(self, *, compute_metrics: bool) -> dict[str, Any]:
        """Ignored outputs and, on request, the figures on the validation set."""
        facts: dict[str, Any] = {"ignore_mapped_class": self.ignored_positions}
        if compute_metrics and self.data is not None:
            scores = self._scores(show_progress=False)
            facts["confusion"] = scores.to_json()
            facts["accuracy"] = float(scores.accuracy)
            facts["per_class_metrics"] = self._table(scores, set(self.unscored_values))
        return facts

    @cached_property
    def _settings(self) -> tuple[Any, PixelLossSettings]:
        shape, loss = read_settings(
            type(self).__name__, self.spec.parameters, self.network_settings, PixelLossSettings
        )
        return shape, loss

    @property
    def _given_weights(self) -> Tensor | None:
        weights = self.loss_settings.class_weights
        if weights is None:
            return None
        return given_weights(weights, self.spec.output_values, self.ignored_values)

    def _loss_of(self, images: Tensor, targets: Tensor, second: tuple[Tensor, float] | None = None) -> Tensor:
        """The loss in training; ``second`` are targets of what the images are blended with, and its share."""
        total = torch.zeros((), device=images.device)
        for part in training_parts(self.network(images)):
            # half precision ends at the logits: the losses sum over many pixels
            logits = part.logits.float()
            loss = self.loss(logits, part.target(targets))
            if second is not None:
                others, share = second
                loss = (1 - share) * loss + share * self.loss(logits, part.target(others))
            total = total + part.weight * loss
        return total

    def _build_loss(self) -> PixelLoss:
        settings, values = self.loss_settings, self.spec.output_values
        weights = self._given_weights
        if settings.class_balancing:
            data = self._data_for("class_balancing")
            weights = balanced_weights(data.class_pixels, values, settings.ignore_classes)
        return PixelLoss(
            outputs=len(values), ignored=self.ignored_positions, settings=settings, weights=weights
        )

    def _check_ignored(self) -> None:
        values = self.spec.output_values
        unknown = [v for v in self.ignored_values if v not in values]
        if unknown:
            raise SettingError(f"ignore_classes={unknown} are no classes: the values are {list(values)}.")
        if len(values) - len(self.ignored_values) < 2:
            raise SettingError(
                f"ignore_classes={list(self.ignored_values)} leaves fewer than two of the classes "
                f"{list(values)}: there would be nothing to learn."
            )

    def _scores(self, *, show_progress: bool = True) -> PixelScores:
        data = self._data_for("a figure on the validation set")
        scores: PixelScores = service("evaluate")(self, data, show_progress=show_progress)
        return scores

    def _by_name(self, figures: Mapping[int, float], hidden: Iterable[int]) -> dict[str, float]:
        left_out = set(hidden)
        return {c.name: float(figures[c.value]) for c in self.output_classes if c.value not in left_out}

    def _table(self, scores: PixelScores, hidden: set[int]) -> dict[str, dict[str, float]]:
        figures = {"precision": scores.precision(), "recall": scores.recall(), "f1": scores.f1()}
        return {name: self._by_name(values, hidden) for name, values in figures.items()}
