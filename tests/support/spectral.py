"""A network that looks at one pixel at a time, as ``ModelExtension`` takes it."""

import torch
from torch import nn


class SpectralClassifier:
    """Two layers over the bands of a pixel; pixels without a class teach nothing and are no answer."""

    def get_model(self, data, backbone=None, width=256, **kwargs):
        return nn.Sequential(
            nn.Conv2d(len(data.bands), width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, data.c, 1),
        )

    def on_batch_begin(self, learn, xb, yb, **kwargs):
        return xb, yb.squeeze(1)

    def transform_input(self, xb):
        return xb

    def transform_input_multispectral(self, xb):
        return xb

    def loss(self, model_output, *model_target):
        return nn.functional.cross_entropy(model_output, model_target[0], ignore_index=0)

    def post_process(self, pred, thres):
        return torch.cat([torch.zeros_like(pred[:, :1]), pred[:, 1:].softmax(dim=1)], dim=1)
