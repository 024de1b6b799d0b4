"""How far predicted class scores are from the classes of the pixels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.errors import SettingError
from rasterloom.models.settings import checked_flag, checked_fraction, checked_integers

IGNORE_INDEX = -100
"""Target of a pixel that counts for nothing; any other negative number means the same."""
FOCAL_GAMMA = 2.0
"""The exponent of Lin et al. (2017), "Focal Loss for Dense Object Detection"."""
DICE_AVERAGES = ("micro", "macro")
DICE_SMOOTHING = 1.0
"""Pixels added above and below the fraction, so that a class of few pixels does not jump between 0 and 1."""
MOST_CLASS_VALUE = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class PixelLossSettings:
    """What a pixel classifier is trained to make small."""

    class_balancing: bool = False
    """Weigh each class inversely to its number of pixels."""
    mixup: bool = False
    """Train on random blends of two chips and of their losses."""
    focal_loss: bool = False
    """Focal loss instead of cross-entropy: pixels that are right already weigh less."""
    dice_loss_fraction: float = 0.0
    """Share of the dice loss, 0..1: ``(1 - fraction) * cross_entropy_or_focal + fraction * dice``."""
    dice_loss_average: str = "micro"
    """``micro`` counts every pixel alike, ``macro`` every class that occurs."""
    ignore_classes: tuple[int, ...] = ()
    """Class values whose pixels count for nothing and that are never predicted."""
    class_weights: Mapping[str, float] | tuple[float, ...] | None = None
    """How much a pixel of each class counts: by class value, 1 where absent, or one number for each output.
    Not together with ``class_balancing``."""

    def __post_init__(self) -> None:
        for name in ("class_balancing", "mixup", "focal_loss"):
            checked_flag(name, getattr(self, name))
        fraction = checked_fraction("dice_loss_fraction", self.dice_loss_fraction)
        object.__setattr__(self, "dice_loss_fraction", fraction)
        if self.dice_loss_average not in DICE_AVERAGES:
            raise SettingError(
                f"dice_loss_average={self.dice_loss_average!r} is not known: use 'micro' or 'macro'."
            )
        ignored = checked_integers("ignore_classes", self.ignore_classes, least=0, most=MOST_CLASS_VALUE)
        object.__setattr__(self, "ignore_classes", tuple(sorted(set(ignored))))
        if self.class_weights is None:
            return
        if self.class_balancing:
            raise SettingError(
                "class_weights and class_balancing both weigh the classes: use class_balancing=False, or "
                "leave class_weights out."
            )
        object.__setattr__(self, "class_weights", _checked_weights(self.class_weights))


class PixelLoss(nn.Module):
    """A loss over logits (N, K, H, W) and class positions (N, H, W).

    Outputs of ignored classes take no part: neither their pixels nor their scores have a gradient.
    """

    def __init__(
        self, *, outputs: int, ignored: Sequence[int], settings: PixelLossSettings, weights: Tensor | None
    ) -> None:
        """Fix the outputs that count.

        Parameters
        ----------
        outputs
            Number of network outputs, K.
        ignored
            Positions among the outputs, 0..K-1, of the classes to leave out.
        weights
            (K,) weight of each class, or None for equal ones.
        """
        super().__init__()
        kept = [position for position in range(outputs) if position not in set(ignored)]
        lookup = torch.full((outputs,), IGNORE_INDEX, dtype=torch.int64)
        lookup[kept] = torch.arange(len(kept))
        self.settings = settings
        self.register_buffer("kept", torch.tensor(kept), persistent=False)
        self.register_buffer("lookup", lookup, persistent=False)
        self.register_buffer("weights", None if weights is None else weights[kept].float(), persistent=False)

    kept: Tensor
    lookup: Tensor
    weights: Tensor | None

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The mean loss over the pixels that count; 0 where none does.

        Parameters
        ----------
        logits
            (N, K, H, W), any float type; computed in float32.
        target
            (N, H, W) int64 positions among the outputs. Negative ones count for nothing.
        """
        scores = logits.float().index_select(1, self.kept)  # (N, K', H, W)
        target = torch.where(target < 0, IGNORE_INDEX, self.lookup[target.clamp(min=0)])
        fraction = self.settings.dice_loss_fraction
        loss = scores.new_zeros(())
        if fraction < 1:
            loss = loss + (1 - fraction) * self._classification(scores, target)
        if fraction > 0:
            loss = loss + fraction * dice_loss(scores, target, average=self.settings.dice_loss_average)
        return loss

    def _classification(self, scores: Tensor, target: Tensor) -> Tensor:
        gamma = FOCAL_GAMMA if self.settings.focal_loss else 0.0
        return focal_loss(scores, target, weights=self.weights, gamma=gamma)


