"""The smallest classes for ``ModelExtension``, one for pixels and one for objects."""

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign, batched_nms

CALLS = []
"""Names of the methods that were called, for the tests to look at and to empty."""


def layers(bands, width):
    return nn.Sequential(
        nn.Conv2d(bands, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


class TinySegmenter:
    """Three convolutions; ``post_process`` leaves pixels below the threshold to background."""

    tile_multiple = 2

    def get_model(self, data, backbone=None, width=8, **kwargs):
        network = nn.Sequential()
        network.backbone = (backbone or layers)(len(data.bands), width)
        network.head = nn.Conv2d(width, data.c, 1)
        return network

    def on_batch_begin(self, learn, xb, yb, **kwargs):
        CALLS.append(("on_batch_begin", kwargs.get("train"), tuple(yb.shape), learn.model.training))
        return xb, yb.squeeze(1)

    def transform_input(self, xb):
        CALLS.append("transform_input")
        return xb

    def transform_input_multispectral(self, xb):
        CALLS.append("transform_input_multispectral")
        return xb

    def loss(self, model_output, *model_target):
        return nn.functional.cross_entropy(model_output, model_target[0])

    def post_process(self, pred, thres):
        best, position = pred.softmax(dim=1).max(dim=1, keepdim=True)
        return torch.where(best < thres, torch.zeros_like(position), position)


class SoftSegmenter(TinySegmenter):
    """The same with probabilities."""

    def post_process(self, pred, thres):
        return pred.softmax(dim=1)


class TinyDetector:
    """Each place of a grid of 4 pixels says which object covers it and how far its sides are."""

    def get_model(self, data, backbone=None, width=16, **kwargs):
        network = nn.Sequential(layers(len(data.bands), width), nn.MaxPool2d(2), layers(width, 2 * width))
        return network.extend([nn.MaxPool2d(2), nn.Conv2d(2 * width, data.c + 4, 3, padding=1)])

    def on_batch_begin(self, learn, xb, yb, **kwargs):
        CALLS.append(("on_batch_begin", kwargs.get("train"), len(yb), learn.model.training))
        return xb, yb

    def transform_input(self, xb):
        return xb

    def transform_input_multispectral(self, xb):
        return xb

    def loss(self, model_output, *model_target):
        scores, sides = model_output[:, :-4], model_output[:, -4:]
        points = places(model_output)
        total = 0.0
        for chip, target in enumerate(model_target):
            assert set(target) == {"boxes", "labels"}
            # (places, boxes, 4): how far left, top, right, bottom are
            far = torch.cat(
                [points[:, None] - target["boxes"][:, :2], target["boxes"][:, 2:] - points[:, None]], 2
            )
            covered, which = (far.amin(dim=2) > 0).max(dim=1)
            label = torch.where(covered, target["labels"][which], 0)
            total = total + nn.functional.cross_entropy(scores[chip].flatten(1).T, label)
            wanted = far[torch.arange(len(points)), which][covered] / 8
            total = total + (sides[chip].flatten(1).T[covered] - wanted).abs().mean()
        return total / len(model_target)

    def post_process(self, pred, nms_overlap, thres, chip_size, device):
        CALLS.append(("post_process", nms_overlap, thres, chip_size, str(device)))
        points, kept = places(pred), []
        for chip in pred:
            scores, labels = chip[:-4].flatten(1).softmax(dim=0)[1:].max(dim=0)
            sides = chip[-4:].flatten(1).T * 8
            boxes = torch.cat([points - sides[:, :2], points + sides[:, 2:]], 1)
            boxes, scores, labels = (values[scores >= thres] for values in (boxes, scores, labels + 1))
            best = batched_nms(boxes, scores, labels, nms_overlap)
            kept.append({"boxes": boxes[best], "labels": labels[best], "scores": scores[best]})
        return kept


def places(output):
    """Centres (n, 2) of the places of an output, as x and y in pixels."""
    rows, cols = torch.meshgrid(*(4 * torch.arange(side) + 2.0 for side in output.shape[-2:]), indexing="ij")
    return torch.stack([cols, rows], dim=2).reshape(-1, 2)


class TorchvisionDetector(TinyDetector):
    """Faster R-CNN on three convolutions at half of the resolution."""

    def get_model(self, data, backbone=None, width=16, **kwargs):
        bands = len(data.bands)
        features = nn.Sequential(layers(bands, width), nn.MaxPool2d(2), layers(width, width))
        features.out_channels = width
        return FasterRCNN(
            features,
            num_classes=data.c,
            min_size=data.chip_size,
            max_size=data.chip_size,
            image_mean=[0.0] * bands,
            image_std=[1.0] * bands,
            rpn_anchor_generator=AnchorGenerator(((6, 12),), ((1.0,),)),
            box_roi_pool=MultiScaleRoIAlign(["0"], 3, 2),
            rpn_pre_nms_top_n_train=100,
            rpn_post_nms_top_n_train=50,
            rpn_pre_nms_top_n_test=100,
            rpn_post_nms_top_n_test=50,
            box_batch_size_per_image=64,
            box_score_thresh=0.0,
            box_nms_thresh=1.0,
        )

    def on_batch_begin(self, learn, xb, yb, **kwargs):
        super().on_batch_begin(learn, xb, yb, **kwargs)
        return [list(xb), yb], yb

    def transform_input(self, xb):
        return [list(xb)]

    def transform_input_multispectral(self, xb):
        return [list(xb)]

    def loss(self, model_output, *model_target):
        return sum(model_output.values())

    def post_process(self, pred, nms_overlap, thres, chip_size, device):
        return pred
