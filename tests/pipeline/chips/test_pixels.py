import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.chips.pixels import read_chips
from rasterloom.pipeline.chips.places import CHIP, chip_affine, strips
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import write_raster

TILE = (24, 30)


def table(places, tile=TILE, turn=0):
    chips = np.zeros(len(places), CHIP)
    chips["row"], chips["col"] = np.array(places).reshape(-1, 2).T
    chips["height"], chips["width"] = tile
    chips["turn"] = turn
    return chips


@pytest.fixture(
    scope="module", params=[("uint8", None), ("int16", 0), ("float32", -9999.0)], ids=lambda p: p[0]
)
def scene(request, tmp_path_factory):
    dtype, nodata = request.param
    path = tmp_path_factory.mktemp("pixels") / "scene.tif"
    return describe(write_raster(path, height=100, width=130, dtype=dtype, nodata=nodata))


def whole(raster):
    pixels, valid = read_window(raster, Window(0, 0, *raster.grid.shape))
    return np.where(valid, pixels, 0), valid


corner = st.tuples(st.integers(-40, 110), st.integers(-40, 140))


@settings(max_examples=25, deadline=None)
@given(places=st.lists(corner, min_size=1, max_size=8))
def test_chips_are_the_rasters_pixels_and_nothing_beyond_it(scene, places):
    pixels, valid = whole(scene)
    padded, there = np.pad(pixels, ((0, 0), (50, 50), (50, 50))), np.pad(valid, 50)
    found, shown = read_chips(scene, table(places), TILE)
    for chip, (row, col) in enumerate(places):
        if row + 74 > padded.shape[1] or col + 80 > padded.shape[2]:
            continue
        place = slice(row + 50, row + 74), slice(col + 50, col + 80)
        assert (found[chip] == padded[:, *place]).all()
        assert (shown[chip] == there[place]).all()


def test_chips_in_a_row_are_read_together_and_no_pixel_twice():
    chips = table([(0, 0), (0, 30), (0, 55), (0, 100), (24, 0), (24, 30)])
    chips["turn"][1] = 1
    found = [(positions.tolist(), window) for positions, window in strips(chips)]
    assert found == [
        ([0], Window(0, 0, 24, 30)),
        ([2], Window(0, 55, 24, 30)),
        ([3], Window(0, 100, 24, 30)),
        ([4, 5], Window(24, 0, 24, 60)),
    ]


def test_a_strip_ends_before_it_is_too_large(monkeypatch):
    monkeypatch.setattr("rasterloom.pipeline.chips.places.STRIP_PIXELS", 24 * 60)
    chips = table([(0, 30 * number) for number in range(5)])
    assert [len(positions) for positions, _ in strips(chips)] == [2, 2, 1]


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_quarter_turns_move_pixels_and_change_none(scene, turn):
    places = [(3, 5), (60, 90), (-10, 110), (80, -7)]
    straight, shown = read_chips(scene, table(places, (24, 24)), (24, 24), angle=90.0)
    turned, there = read_chips(scene, table(places, (24, 24), turn), (24, 24), angle=90.0)
    assert (turned == np.rot90(straight, turn, axes=(2, 3))).all()
    assert (there == np.rot90(shown, turn, axes=(1, 2))).all()


@pytest.mark.parametrize("angle", [1.0, 30.0, 45.0, 200.5])
def test_turned_chips_are_sampled_between_four_pixels(scene, angle):
    pixels, valid = whole(scene)
    chips = table([(30, 40), (70, 95)], turn=1)
    found, there = read_chips(scene, chips, TILE, angle=angle)
    for chip in range(2):
        into = ~scene.grid.affine @ chip_affine(scene.grid, chips[chip], angle)
        for row in range(0, TILE[0], 5):
            for col in range(0, TILE[1], 7):
                x, y = into @ (col + 0.5, row + 0.5)
                left, top = math.floor(x - 0.5), math.floor(y - 0.5)
                total, weight = np.zeros(3), 0.0
                for r in (top, top + 1):
                    for c in (left, left + 1):
                        share = (1 - abs(x - 0.5 - c)) * (1 - abs(y - 0.5 - r))
                        if 0 <= r < 100 and 0 <= c < 130 and valid[r, c]:
                            total, weight = total + share * pixels[:, r, c], weight + share
                if abs(weight - 0.5) < 1e-4:
                    continue
                assert there[chip, row, col] == (weight > 0.5)
                expected = total / weight if weight > 0.5 else np.zeros(3)
                assert np.abs(found[chip, :, row, col] - expected).max() <= (
                    0.5001 if scene.dtype != "float32" else 1e-4
                )


def test_nearest_pixels_of_turned_chips_are_of_the_raster(scene):
    chips = table([(30, 40)], turn=1)
    found, there = read_chips(scene, chips, TILE, angle=33.0, nearest=True)
    pixels, valid = whole(scene)
    into = ~scene.grid.affine @ chip_affine(scene.grid, chips[0], 33.0)
    for row in range(0, TILE[0], 3):
        for col in range(0, TILE[1], 3):
            x, y = into @ (col + 0.5, row + 0.5)
            assert (found[0, :, row, col] == pixels[:, math.floor(y), math.floor(x)]).all()
            assert there[0, row, col] == valid[math.floor(y), math.floor(x)]


def test_a_chip_read_alone_is_the_same_chip(scene):
    chips = table([(0, 0), (0, 30), (0, 60), (24, 11), (24, 11)])
    chips["turn"][4] = 2
    together = read_chips(scene, chips, TILE, angle=17.0)
    for number in range(len(chips)):
        alone = read_chips(scene, chips[number : number + 1], TILE, angle=17.0)
        assert (alone[0][0] == together[0][number]).all()
        assert (alone[1][0] == together[1][number]).all()
