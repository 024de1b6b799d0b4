"""Convolutions as segmentation heads use them."""

from torch import nn


def convolution(inputs: int, outputs: int, *, kernel: int, dilation: int = 1) -> nn.Sequential:
    """A convolution that keeps the size, batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """A 1 x 1 convolution and ReLU, without normalisation.

    For maps of one pixel: in a batch of one chip batch normalisation would have one value to average.
    """
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.ReLU())
