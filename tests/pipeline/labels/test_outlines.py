import numpy as np
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.labels.outlines import expanded, filled, run_boxes, united

RUNS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 29), st.integers(1, 12)), max_size=20)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(given_runs=RUNS)
def test_united_runs_cover_the_same_pixels_and_do_not_touch(given_runs):
    owner, start, length = np.array(given_runs, np.int64).reshape(-1, 3).T
    stop = np.minimum(start + length, 30)
    covered = np.zeros((4, 30), bool)
    for one, first, last in zip(owner, start, stop, strict=True):
        covered[one, first:last] = True
    counts, runs = united(owner, start, stop, 4)
    assert (filled(counts, runs, (5, 6)).reshape(4, 30) == covered).all()
    owners = np.repeat(np.arange(4), counts)
    apart = (runs[1:, 0] > runs[:-1, 1]) | (owners[1:] > owners[:-1])
    assert apart.all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(given_runs=RUNS.filter(bool))
def test_boxes_of_runs_bound_their_pixels(given_runs):
    owner, start, length = np.array(given_runs, np.int64).reshape(-1, 3).T
    _, owner = np.unique(owner, return_inverse=True)
    counts, runs = united(owner, start, np.minimum(start + length, 30), int(owner.max()) + 1)
    boxes, pixels = run_boxes(counts, runs, 6)
    for box, size, mask in zip(boxes, pixels, filled(counts, runs, (5, 6)), strict=True):
        rows, cols = np.nonzero(mask)
        assert box.tolist() == [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
        assert size == mask.sum()


def test_ranges_are_written_out_one_after_the_other():
    assert expanded(np.array([5, 9, 0]), np.array([2, 0, 3])).tolist() == [5, 6, 0, 1, 2]
    assert expanded(np.zeros(0, np.int64), np.zeros(0, np.int64)).tolist() == []