def focal_loss(scores: Tensor, target: Tensor, *, weights: Tensor | None, gamma: float) -> Tensor:
    """Focal loss over logits (N, K, H, W) and positions (N, H, W); cross-entropy where ``gamma`` is 0.

    Weighted as torch's ``cross_entropy`` does: the mean divides by the sum of the pixels' weights.
    """
    entropy = F.cross_entropy(scores, target, ignore_index=IGNORE_INDEX, reduction="none")  # (N, H, W)
    counts = (target != IGNORE_INDEX).to(scores.dtype)
    if weights is not None:
        counts = counts * weights.to(scores)[target.clamp(min=0)]
    if gamma:
        entropy = entropy * (-torch.expm1(-entropy)).pow(
            gamma
        )  # exp(-entropy) is the true class's probability
    return (entropy * counts).sum() / counts.sum().clamp(min=torch.finfo(scores.dtype).tiny)


def dice_loss(scores: Tensor, target: Tensor, *, average: str) -> Tensor:
    """1 - dice coefficient of softmax probabilities over the batch, 0..1; 0 where no pixel counts.

    References
    ----------
    Milletari, Navab, Ahmadi (2016), "V-Net", eq. 3, without the squares.
    """
    counts = target != IGNORE_INDEX  # (N, H, W)
    classes = scores.shape[1]
    truth = F.one_hot(target.clamp(min=0), classes).movedim(-1, 1) * counts.unsqueeze(1)  # (N, K, H, W)
    probability = scores.softmax(dim=1) * counts.unsqueeze(1)
    pixels = truth.sum(dim=(0, 2, 3))  # (K,)
    hits = (probability * truth).sum(dim=(0, 2, 3))
    size = probability.sum(dim=(0, 2, 3)) + pixels
    if average == "micro":
        hits, size, present = hits.sum(), size.sum(), counts.any()
    else:
        present = pixels > 0
    dice = (2 * hits + DICE_SMOOTHING) / (size + DICE_SMOOTHING)
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def given_weights(
    weights: Mapping[str, float] | Sequence[float], values: Sequence[int], ignored: Sequence[int]
) -> Tensor:
    """Weight of each output, (K,) float32, as :class:`PixelLossSettings` has them.

    Raises
    ------
    SettingError
        If they name a class that is none, are of another number, or leave no class that counts.
    """
    if isinstance(weights, Mapping):
        unknown = sorted(int(name) for name in weights if int(name) not in values)
        if unknown:
            raise SettingError(f"class_weights names {unknown}, but the class values are {list(values)}.")
        weights = [weights.get(str(value), 1.0) for value in values]
    if len(weights) != len(values):
        raise SettingError(
            f"class_weights has {len(weights)} numbers, but there are {len(values)} outputs: give one for "
            f"each of {list(values)}, or name the class values, such as {{{values[-1]}: 2.0}}."
        )
    if not any(w > 0 for w, value in zip(weights, values, strict=True) if value not in ignored):
        raise SettingError("class_weights leaves no class that counts: give one of them a weight above 0.")
    return torch.tensor(weights, dtype=torch.float32)


def balanced_weights(
    class_pixels: Mapping[int, int], values: Sequence[int], ignored: Sequence[int]
) -> Tensor:
    """Weight of each output, inverse to its pixels, scaled so that the mean over all pixels is 1.

    Parameters
    ----------
    class_pixels
        Number of pixels of each class value.
    values
        Class value of each output.
    ignored
        Class values that take no part: they get weight 0.

    Returns
    -------
    torch.Tensor
        (K,) float32. A class without pixels gets the largest weight of the others.

    Raises
    ------
    SettingError
        If no class that counts has a pixel.
    """
    pixels = torch.tensor([0 if v in ignored else int(class_pixels.get(v, 0)) for v in values]).double()
    present = pixels > 0
    if not present.any():
        raise SettingError(
            "class_balancing needs labelled pixels, and the data holds none: export chips with labels."
        )
    weights = torch.where(present, pixels.sum() / (present.sum() * pixels.clamp(min=1)), 0.0)
    weights = torch.where(present, weights, weights.max())
    weights[[position for position, value in enumerate(values) if value in ignored]] = 0.0
    return weights.float()


def _checked_weights(given: Any) -> dict[str, float] | tuple[float, ...]:
    """Class weights as JSON keeps them: names of values are text there."""
    if isinstance(given, Mapping) and given:
        names = [_class_value(name) for name in given]
        return dict(zip(names, _positive(given.values()), strict=True))
    if isinstance(given, Sequence) and not isinstance(given, str) and given:
        return _positive(given)
    raise SettingError(
        f"class_weights={given!r} cannot work: use a weight for each class value, such as "
        "{1: 1.0, 2: 5.0}, or a list with one number for each output."
    )


def _class_value(name: Any) -> str:
    text = str(name)
    if isinstance(name, bool) or not text.isdecimal():
        raise SettingError(f"class_weights names {name!r}, which is no class value: use a number from 0.")
    return str(int(text))


def _positive(weights: Iterable[Any]) -> tuple[float, ...]:
    given = tuple(weights)
    for weight in given:
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not number or not 0 <= weight < math.inf:
            raise SettingError(f"class_weights holds {weight!r}: use numbers from 0.")
    return tuple(float(weight) for weight in given)
