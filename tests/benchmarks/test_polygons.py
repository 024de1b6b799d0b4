"""Joining polygons across seams: CPU seconds beside GDAL's, and what stays open."""

import time

import numpy as np
import pytest
import rasterio.features
from scipy.ndimage import gaussian_filter

from tests.support.polygons import gdal_features, listed, pieced


def _patches(side: int) -> np.ndarray:
    """Five classes in patches: about 67,000 polygons at 4096 pixels a side."""
    field = np.random.default_rng(0).normal(size=(side, side)).astype(np.float32)
    field = gaussian_filter(field, 4.64)
    return np.digitize(field, np.quantile(field[::4, ::4], [0.2, 0.4, 0.6, 0.8])).astype(np.uint8)


@pytest.mark.timeout(1800)
def test_polygons_are_exact_and_take_no_more_than_gdal_takes(
    timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    side = 4096 if timing else 384
    pixels = _patches(side)
    everywhere = np.ones(pixels.shape, bool)
    began = time.process_time()
    parts = pieced(pixels, everywhere, cell=side // 4, fan=4)
    ours = time.process_time() - began
    began = time.process_time()
    whole = sum(1 for _ in rasterio.features.shapes(pixels.astype(np.int32)))
    theirs = time.process_time() - began
    inside = sum(len(part) for part in parts[:16])
    with capsys.disabled():
        print(f"[{whole:,} polygons: {ours:.1f} CPU s, GDAL on the whole {theirs:.1f} s]", end=" ")
    assert listed(parts) == gdal_features(pixels, everywhere)
    assert inside > 0.6 * whole, "what a cell knows whole leaves it at once"
    if timing:
        assert ours <= 1.5 * theirs
