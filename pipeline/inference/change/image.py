"""Tell what changed between two images: what a model's ``predict`` does."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
import torch
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from torch import Tensor

from rasterloom.models.contract import Task
from rasterloom.models.errors import OutputError, OutputExistsError, SettingError
from rasterloom.models.networks.probing import evaluating
from rasterloom.pipeline.datasets.pictures import add_legend, chip_picture, class_colors, new_figure
from rasterloom.pipeline.inference.change.arguments import MOST_WHOLE
from rasterloom.pipeline.inference.change.network import BothDates
from rasterloom.pipeline.inference.devices import has_gpu
from rasterloom.pipeline.inference.forward import Forward
from rasterloom.pipeline.inference.objects.image import read_picture, show_picture
from rasterloom.pipeline.inference.objects.pictures import Picture
from rasterloom.pipeline.rasters.gdal import open_source, reading
from rasterloom.pipeline.rasters.grid import reflect_indices
from rasterloom.pipeline.rasters.tiles import Tile, plan_tiles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ENDING = "_change.tif"
"""What is added to the name of the later image for the name of the result."""


def predict_change(
    model: Any,
    before_image: Any,
    after_image: Any,
    *,
    crop_predict: bool = False,
    visualize: bool | str | Path = False,
    save: bool | str | Path = False,
    overwrite: bool = False,
    batch_size: int = 4,
) -> Tensor:
    """Class value of what changed at each pixel, (height, width) int64; 0 is no change, or no image.

    Parameters
    ----------
    model
        One of change.
    before_image, after_image
        Paths of images or rasters of one size, or arrays (height, width, bands).
    crop_predict
        Whether the images are seen chip by chip; otherwise they are seen at once.
    visualize
        True draws the images and the change, in a notebook or a window; a path saves the picture there.
    save
        True writes the class values beside the later image; a path writes them there, as GeoTIFF on the grid
        of the later image.
    overwrite
        Whether that file is replaced.
    batch_size
        Chips that the network sees at once.

    Raises
    ------
    SettingError
        If a setting cannot work, or the images differ in size.
    MissingInputError, ReadError
        If there is no such image, or it cannot be read.
    ModelMismatchError
        If an image has not the bands that the model sees.
    OutputExistsError, OutputError
        If the file to save is there already, or cannot be written.
    """
    if model.spec.task != Task.CHANGE:
        raise SettingError(f"{model.spec.model} is for {model.spec.task}: use a model of change.")
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise SettingError(f"batch_size={batch_size!r} cannot work: use a whole number, 1 or more.")
    target = _target(save, after_image, overwrite=overwrite)
    before, after = read_picture(before_image, model), read_picture(after_image, model)
    sizes = before.pixels.shape[1:], after.pixels.shape[1:]
    if sizes[0] != sizes[1]:
        raise SettingError(
            f"the images are {sizes[0][0]} x {sizes[0][1]} and {sizes[1][0]} x {sizes[1][1]} pixels and "
            "cannot lie on each other: detect_change_using_deep_learning brings rasters onto one grid."
        )
    found = _found(model, before, after, in_chips=crop_predict, batch_size=batch_size)
    if target is not None:
        _write(found, target, after_image)
    if visualize:
        show_picture(_drawn(before, after, found, model), visualize)
    return torch.from_numpy(found)


def _found(model: Any, before: Picture, after: Picture, *, in_chips: bool, batch_size: int) -> np.ndarray:
    """Class values (H, W) int64."""
    shape = (before.pixels.shape[1], before.pixels.shape[2])
    multiple = model.tile_multiple
    if in_chips:
        side = -(-model.spec.tile_size // multiple) * multiple
        tiles = plan_tiles(shape, tile=side, padding=side // 4)
    elif max(shape) > MOST_WHOLE:
        raise SettingError(
            f"images of {shape[0]} x {shape[1]} pixels are too large to be seen at once: use "
            f"crop_predict=True, or give images of at most {MOST_WHOLE} pixels a side."
        )
    else:
        side = -(-max(shape) // multiple) * multiple
        tiles = plan_tiles(shape, tile=side)
    both = np.concatenate([_floats(before.pixels, after.pixels), _floats(after.pixels, before.pixels)])
    valid = np.ones(shape, bool)
    for picture in (before, after):
        valid &= True if picture.valid is None else picture.valid
    values = np.array(model.spec.output_values, np.int64)
    found = np.zeros(shape, np.int64)
    with _looking(model) as looks:
        for start in range(0, len(tiles), batch_size):
            some = tiles[start : start + batch_size]
            chips, seen = zip(*(_chip(both, valid, tile) for tile in some), strict=True)
            for tile, positions in zip(some, looks(np.stack(chips), np.stack(seen)), strict=True):
                rows, cols = tile.keep
                top, left = rows.start - tile.read.row, cols.start - tile.read.col
                height, width = rows.stop - rows.start, cols.stop - cols.start
                found[tile.keep] = values[positions[top : top + height, left : left + width]]
    found[~valid] = 0
    return found


@contextmanager
def _looking(model: Any) -> Iterator[Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """From chips (N, 2C, T, T) and their valid pixels to the positions (N, T, T) of the likeliest outputs.

    The model is afterwards where it was, and trains if it did.
    """
    network, device = model.network, "cuda" if has_gpu() else "cpu"
    home = next((weight.device for weight in network.parameters()), None)
    looked = BothDates(model)
    forward = Forward(device, looked.spec.normalization)

    def look(chips: np.ndarray, seen: np.ndarray) -> np.ndarray:
        parts = forward.in_parts(chips, seen, lambda images: looked.network(images).argmax(dim=1).cpu())
        return torch.cat(parts).numpy()

    with evaluating(network.to(device)):
        try:
            yield look
        finally:
            network.to(home)


def _floats(pixels: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The pixels in a type that both images have."""
    return pixels if pixels.dtype == other.dtype else pixels.astype(np.float32)


