"""Chips around features."""

import numpy as np
from hypothesis import given, strategies as st

from rasterloom.pipeline.labels.centred import middles_of, windows_around

places = st.floats(-500, 500).map(lambda value: round(value, 3))
lengths = st.floats(0, 90).map(lambda value: round(value, 3))
boxes = st.tuples(places, places, lengths, lengths).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
tiles = st.tuples(st.integers(1, 60), st.integers(1, 60))


@given(box=boxes, tile=tiles)
def test_a_whole_chip_has_its_size_and_the_features_middle_in_its_own(box, tile):
    found = np.array([box])
    row, col, height, width = windows_around(found, tile, fixed=True)[0].tolist()
    middle = middles_of(found)[0]
    assert (height, width) == tile
    assert abs(row + height / 2 - middle[0]) <= 0.5 + 1e-9
    assert abs(col + width / 2 - middle[1]) <= 0.5 + 1e-9


@given(box=boxes, tile=tiles)
def test_a_cropped_chip_is_the_part_of_the_whole_one_that_the_box_meets(box, tile):
    whole = windows_around(np.array([box]), tile, fixed=True)[0]
    cropped = windows_around(np.array([box]), tile, fixed=False)[0]
    for side in (0, 1):
        pixels = range(int(whole[side]), int(whole[side] + whole[side + 2]))
        low, high = box[1 - side], box[3 - side]
        met = [pixel for pixel in pixels if pixel + 1 > low and pixel < high]
        if met:
            found = list(range(int(cropped[side]), int(cropped[side] + cropped[side + 2])))
            assert found == met
        assert cropped[side + 2] >= 1


def test_chips_do_not_depend_on_each_other():
    many = np.random.default_rng(0).uniform(0, 300, (50, 2))
    found = np.concatenate([many, many + 7], axis=1)
    alone = [windows_around(found[n : n + 1], (9, 12), fixed=False)[0] for n in range(50)]
    assert (windows_around(found, (9, 12), fixed=False) == np.array(alone)).all()
    assert windows_around(found[:0], (9, 12), fixed=True).shape == (0, 4)
