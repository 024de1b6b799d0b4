"""The GeoTIFF files of a scene."""

import numpy as np
import pytest
import rasterio

from rasterloom.pipeline.landscape.imagery import check_whole, open_imagery
from rasterloom.pipeline.landscape.render import SIDE, Block
from rasterloom.pipeline.landscape.write import scene_grid
from rasterloom.pipeline.rasters.grid import Window

GRID = scene_grid(700, cell_size=1.0, crs="EPSG:32633")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagery")
    paths = folder / "scene.tif", folder / "truth.tif"
    rng = np.random.default_rng(0)
    blocks = {}
    with open_imagery(*paths, GRID) as imagery:
        for row in (0, SIDE):
            for col in (0, SIDE):
                window = Window(row, col, SIDE, SIDE).clipped(GRID.shape)
                pixels = rng.integers(1, 256, (4, SIDE, SIDE), np.uint8)
                blocks[window] = Block(pixels, rng.integers(1, 7, (SIDE, SIDE), np.uint8))
                imagery.write(window, blocks[window])
    return paths, blocks


def test_pixels_come_back_as_they_were_written(written):
    (scene, truth), blocks = written
    with rasterio.open(scene) as pixels, rasterio.open(truth) as classes:
        image, labels = pixels.read(), classes.read(1)
    for window, block in blocks.items():
        rows, cols = window.slices
        assert np.array_equal(image[:, rows, cols], block.pixels[:, : window.height, : window.width])
        assert np.array_equal(labels[rows, cols], block.classes[: window.height, : window.width])


def test_the_scene_is_tiled_and_has_bands_crs_and_overviews(written):
    (scene, _), _ = written
    with rasterio.open(scene) as pixels:
        assert pixels.descriptions == ("Red", "Green", "Blue", "NearInfrared")
        assert pixels.crs.to_epsg() == 32633
        assert pixels.block_shapes == [(SIDE, SIDE)] * 4
        assert pixels.transform == GRID.affine
        assert pixels.overviews(1) == [2]
        assert pixels.dataset_mask().min() == 255


def test_the_truth_has_colours_and_class_names(written):
    (_, truth), _ = written
    with rasterio.open(truth) as classes:
        assert classes.colormap(1)[6] == (204, 66, 56, 255)
        assert classes.tags(1)["CLASS_4"] == "Water"
        assert classes.overviews(1) == [2]
        assert set(np.unique(classes.read(1, out_shape=(350, 350)))) <= set(range(1, 7))


def test_a_file_that_was_cut_off_is_noticed(written, tmp_path):
    for path in written[0]:
        check_whole(path)
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[:-1000])
        with pytest.raises(OSError, match=f"{path.name}"):
            check_whole(tmp_path / path.name)
