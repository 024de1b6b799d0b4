"""Counts by class are of one shape, and those of parts add up."""

import numpy as np
import pytest

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics.counts import ClassCounts
from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.metrics.scenes import LabelCounts

KINDS = (Confusion, LabelCounts)


def _some(kind: type[ClassCounts], seed: int) -> ClassCounts:
    return kind((3, 1), np.random.default_rng(seed).integers(0, 99, kind.shape(2)))


@pytest.mark.parametrize("kind", KINDS)
def test_parts_add_up_and_nothing_adds_nothing(kind: type[ClassCounts]) -> None:
    one, other = _some(kind, 1), _some(kind, 2)
    both = one.merge(other)
    assert type(both) is kind
    assert np.array_equal(both.counts, one.counts + other.counts)
    assert one.merge(kind.empty((3, 1))) == one != other
    assert len({one, _some(kind, 1), other}) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_json_keeps_them(kind: type[ClassCounts]) -> None:
    assert kind.from_json(_some(kind, 1).to_json()) == _some(kind, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_counts_over_other_classes_are_not_added(kind: type[ClassCounts]) -> None:
    with pytest.raises(SettingError, match=r"\(3, 1\) and \(1, 3\) cannot be added"):
        _some(kind, 1).merge(kind.empty((1, 3)))


def test_kinds_of_counts_are_never_equal() -> None:
    assert Confusion.empty(()) != LabelCounts.empty(())
