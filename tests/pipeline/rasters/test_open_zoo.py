"""Every real file either opens and reads a window or is refused in words that help."""

import os
from pathlib import Path

import numpy as np
import pytest

from rasterloom.models.errors import RasterloomError
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import SUFFIXES, describe, open_raster
from rasterloom.pipeline.rasters.read import read_padded, read_window

FOLDER = Path(os.environ.get("RASTERLOOM_DATA") or "RASTERLOOM_DATA")


def zoo():
    """One file of each kind in each folder: many of them are chips of one image."""
    kinds = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            kinds.setdefault((path.parent, path.suffix), path)
    return [str(path.relative_to(FOLDER)) for path in kinds.values()]


def middle(raster):
    height, width = raster.grid.shape
    return Window(height // 3, width // 3, min(64, height - height // 3), min(64, width - width // 3))


def refusal(path):
    """What stands in the way of opening a file, in our words; None where it opens."""
    try:
        describe(path)
    except RasterloomError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", zoo() or ["none"])
def test_every_file_reads_or_says_why_not(data_folder, name):
    refused = refusal(data_folder / name)
    if refused is not None:
        assert Path(name).name in refused
        assert any(remedy in refused for remedy in ("convert", "give it", "warp it", "open it", "bring"))
        return
    raster = describe(data_folder / name)
    window = middle(raster)
    pixels, valid = read_window(raster, window)
    assert pixels.shape == (raster.band_count, window.height, window.width)
    assert pixels.dtype == raster.dtype
    assert np.isfinite(pixels[:, valid]).all()
    padded, _ = read_padded(raster, Window(-8, -8, 20, 20))
    assert padded.shape == (raster.band_count, 20, 20)
    coarse = raster.on_grid(
        raster.grid.regridded(cell_size=tuple(2 * side for side in raster.grid.cell_size))
    )
    assert read_window(coarse, middle(coarse))[1].shape == (middle(coarse).height, middle(coarse).width)
    array = open_raster(raster)
    assert describe(array) == raster
    np.testing.assert_array_equal(array[:, *window.slices].values, pixels)


@pytest.mark.parametrize("suffix", [".tif", ".jp2", ".png", ".jpg"])
def test_the_zoo_has_the_usual_kinds(data_folder, suffix):
    assert suffix in SUFFIXES
    assert any(data_folder.rglob(f"*{suffix}"))


def test_the_chips_of_banepa_are_one_image_without_gaps(data_folder):
    raster = describe(data_folder / "buildings_banepa" / "train" / "oam")
    assert raster.grid.shape == (4096, 3072)
    for row in range(0, 4096, 1000):
        pixels, valid = read_window(raster, Window(row, 0, 8, 3072))
        assert valid.all()
        assert pixels.std() > 0
