"""Tiny videos of bright rectangles on dark ground, and a detector that finds them exactly."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import nn

from rasterloom.models.contract import ClassInfo, ModelSpec, Normalization, Task

GREY, RED = ClassInfo(7, "grey", (200, 200, 200)), ClassInfo(9, "red", (255, 0, 0))

Box = tuple[int, int, int, int]
"""x1, y1, x2, y2 of a rectangle, in pixels."""


class BrightFinder:
    """Finds connected bright pixels; red ones are of the second class. The brightest pixel is the score."""

    def __init__(self, *, tile=64, bands=("red", "green", "blue"), masks=False):
        zeros, ones = (0.0,) * len(bands), (1.0,) * len(bands)
        self.spec = ModelSpec(
            model="BrightFinder",
            task=Task.OBJECTS,
            bands=tuple(bands),
            extract_bands=tuple(range(len(bands))),
            dtype="uint8",
            normalization=Normalization(zeros, ones),
            tile_size=tile,
            classes=(GREY, RED),
            cell_size=(1.0, 1.0),
            crs="",
        )
        self.network = nn.Conv2d(len(bands), 1, 1)
        self.masks = masks
        self.seen = []

    def detect(self, images, *, threshold=0.5, nms_overlap=0.1):
        self.seen.append(tuple(images.shape))
        return [self._found(image, threshold) for image in images.numpy()]

    def _found(self, image, threshold):
        bright = image.max(axis=0) > 100
        parts, _ = ndimage.label(bright)
        boxes, labels, scores, masks = [], [], [], []
        for number, (rows, cols) in enumerate(ndimage.find_objects(parts), start=1):
            mask = parts == number
            score = float(np.median(image.max(axis=0)[mask])) / 255
            if score < threshold:
                continue
            red = "red" in self.spec.bands and np.median(
                image[self.spec.bands.index("red")][mask]
            ) > 2 * np.median(image[self.spec.bands.index("green")][mask])
            boxes.append((cols.start, rows.start, cols.stop, rows.stop))
            labels.append(2 if red else 1)
            scores.append(score)
            masks.append(mask)
        found = {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "scores": torch.tensor(scores, dtype=torch.float32),
        }
        if self.masks:
            found["masks"] = torch.tensor(np.array(masks).reshape(-1, *bright.shape))
        return found


def scene(size: tuple[int, int], boxes: Iterable[Box], color: Sequence[int] = (200, 200, 200)) -> np.ndarray:
    """Rectangles on dark ground: (height, width, 3) of uint8, of a size given as width and height."""
    picture = np.full((size[1], size[0], 3), 20, np.uint8)
    for x1, y1, x2, y2 in boxes:
        picture[y1:y2, x1:x2] = color
    return picture


def write_video(path: Path, frames: Iterable[np.ndarray], *, rate: float = 10.0, codec: str = "png ") -> Path:
    """A video of frames (height, width, 3), red first; ``png`` keeps them as they are, in a .mov."""
    writer = None
    for frame in frames:
        if writer is None:
            code = cv2.VideoWriter_fourcc(*codec)
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, rate, frame.shape[1::-1])
            assert writer.isOpened()
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    assert writer is not None
    writer.release()
    return path


def read_video(path: Path) -> list[np.ndarray]:
    """All frames of a video, (height, width, 3), red first."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        read, frame = capture.read()
        if not read:
            return frames
        frames.append(frame[..., ::-1])
