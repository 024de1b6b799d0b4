"""Shares of batches: together they are the batches."""

import pytest
from hypothesis import given, strategies as st

from rasterloom.pipeline.datasets.order import EpochOrder, Shares


@st.composite
def teams(draw):
    size = draw(st.integers(1, 4))
    return size, draw(st.integers(2 * size, 12)), draw(st.integers(1, 40)), draw(st.integers(0, 3))


def shares(team, *, shuffle):
    size, batch_size, count, epoch = team
    orders = [EpochOrder(count, batch_size=batch_size, seed=1, shuffle=shuffle) for _ in range(size)]
    cut = [Shares(order, rank=rank, size=size, shuffle=shuffle) for rank, order in enumerate(orders)]
    for each in cut:
        each.set_epoch(epoch)
    whole = EpochOrder(count, batch_size=batch_size, seed=1, shuffle=shuffle)
    whole.set_epoch(epoch)
    return list(whole), cut


@given(team=teams())
def test_shares_of_a_training_batch_are_the_batch_and_none_is_of_one_chip(team):
    whole, cut = shares(team, shuffle=True)
    batches = [list(share) for share in cut]
    assert {len(share) for share in cut} == {len(each) for each in batches} == {len(whole)}
    for number, batch in enumerate(whole):
        parts = [each[number] for each in batches]
        assert set().union(*parts) == set(batch)
        assert min(map(len, parts)) >= 2
        if len(batch) >= 2 * team[0]:
            assert sorted(place for part in parts for place in part) == sorted(batch)


@given(team=teams())
def test_weighted_means_of_the_shares_are_the_mean_of_the_batch(team):
    whole, cut = shares(team, shuffle=True)
    batches = [list(share) for share in cut]
    for number, batch in enumerate(whole):
        if len(batch) < 2 * team[0]:
            continue
        means = [
            sum(each[number]) / len(each[number]) * own.weight(number)
            for each, own in zip(batches, cut, strict=True)
        ]
        assert sum(means) / len(means) == pytest.approx(sum(batch) / len(batch))


@given(team=teams())
def test_every_validation_chip_is_in_one_share(team):
    whole, cut = shares(team, shuffle=False)
    batches = [list(share) for share in cut]
    assert [len(share) for share in cut] == [len(each) for each in batches]
    assert all(batch for each in batches for batch in each)
    taken = [place for each in batches for batch in each for place in batch]
    assert sorted(taken) == sorted(place for batch in whole for place in batch)
