"""From whatever a foreign network returns to scores for every pixel."""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rasterloom.models.errors import ModelMismatchError


@final
class PixelOutputs(nn.Module):
    """A network of any origin whose answer is (N, K, H, W) float32, with H and W those of the images.

    The network may return a tensor, a mapping with ``out``, an object with ``logits``, or a sequence that
    begins with one of these. A coarser grid is brought to the images' by bilinear interpolation. One channel
    alone becomes two: what is not the class, and the class.
    """

    def __init__(self, inner: nn.Module, *, probabilities: bool = False) -> None:
        """Wrap ``inner``, which is kept as it is; ``probabilities`` says that its answers are no logits."""
        super().__init__()
        self.inner = inner
        self.probabilities = probabilities
        weights = (p.dtype for p in inner.parameters() if p.is_floating_point())
        self.input_dtype = next(weights, torch.float32)

    def forward(self, images: Tensor) -> Tensor:
        """Scores of (N, C, H, W) images.

        Raises
        ------
        ModelMismatchError
            If the answer is not one for every pixel.
        """
        scores = self.scores(images)
        if scores.shape[-2:] != images.shape[-2:]:
            scores = _enlarged(scores, images)
        if scores.shape[1] == 1:
            rest = 1 - scores if self.probabilities else torch.zeros_like(scores)
            scores = torch.cat([rest, scores], dim=1)
        return scores

    def scores(self, images: Tensor) -> Tensor:
        """The network's own answer, in its number of channels and on its own grid."""
        found = first_tensor(self.inner(images.to(self.input_dtype)))
        return _checked(found, images).float()


@final
class FirstTensor(nn.Module):
    """A network that returns the tensor that matters, and nothing else."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        """The first tensor of the network's answer."""
        return first_tensor(self.inner(images))


def first_tensor(answer: Any) -> Tensor:
    """The tensor that holds the scores.

    Raises
    ------
    ModelMismatchError
        If there is none.
    """
    found = answer
    while not isinstance(found, Tensor):
        if isinstance(found, Mapping) and "out" in found:
            found = found["out"]
        elif isinstance(getattr(found, "logits", None), Tensor):
            found = found.logits
        elif isinstance(found, tuple | list) and found:
            found = found[0]
        else:
            raise ModelMismatchError(
                f"the network returns {_described(answer)}, and nothing in it is known to be the scores: it "
                "should return a tensor (N, K, H, W), a dictionary with 'out', a tuple that begins with the "
                "tensor, or an object with .logits."
            )
    return found


def _described(answer: Any) -> str:
    if isinstance(answer, Mapping):
        return f"a dictionary with {', '.join(map(repr, list(answer)[:5])) or 'nothing'}"
    return f"a {type(answer).__name__}"


def _checked(found: Tensor, images: Tensor) -> Tensor:
    shape = tuple(found.shape)
    if found.dim() == 3 and len(found) == len(images):
        found = found[:, None]  # (N, H, W): one channel, not spelled out
    if found.dim() in (1, 2):
        raise ModelMismatchError(
            f"the network returns {shape} for {tuple(images.shape)}: one label for each chip, and not one "
            "for each pixel. Pixel classification needs (N, K, H, W), as a segmentation network gives it."
        )
    if found.dim() != 4 or len(found) != len(images):
        raise ModelMismatchError(
            f"the network returns {shape} for {tuple(images.shape)}: it should be (N, K, H, W)."
        )
    if not found.is_floating_point():
        raise ModelMismatchError(
            f"the network returns {found.dtype}, which are classes already: leave out its argmax, so that it "
            "returns one score for each class."
        )
    return found


def _enlarged(scores: Tensor, images: Tensor) -> Tensor:
    (rows, cols), (height, width) = scores.shape[-2:], images.shape[-2:]
    if not rows or not cols or height % rows or width % cols or height // rows != width // cols:
        raise ModelMismatchError(
            f"the network returns {rows} x {cols} scores for tiles of {height} x {width} pixels, which is "
            "no whole fraction: its convolutions must be padded, or the tile size must be a multiple of its "
            "stride."
        )
    return F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)
