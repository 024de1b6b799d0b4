"""How far the distances between two dates are from what changed."""

from torch import Tensor
from torch.nn import functional as F

from rasterloom.models.losses.pixels import IGNORE_INDEX


def balanced_contrastive_loss(distance: Tensor, target: Tensor, *, margin: float) -> Tensor:
    """Unchanged pixels pulled together and changed ones pushed apart, each of the two counting for half.

    Parameters
    ----------
    distance
        (N, H, W), 0 or more.
    target
        (N, H, W) int64: 0 is no change, a larger number a change; negative ones count for nothing.
    margin
        Distance beyond which a changed pixel costs nothing.

    Returns
    -------
    torch.Tensor
        A number, 0 or more; a batch without pixels of one of the two has no part for it.

    References
    ----------
    Chen and Shi (2020), eq. 12 to 14: the batch-balanced contrastive loss.
    """
    same, changed = target == 0, target > 0
    near = (distance.square() * same).sum() / same.sum().clamp(min=1)
    far = ((margin - distance).clamp(min=0).square() * changed).sum() / changed.sum().clamp(min=1)
    return (near + far) / 2


def kinds_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the kinds of change over the changed pixels; 0 where nothing changed.

    Parameters
    ----------
    logits
        (N, K, H, W); channel 0 is no change and takes no part.
    target
        (N, H, W) int64 positions 0..K-1; negative ones count for nothing.
    """
    changed = target > 0
    kinds = target.sub(1).masked_fill(~changed, IGNORE_INDEX)
    total = F.cross_entropy(logits[:, 1:], kinds, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / changed.sum().clamp(min=1)