def _chip(both: np.ndarray, valid: np.ndarray, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
    """What the network sees of both dates, mirrored beyond the images, and which of its pixels are some."""
    window = tile.read
    down = np.asarray(reflect_indices(window.row, window.row + window.height, valid.shape[0]))
    across = np.asarray(reflect_indices(window.col, window.col + window.width, valid.shape[1]))
    return both[:, down[:, None], across], valid[down[:, None], across]


def _target(save: bool | str | Path, after_image: Any, *, overwrite: bool) -> Path | None:
    """Where the class values go."""
    if save is False:
        return None
    if save is True:
        local = isinstance(after_image, str | Path) and "://" not in str(after_image)
        if not local:
            raise SettingError("save=True writes beside the later image, which is no file here: give a path.")
        path = Path(after_image).expanduser()
        target = path.with_name(path.stem + _ENDING)
    else:
        target = Path(save).expanduser()
    if target.exists() and not overwrite:
        raise OutputExistsError(f"{target} exists: choose another name, or use overwrite=True.")
    return target


def _write(found: np.ndarray, target: Path, after_image: Any) -> None:
    dtype = "uint8" if found.max(initial=0) < 255 else "uint16" if found.max() < 65_535 else "uint32"
    height, width = found.shape
    settings = {"driver": "GTiff", "count": 1, "dtype": dtype, "height": height, "width": width}
    part = target.with_name(f".{target.name}.partial")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a picture without a place stays one
        place: dict[str, Any] = {}
        if isinstance(after_image, str | Path):
            name = str(after_image) if "://" in str(after_image) else str(Path(after_image).expanduser())
            with reading(remote="://" in name), open_source(name) as source:
                place = {"crs": source.crs, "transform": source.transform}
        try:
            with rasterio.open(part, "w", **settings, **place, compress="deflate") as raster:
                raster.write(found.astype(dtype), 1)
            part.replace(target)
        except (RasterioError, OSError) as error:
            raise OutputError(f"{target} cannot be written: {error}") from error
        finally:
            part.unlink(missing_ok=True)


def _drawn(before: Picture, after: Picture, found: np.ndarray, model: Any) -> "Figure":
    figure = new_figure(rows=1, columns=3, side=4, titles=("before", "after", "change"))
    for panel, picture in zip(figure.axes, (before, after), strict=False):
        chip_picture(panel, picture.pixels, model.spec.bands)
    positions = np.searchsorted(model.spec.output_values, found)
    figure.axes[2].imshow(class_colors(positions, model.spec.classes), interpolation="nearest")
    add_legend(figure, model.spec.classes)
    return figure
