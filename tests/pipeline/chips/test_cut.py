import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize

from rasterloom.pipeline.chips.cut import ChipStats, cut_chips
from rasterloom.pipeline.labels.features import read_features
from rasterloom.pipeline.rasters.open import describe
from tests.support.labels import square_labels
from tests.support.rasters import write_raster

CORNERS = np.array([(0, 0), (0, 48), (20, 70), (64, 96)])


@pytest.fixture(params=[("uint8", None), ("uint16", 0), ("float32", -9999.0)], ids=lambda p: p[0])
def scene(request, tmp_path):
    dtype, nodata = request.param
    path = write_raster(tmp_path / "scene.tif", height=100, width=130, dtype=dtype, nodata=nodata)
    raster = describe(path)
    return raster, read_features(square_labels(height=100, width=130), grid=raster.grid)


def oracle(raster, labels):
    with rasterio.open(raster.path) as source:
        pixels = source.read()
        valid = source.dataset_mask() > 0
    shapes = zip(labels.geometries, labels.values.tolist(), strict=True)
    mask = rasterize(shapes, out_shape=valid.shape, transform=raster.grid.affine, dtype="uint8")
    return np.pad(pixels, ((0, 0), (0, 64), (0, 64))), np.pad(valid, (0, 64)), np.pad(mask, (0, 64))


def test_chips_are_what_a_plain_loop_cuts_from_the_whole(scene):
    raster, labels = scene
    block, stats = cut_chips(raster, labels, CORNERS, tile=(36, 40), mask_dtype="uint8")
    pixels, valid, mask = oracle(raster, labels)
    values, counts = [], {}
    for chip, (row, col) in enumerate(CORNERS.tolist()):
        place = slice(row, row + 36), slice(col, col + 40)
        expected = np.where(valid[place], pixels[:, *place], 0)
        assert (block.images[chip] == expected).all()
        inside = slice(0, min(36, 100 - row)), slice(0, min(40, 130 - col))
        assert (block.masks[chip][inside] == mask[place][inside]).all()
        assert block.windows[chip].tolist() == [row, col, 36, 40]
        assert block.transforms[chip].tolist() == [1, 0, 500000 + col, 0, -1, 5000000 - row]
        values.append(pixels[:, *place][:, valid[place]])
        for value in np.unique(block.masks[chip]).tolist():
            counts[value] = counts.get(value, 0) + int((block.masks[chip] == value).sum())
    together = np.concatenate(values, axis=1).astype(float)
    assert stats.bands.count == together.shape[1]
    assert np.allclose(stats.bands.mean, together.mean(axis=1))
    assert np.allclose(stats.bands.std, together.std(axis=1))
    assert stats.bands.minimum == tuple(together.min(axis=1))
    assert stats.class_pixels == dict(sorted(counts.items()))


def test_statistics_survive_json_bit_for_bit(scene):
    raster, labels = scene
    _, stats = cut_chips(raster, labels, CORNERS, tile=(36, 40), mask_dtype="uint8")
    assert ChipStats.from_json(stats.to_json()) == stats


def test_a_chip_cut_alone_is_the_same_chip(scene):
    raster, labels = scene
    block, _ = cut_chips(raster, labels, CORNERS, tile=(36, 40), mask_dtype="uint8")
    for chip in range(len(CORNERS)):
        alone, _ = cut_chips(raster, labels, CORNERS[chip : chip + 1], tile=(36, 40), mask_dtype="uint8")
        assert (alone.images[0] == block.images[chip]).all()
        assert (alone.masks[0] == block.masks[chip]).all()
