"""Feature extractors that stop halving the image: strides become dilations, and weights stay."""

from segmentation_models_pytorch.encoders.densenet import DenseNetEncoder
from segmentation_models_pytorch.encoders.vgg import VGGEncoder
from torch import nn

DILATED_STRIDE = 8
"""Side of the image over that of a dilated network's coarsest map."""


def dilate(encoder: nn.Module) -> None:
    """Change an encoder of segmentation_models_pytorch so that no map is coarser than an eighth.

    References
    ----------
    Chen, Papandreou, Schroff, Adam (2017), "Rethinking Atrous Convolution for Semantic Image Segmentation";
    pooling layers as in Chen et al. (2014), "Semantic Image Segmentation with Deep Convolutional Nets and
    Fully Connected CRFs": they go on with stride 1.
    """
    if isinstance(encoder, VGGEncoder):
        _dilate_vgg(encoder)
    elif isinstance(encoder, DenseNetEncoder):
        _dilate_densenet(encoder)
    else:
        encoder.get_submodule("").make_dilated(DILATED_STRIDE)  # type: ignore[operator] # torch types submodules as tensors too


def _dilate_vgg(encoder: nn.Module) -> None:
    layers = encoder.get_submodule("features")
    stride = 1
    for name, layer in list(layers.named_children()):
        if isinstance(layer, nn.MaxPool2d):
            stride *= 2
            if stride > DILATED_STRIDE:
                layers.register_module(name, nn.MaxPool2d(3, stride=1, padding=1))
        elif stride > DILATED_STRIDE:
            _dilate_convolutions(layer, stride // DILATED_STRIDE)


def _dilate_densenet(encoder: nn.Module) -> None:
    layers = encoder.get_submodule("features")
    # block 3 works at a 16th of the image, block 4 at a 32nd; the transitions before them halve it
    for block, rate in ((3, 2), (4, 4)):
        transition = layers.get_submodule(f"transition{block - 1}")
        transition.register_module("pool", nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False))
        _dilate_convolutions(layers.get_submodule(f"denseblock{block}"), rate)


def _dilate_convolutions(module: nn.Module, rate: int) -> None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3):
            part.dilation = part.padding = (rate, rate)
