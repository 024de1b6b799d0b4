"""The smallest model of objects: it sees bright places, and its loss is their distance from the boxes."""

import dataclasses

import torch
from torch import nn

from rasterloom.models.objects.detector import ObjectDetector


class BrightSpots(ObjectDetector):
    """Finds one box around everything bright in a chip, of class 1, and says how sure it is."""

    @classmethod
    def complete_parameters(cls, parameters):
        return dict(parameters)

    def build_network(self, *, pretrained):
        return nn.Conv2d(self.spec.band_count, 1, 1)

    def batch_loss(self, images, targets):
        covered = torch.zeros_like(images[:, :1])
        for chip, target in zip(covered, targets, strict=True):
            for left, top, right, bottom in target["boxes"].round().int().tolist():
                chip[0, top:bottom, left:right] = 1.0
        return nn.functional.binary_cross_entropy_with_logits(self.network(images), covered)

    def detect(self, images, *, threshold=0.5, nms_overlap=0.1):
        found = []
        for heat in self.network(images).sigmoid()[:, 0]:
            rows, cols = torch.nonzero(heat > 0.5, as_tuple=True)
            boxes = torch.zeros(0, 4)
            if len(rows):
                sides = (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1)
                boxes = torch.stack(sides)[None].float().cpu()
            scores = torch.full((len(boxes),), 0.7)
            kept = scores >= threshold
            labels = torch.ones(len(boxes), dtype=torch.int64)
            found.append({"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]})
        return found

    def early_layers(self):
        return nn.Module()

    tile_multiple = 1
    supported_backbones = ()


def bright_spots(object_data):
    """Sees what is brighter than the ground."""
    spec = object_data.spec_for("ModelExtension", {})
    model = BrightSpots.from_spec(dataclasses.replace(spec, model="BrightSpots"), object_data)
    with torch.no_grad():
        model.network.weight.fill_(10.0)
        model.network.bias.fill_(30.0)  # imagery of 0..255 is scaled about 123
    return model
