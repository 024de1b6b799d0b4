"""Label single images, each seen once at the size of a chip."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.pictures import chip_picture, new_figure, short_title
from rasterloom.pipeline.inference.devices import has_gpu
from rasterloom.pipeline.inference.objects.image import read_picture, show_picture
from rasterloom.pipeline.inference.objects.pictures import Picture
from rasterloom.pipeline.inference.photos.exif import photo_facts
from rasterloom.pipeline.inference.scenes.predict import ScenePredictor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THRESHOLD = 0.5
"""Least probability of a class that an image of several labels is given."""
_LEAST = 4
"""Images in a pass at least: fewer are summed in another order, which rounds otherwise."""


def predict_scene(
    model: Any, img_path: Any, *, visualize: bool | str | Path = False, gradcam: bool = False
) -> tuple[Any, Any]:
    """The label of one image and its probability; of a model of several labels, lists of both.

    Parameters
    ----------
    img_path
        Path of an image or raster, or an array (height, width, bands).
    visualize
        True draws the image with its label, in a notebook or a window; a path saves the picture there.
    gradcam
        Whether the picture also shows where in the image the label comes from.

    Raises
    ------
    MissingInputError, ReadError
        If there is no such image, or it cannot be read.
    SettingError
        If a setting cannot work.
    ModelMismatchError
        If the image has not the bands that the model sees.
    """
    picture = read_photo(img_path, model)
    with labelling_with(model) as labeller:
        (likely,) = labeller.probabilities([picture])
        if visualize:
            heat = labeller.heat(picture, int(likely.argmax())) if gradcam else None
            show_picture(_drawn(picture, model, likely, heat), visualize)
    if model.multilabel:
        given = [place for place in np.argsort(-likely, kind="stable") if likely[place] >= THRESHOLD]
        return [model.output_classes[place].name for place in given], [float(likely[p]) for p in given]
    name, _, share = most_probable(model, likely)
    return name, share


def read_photo(image: Any, model: Any) -> Picture:
    """The bands of an image that a model sees, the right way up where a camera has noted which that is.

    Raises
    ------
    MissingInputError, ReadError
        If there is no such image, or it cannot be read.
    SettingError, ModelMismatchError
        If it is no image, too large, or has not the bands that the model sees.
    """
    picture = read_picture(image, model)
    if not isinstance(image, str | Path):
        return picture
    facts = photo_facts(image)
    valid = None if picture.valid is None else facts.upright(picture.valid)
    return Picture(facts.upright(picture.pixels), valid)


class Labeller:
    """A classifier of whole chips, ready to look at pictures."""

    def __init__(self, model: Any) -> None:
        self._predictor = ScenePredictor(model, "cuda" if has_gpu() else "cpu")
        self._model = model

    def probabilities(self, pictures: Sequence[Picture]) -> np.ndarray:
        """(n, K) probability of each class for each picture, whatever their sizes."""
        chips = torch.stack([self._chip(picture) for picture in pictures])
        spare = max(0, _LEAST - len(chips))
        whole = torch.cat([chips, chips[:1].expand(spare, *chips.shape[1:])]) if spare else chips
        return self._predictor.classify(whole.numpy())[: len(chips)]

    def heat(self, picture: Picture, position: int) -> np.ndarray:
        """Where in a picture the score of a class comes from: (H, W) of the picture, 0 to 1."""
        if not hasattr(self._model, "heat"):
            raise SettingError(
                f"gradcam=True cannot work for a {self._model.spec.model}, whose layers nobody knows: leave "
                "it out."
            )
        scaling = self._model.spec.normalization
        mean, std = (torch.tensor(values).float()[:, None, None] for values in (scaling.mean, scaling.std))
        device = next(self._model.network.parameters()).device
        image = ((self._chip(picture) - mean) / std)[None].to(device)
        found = self._model.heat(image, torch.tensor([position], device=device))[None].cpu()
        size = picture.pixels.shape[1:]
        large = F.interpolate(found, size, mode="bilinear", align_corners=False)
        return np.asarray(large[0, 0].numpy())

    def _chip(self, picture: Picture) -> torch.Tensor:
        """A picture at the size of a chip, (C, T, T) float32, in its own units; 0 where it holds nothing."""
        pixels = torch.from_numpy(np.ascontiguousarray(picture.pixels)).float()
        if picture.valid is not None:
            pixels = pixels.nan_to_num(0.0) * torch.from_numpy(np.ascontiguousarray(picture.valid))
        side = self._model.spec.tile_size
        if pixels.shape[1:] == (side, side):
            return pixels
        size = (side, side)
        return F.interpolate(pixels[None], size, mode="bilinear", antialias=True, align_corners=False)[0]


@contextmanager
def labelling_with(model: Any) -> Iterator[Labeller]:
    """A labeller of a model that afterwards is where it was, and trains if it did.

    Raises
    ------
    SettingError
        If the model is not for whole chips.
    """
    if model.spec.task != Task.SCENES:
        raise SettingError(
            f"{model.spec.model} is for {model.spec.task}: use a model that labels whole chips, such as "
            "FeatureClassifier."
        )
    network = model.network
    training = {part: part.training for part in network.modules()}
    weight = next(network.parameters(), None)
    home = None if weight is None else weight.device
    try:
        yield Labeller(model)
    finally:
        network.to(home)
        for part, was_training in training.items():
            part.training = was_training


def most_probable(model: Any, likely: np.ndarray) -> tuple[str, int, float]:
    """Name, value and probability of the class that an image most probably shows."""
    place = int(likely.argmax())
    info = model.output_classes[place]
    return info.name, info.value, float(likely[place])


def label_and_share(model: Any, likely: np.ndarray) -> tuple[str, float]:
    """What is written of an image: its class, or its classes with a comma between, and how sure that is.

    Of several labels it is the probability of the least probable one that is given; of none, that there is
    none.
    """
    if not model.multilabel:
        name, _, share = most_probable(model, likely)
        return name, share
    order = np.argsort(-likely, kind="stable")
    given = [int(place) for place in order if likely[place] >= THRESHOLD]
    if not given:
        return "", float(1 - likely.max())
    return ", ".join(model.output_classes[place].name for place in given), float(likely[given[-1]])


def _drawn(picture: Picture, model: Any, likely: np.ndarray, heat: np.ndarray | None) -> "Figure":
    figure = new_figure(rows=1, columns=1 if heat is None else 2, side=4.5)
    for panel in figure.axes:
        chip_picture(panel, picture.pixels, model.spec.bands)
    label, share = label_and_share(model, likely)
    short_title(figure.axes[0], f"{label or 'none'} {share:.0%}")
    if heat is not None:
        figure.axes[1].imshow(heat, cmap="inferno", alpha=0.5, vmin=0, vmax=1)
        short_title(figure.axes[1], f"heat of {most_probable(model, likely)[0]}")
    return figure
