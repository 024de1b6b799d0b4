"""Greedy suppression with open ends."""

import numpy as np
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.seams.greedy import DROPPED, KEPT, OPEN, suppress


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, set[tuple[int, int]]]:
    count = draw(st.integers(1, 9))
    rank = st.integers(0, count - 1)
    pairs = draw(st.sets(st.tuples(rank, rank).filter(lambda pair: pair[0] < pair[1]), max_size=14))
    return count, pairs


def plainly(count: int, pairs: set[tuple[int, int]], gone: set[int]) -> list[int]:
    """What is kept where those in ``gone`` are dropped for reasons of their own."""
    kept: list[int] = []
    for thing in range(count):
        if thing not in gone and not any((other, thing) in pairs for other in kept):
            kept.append(thing)
    return kept


@settings(max_examples=100, deadline=None)
@given(graphs(), st.data())
def test_what_is_decided_holds_whatever_becomes_of_the_unknown(
    graph: tuple[int, set[tuple[int, int]]], data: st.DataObject
) -> None:
    count, pairs = graph
    unknown = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    higher, lower = np.array(sorted(pairs), int).reshape(-1, 2).T
    state = suppress(count, higher, lower, unknown)
    gone = {thing for thing in np.flatnonzero(unknown).tolist() if data.draw(st.booleans())}
    kept = set(plainly(count, pairs, gone))
    assert set(np.flatnonzero(state == KEPT).tolist()) <= kept
    assert not set(np.flatnonzero(state == DROPPED).tolist()) & kept
    # and the open ones can be decided among themselves
    waiting = set(np.flatnonzero(state == OPEN).tolist())
    rest = {pair for pair in pairs if set(pair) <= waiting}
    later = plainly(count, rest, (set(range(count)) - waiting) | gone)
    assert kept == set(np.flatnonzero(state == KEPT).tolist()) | set(later)


def test_without_unknowns_nothing_stays_open() -> None:
    state = suppress(4, np.array([0, 1, 2]), np.array([1, 2, 3]), np.zeros(4, bool))
    assert state.tolist() == [KEPT, DROPPED, KEPT, DROPPED]
