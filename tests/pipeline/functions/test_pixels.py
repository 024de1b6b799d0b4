"""A pixel function is handed copies and held to what it said."""

import numpy as np
import pytest

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.functions.pixels import PixelFunction
from rasterloom.pipeline.functions.tiles import FunctionTile, RasterFacts
from tests.support.functions import PLACES, function_files

FACTS = RasterFacts(1, "uint8", (100, 100), (0.0, 0.0, 100.0, 100.0), (1.0, 1.0), 32633, None)
BODY = """
import numpy as np
class Script:
    def getConfiguration(self, **scalars):
        return {{"padding": 1, "tx": 4, "ty": 3}}
    def updateRasterInfo(self, **kwargs):
        kwargs["output_info"]["bandCount"] = 2
        return kwargs
    def updatePixels(self, tlc, shape, props, **pixelBlocks):
        return {returned}
"""


def _tile(height: int, width: int) -> FunctionTile:
    pixels = np.random.default_rng(0).integers(0, 255, (1, height, width), np.uint8)
    valid = np.ones((height, width), bool)
    valid[1, 1] = False
    return FunctionTile(pixels, valid, (4.0, 3.0))


def _run(returned: str) -> tuple[np.ndarray, np.ndarray]:
    function = PixelFunction(function_files("Script", BODY.format(returned=returned)), None)
    return function.run(_tile(5, 6), FACTS, function.output_info(FACTS))


def test_what_a_function_changes_is_its_own_copy():
    function = PixelFunction(function_files("Places", PLACES), None)
    tile = _tile(37, 37)
    before, valid = tile.pixels.copy(), tile.valid.copy()
    output = function.output_info(FACTS)
    first = function.run(tile, FACTS, output)
    np.testing.assert_array_equal(tile.pixels, before)
    np.testing.assert_array_equal(tile.valid, valid)
    for one, other in zip(first, function.run(tile, FACTS, output), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_mask_of_its_own_the_rasters_holds():
    pixels, valid = _run("{'output_pixels': np.full(shape, 9)}")
    assert (pixels == 9).all()
    assert pixels.shape == (2, 3, 4)
    assert not valid[:, 0, 0].any()
    assert valid.sum() == 2 * (3 * 4 - 1)


def test_a_mask_of_one_band_is_that_of_all():
    _, valid = _run("{'output_pixels': np.zeros(shape), 'output_mask': np.eye(3, 4)}")
    np.testing.assert_array_equal(valid, np.stack([np.eye(3, 4, dtype=bool)] * 2))


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("None", "returns no output_pixels"),
        ("pixelBlocks", "returns no output_pixels"),
        ("{'output_pixels': np.zeros((2, 5, 6))}", r"shape \(2, 5, 6\), and \(2, 3, 4\)"),
        ("{'output_pixels': np.zeros((3, 4))}", r"shape \(1, 3, 4\), and \(2, 3, 4\)"),
        ("{'output_pixels': np.zeros(shape), 'output_mask': np.zeros(shape[::-1])}", "output_mask has shape"),
    ],
)
def test_what_is_no_answer_is_refused(returned, words):
    with pytest.raises(PackageError, match=words):
        _run(returned)
