from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.labels.objects import Objects, regions_of
from rasterloom.pipeline.labels.scenes import classes_present, main_class


@pytest.mark.parametrize("kind", ["maps", "objects"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), classes=st.integers(1, 5))
def test_the_main_class_covers_most_and_ties_go_to_the_lower_value(kind, seed, classes):
    maps = np.random.default_rng(seed).integers(0, classes, (6, 3, 4)).astype(np.uint8)
    main, present = [], []
    for chip in maps:
        counts = Counter(chip[chip > 0].tolist())
        main.append(min(counts, key=lambda value: (-counts[value], value)) if counts else 0)
        present.append([value in counts for value in (4, 1, 9)])
    found = maps if kind == "maps" else regions_of(maps)
    assert main_class(found).tolist() == main
    assert classes_present(found, [4, 1, 9]).tolist() == present


def test_chips_without_anything_have_no_class():
    assert main_class(Objects.none(3)).tolist() == [0, 0, 0]
    assert classes_present(Objects.none(2), [1]).tolist() == [[0], [0]]
    assert main_class(np.zeros((4, 4), np.uint8)).tolist() == [0]
    assert classes_present(np.zeros((0, 4, 4), np.uint8), [1, 2]).shape == (0, 2)
