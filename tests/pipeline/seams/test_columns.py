"""What chips and runs have found goes through files unchanged."""

import numpy as np
from hypothesis import given, settings

from rasterloom.pipeline.seams.candidates import Candidates
from rasterloom.pipeline.seams.found import Found
from rasterloom.pipeline.seams.resolve import SeamRules, resolve
from tests.support.seams import cases, things


@settings(max_examples=25, deadline=None)
@given(cases())
def test_candidates_come_back_as_they_were(case: tuple[Candidates, SeamRules]) -> None:
    candidates, _ = case
    back = Candidates.from_bytes(candidates.to_bytes())
    assert back.to_bytes() == candidates.to_bytes()
    for name in ("boxes", "scores", "labels", "chips", "cut", "outlines"):
        before, after = getattr(candidates, name), getattr(back, name)
        assert before.dtype == after.dtype
        assert before.tolist() == after.tolist()


@settings(max_examples=25, deadline=None)
@given(cases())
def test_what_was_found_comes_back_in_the_order_of_its_rank(case: tuple[Candidates, SeamRules]) -> None:
    found = resolve(*case)
    back = Found.from_bytes(found.to_bytes())
    assert things(back) == things(found)
    backwards = back.taken(np.arange(len(back))[::-1]).ranked()
    assert backwards.to_bytes() == found.to_bytes()
    assert (np.diff(found.scores) <= 0).all()


def test_parts_are_joined_in_their_order_and_nothing_is_a_table_too() -> None:
    assert len(Found.joined([])) == len(Candidates.joined([])) == 0
    one = Candidates.empty()
    assert Candidates.from_bytes(one.to_bytes()).boxes.shape == (0, 4)
    assert Found.from_bytes(Found.empty().to_bytes()).outlines.dtype == object
