"""Find the objects in one image: what a model's ``predict`` does."""

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.features import geometry_mask

from rasterloom.models.errors import MissingInputError, ReadError, SettingError
from rasterloom.pipeline.datasets.pictures import add_legend, chip_picture, new_figure, overlay_objects
from rasterloom.pipeline.inference.objects.pictures import (
    Looking,
    Picture,
    classes_of,
    looking_with,
    picture_of,
)
from rasterloom.pipeline.rasters.gdal import open_source, reading
from rasterloom.pipeline.seams.found import Found

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PIXELS = 1 << 28
"""Pixels of an image that are taken into memory at once; larger ones are for ``detect_objects``."""

_PIXELS = Affine.identity()

Predictions = tuple[Any, ...]
"""Boxes, class values, and what else was asked for: see :func:`predict_image`."""


def predict_image(
    model: Any,
    image_path: Any,
    *,
    threshold: float = 0.5,
    nms_overlap: float = 0.1,
    return_scores: bool = False,
    visualize: bool | str | Path = False,
    resize: bool = False,
    batch_size: int = 1,
    tta_prediction: bool = False,
    return_masks: bool = False,
    min_obj_size: float = 0,
) -> Predictions:
    """The objects of an image, the most certain first.

    Parameters
    ----------
    model
        One that finds objects.
    image_path
        Path of an image or raster, or an array: (height, width, bands), or (height, width) for one band.
    threshold, nms_overlap, resize, batch_size
        How the model looks at it: see :class:`Looking`.
    return_scores
        Whether scores are returned too.
    visualize
        True draws the image with its objects, in a notebook or a window; a path saves the picture there.
    tta_prediction
        Whether every chip is seen in its eight flips and rotations.
    return_masks
        Whether the pixels of each object are returned too. Objects without an outline fill their boxes.
    min_obj_size
        Pixels that the shorter side of a box has at least.

    Returns
    -------
    list of [xmin, ymin, width, height], list of int, and perhaps list of float and ndarray
        Boxes in pixels of the image, class values, scores, and masks (n, height, width) of bool.

    Raises
    ------
    MissingInputError, ReadError
        If there is no such image, or it cannot be read.
    SettingError
        If a setting cannot work.
    ModelMismatchError
        If the image has not the bands that the model sees.
    """
    looking = Looking(
        threshold=threshold,
        nms_overlap=nms_overlap,
        resize=resize,
        batch_size=batch_size,
        augmented=tta_prediction,
    )
    picture = read_picture(image_path, model)
    with looking_with(model, looking) as finder:
        (found,) = finder.find([picture])
    sides = (found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1, initial=np.inf)
    found = found.taken(sides >= min_obj_size)
    masks = _masks(found, picture.pixels.shape[1:]) if return_masks else None
    if visualize:
        show_picture(_drawn(picture, found, model), visualize)
    low, high = found.boxes[:, :2], found.boxes[:, 2:]
    boxes = np.concatenate([low, high - low], axis=1).tolist()
    values = [info.value for info in classes_of(found, model.spec.classes)]
    scores = [found.scores.tolist()] if return_scores else []
    return (boxes, values, *scores, *([] if masks is None else [masks]))


def read_picture(image: Any, model: Any) -> Picture:
    """The bands of an image that a model sees.

    Parameters
    ----------
    image
        A path, or an array (height, width, bands) or (height, width).

    Raises
    ------
    MissingInputError, ReadError
        If there is no such image, or it cannot be read.
    SettingError
        If it is nothing of these, or too large.
    ModelMismatchError
        If it has not the bands that the model sees.
    """
    if isinstance(image, str | Path):
        return _read_file(image, model)
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3) or 0 in image.shape:
        told = f"an array of {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise SettingError(
            f"image_path is {told}: give the path of an image, or an array (height, width, bands)."
        )
    _check_size("the array", *image.shape[:2])
    pixels = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    return picture_of(pixels, model, "the array")


def _read_file(path: str | Path, model: Any) -> Picture:
    name = str(path)
    if "://" not in name:
        local = Path(name).expanduser()
        if not local.exists() and not name.startswith("/vsi"):
            raise MissingInputError(f"there is no image {local}.")
        name = name if name.startswith("/vsi") else str(local)
    try:
        with reading(remote="://" in name), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # the place does not matter here
            with open_source(name) as source:
                _check_size(name, source.height, source.width)
                pixels, valid = source.read(), source.dataset_mask() > 0
    except RasterioIOError as error:
        raise ReadError(f"{name} cannot be read as an image: {error}") from error
    return picture_of(pixels, model, name, None if valid.all() else valid)


def _check_size(name: str, height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise SettingError(
            f"{name} has {height} x {width} pixels, more than predict takes at once ({MOST_PIXELS}): "
            "use detect_objects."
        )


def _masks(found: Found, shape: tuple[int, ...]) -> np.ndarray:
    masks = np.zeros((len(found), *shape), bool)
    for row, (box, outline) in enumerate(zip(found.boxes.tolist(), found.outlines, strict=True)):
        thing = shapely.from_wkb(outline) if outline else shapely.box(*box)
        masks[row] = geometry_mask([thing], shape, _PIXELS, invert=True)
    return masks


def _drawn(picture: Picture, found: Found, model: Any) -> "Figure":
    height, width = picture.pixels.shape[1:]
    figure = new_figure(rows=1, columns=1, side=6 * max(width / max(height, width), 0.3))
    panel = figure.axes[0]
    chip_picture(panel, picture.pixels, model.spec.bands)
    objects: dict[str, Any] = {"boxes": found.boxes, "labels": found.labels}
    if any(found.outlines):
        objects["masks"] = _masks(found, (height, width))
    overlay_objects(panel, objects, model.spec.classes, alpha=0.45)
    add_legend(figure, model.spec.classes)
    return figure


def show_picture(figure: "Figure", where: bool | str | Path) -> None:
    """Put a picture where somebody sees it: in a notebook, in a window, or with a path in a file."""
    if where is not True:
        figure.savefig(Path(str(where)).expanduser())
        return
    if "IPython" in sys.modules:
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is not None:
            display(figure)  # type: ignore[no-untyped-call] # IPython ships untyped
            return
    from matplotlib import get_backend, pyplot
    from matplotlib.backends import BackendFilter, backend_registry

    if get_backend() not in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
        warnings.warn(
            "visualize=True has no window and no notebook to draw in: give the path of a picture, "
            "such as visualize='objects.png'.",
            stacklevel=4,
        )
        return
    window = pyplot.figure(figsize=figure.get_size_inches())
    panel = window.add_axes((0, 0, 1, 1))
    panel.set_axis_off()
    panel.imshow(_rendered(figure))
    pyplot.show(block=False)


def _rendered(figure: "Figure") -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())
