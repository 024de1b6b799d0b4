"""Pieces put together are what the whole is."""

import numpy as np
import rasterio.features
import shapely
from hypothesis import given, settings, strategies as st

from tests.support.polygons import class_rasters, gdal_features, listed, pieced


@settings(deadline=None, max_examples=60)
@given(pixels=class_rasters(), cell=st.integers(1, 5), fan=st.integers(2, 4), holes=st.booleans())
def test_any_cut_gives_the_polygons_of_the_whole(
    pixels: np.ndarray, cell: int, fan: int, holes: bool
) -> None:
    wanted = pixels > 0 if holes else np.ones(pixels.shape, bool)
    assert listed(pieced(pixels, wanted, cell=cell, fan=fan)) == gdal_features(pixels, wanted)


def test_a_polygon_over_the_whole_raster_with_holes_on_every_seam_is_one() -> None:
    pixels = np.ones((40, 40), np.uint8)
    pixels[3:38:4, 3:38:4] = 2
    everywhere = np.ones(pixels.shape, bool)
    assert listed(pieced(pixels, everywhere, cell=4)) == gdal_features(pixels, everywhere)


@settings(deadline=None, max_examples=25)
@given(pixels=class_rasters(values=2), cell=st.integers(1, 5))
def test_with_corners_each_group_of_pixels_is_one_feature(pixels: np.ndarray, cell: int) -> None:
    everywhere = np.ones(pixels.shape, bool)
    parts = pieced(pixels, everywhere, cell=cell, connectivity=8)
    assert listed(parts) == listed(pieced(pixels, everywhere, cell=99, connectivity=8))

    def burnt(outline: shapely.Geometry) -> bytes:
        return rasterio.features.rasterize([outline], pixels.shape).tobytes()

    ours = sorted(burnt(each) for part in parts for each in part.outlines)
    whole = rasterio.features.shapes(pixels.astype(np.int32), connectivity=8)
    assert ours == sorted(burnt(shapely.make_valid(shapely.geometry.shape(each))) for each, _ in whole)


@settings(deadline=None, max_examples=20)
@given(pixels=class_rasters(), cell=st.integers(1, 5))
def test_sums_of_pixels_and_probabilities_do_not_depend_on_the_cut(pixels: np.ndarray, cell: int) -> None:
    everywhere, shares = np.ones(pixels.shape, bool), np.random.default_rng(0).random(pixels.shape)

    def sums(cell: int) -> list[tuple[int, ...]]:
        parts = pieced(pixels, everywhere, cell=cell, shares=shares)
        return sorted(row for p in parts for row in zip(p.values, p.pixels, p.shares, p.sure, strict=True))

    assert sums(cell) == sums(99)
    assert sum(row[1] for row in sums(cell)) == pixels.size
