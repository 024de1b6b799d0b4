"""A block of pixels is traced as GDAL traces it."""

import numpy as np
from hypothesis import given, settings

from rasterloom.pipeline.outputs.polygons_trace import SHARE, trace
from rasterloom.pipeline.rasters.grid import Window
from tests.support.polygons import class_rasters, gdal_features, listed, pieced


@settings(deadline=None, max_examples=50)
@given(pixels=class_rasters())
def test_one_block_gives_the_polygons_of_gdal(pixels: np.ndarray) -> None:
    everywhere = np.ones(pixels.shape, bool)
    assert listed(pieced(pixels, everywhere, cell=99)) == gdal_features(pixels, everywhere)
    assert listed(pieced(pixels, pixels > 0, cell=99)) == gdal_features(pixels, pixels > 0)


@settings(deadline=None, max_examples=50)
@given(pixels=class_rasters())
def test_borders_have_the_smaller_value_to_the_left_and_each_is_there_once(pixels: np.ndarray) -> None:
    patch = trace(pixels, pixels > 0, Window(0, 0, *pixels.shape), pixels.shape)
    chains, values = patch.chains, patch.faces.values
    assert (values[chains.left] < values[chains.right]).all()
    steps = 0
    for start, stop in zip(chains.starts, chains.starts[1:], strict=False):
        steps += int(np.abs(np.diff(chains.points[start:stop], axis=0)).sum())
    padded = np.pad(np.where(pixels > 0, pixels, 0), 1).astype(int)
    cracks = (np.diff(padded, axis=0) != 0).sum() + (np.diff(padded, axis=1) != 0).sum()
    assert steps == cracks


def test_pixels_and_probabilities_are_summed_for_each_face() -> None:
    pixels = np.array([[1, 1, 2], [0, 1, 2]], np.uint8)
    shares = np.array([[0.5, 0.25, 1.0], [0.9, np.nan, 0.5]])
    (found,) = pieced(pixels, pixels > 0, cell=9, shares=shares)
    by_value = dict(
        zip(found.values.tolist(), zip(found.pixels, found.shares, found.sure, strict=True), strict=True)
    )
    assert by_value[1] == (3, 0.75 / SHARE, 2)
    assert by_value[2] == (2, 1.5 / SHARE, 2)


def test_values_of_any_kind_of_whole_number_are_kept() -> None:
    for kind in (np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64):
        extreme = np.array([[np.iinfo(kind).max, 0]], kind)
        (found,) = pieced(extreme, np.ones((1, 2), bool), cell=9)
        assert sorted(found.values.tolist()) == [0, np.iinfo(kind).max]
