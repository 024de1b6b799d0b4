"""Training and validation chips."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import SettingError, StoreError
from rasterloom.pipeline.datasets.split import split_chips


class FakeSource:
    """As much of a chip source as a split looks at."""

    def __init__(self, count, *, split=None, chip_classes=None):
        self.count = count
        self.split = np.array(split if split is not None else [""] * count)
        values = sorted({value for chip in chip_classes or [] for value in chip})
        self.presence = np.array([[value in chip for value in values] for chip in chip_classes or []])

    def __len__(self):
        return self.count


@settings(max_examples=50)
@given(count=st.integers(2, 60), share=st.floats(0.01, 0.99), seed=st.integers(0, 9), stratify=st.booleans())
def test_each_chip_is_on_one_side_and_the_shares_are_right(count, share, seed, stratify):
    source = FakeSource(count, chip_classes=[[1 + i % 3] for i in range(count)])
    presence = source.presence if stratify else None
    train, valid = split_chips(source, share=share, seed=seed, presence=presence)
    assert sorted([*train, *valid]) == list(range(count))
    assert len(valid) == min(max(1, round(count * share)), count - 1)
    again = split_chips(source, share=share, seed=seed, presence=presence)
    assert (again[0] == train).all()
    assert (again[1] == valid).all()


def test_another_seed_splits_otherwise():
    source = FakeSource(40)
    splits = {tuple(split_chips(source, share=0.3, seed=seed)[1]) for seed in range(5)}
    assert len(splits) == 5


def test_what_the_store_marks_is_obeyed():
    source = FakeSource(5, split=["train", "val", "test", "train", "val"])
    train, valid = split_chips(source, share=0.5, seed=0)
    assert train.tolist() == [0, 3]
    assert valid.tolist() == [1, 4]


def test_marks_without_val_are_parted_by_lot():
    train, valid = split_chips(FakeSource(10, split=["train"] * 10), share=0.2, seed=0)
    assert len(train) == 8
    assert len(valid) == 2


def test_chips_set_aside_for_a_test_stay_aside():
    train, valid = split_chips(FakeSource(10, split=["test"] * 4 + [""] * 6), share=0.5, seed=0)
    assert sorted([*train, *valid]) == [4, 5, 6, 7, 8, 9]


def test_only_wanted_chips_take_part():
    wanted = np.arange(12) % 3 == 0
    for marks in (None, ["train", "val"] * 6):
        train, valid = split_chips(FakeSource(12, split=marks), share=0.5, seed=0, wanted=wanted)
        assert sorted([*train, *valid]) == [0, 3, 6, 9]


def test_balanced_sets_hold_the_rare_class_in_proportion():
    classes = [[0, 1] for _ in range(90)] + [[0, 7] for _ in range(10)]
    source = FakeSource(100, chip_classes=classes)
    for seed in range(5):
        _, valid = split_chips(source, share=0.2, seed=seed, presence=source.presence)
        assert (valid >= 90).sum() == 2


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_a_share_that_leaves_a_side_empty_is_refused(share):
    with pytest.raises(SettingError, match="val_split_pct"):
        split_chips(FakeSource(10), share=share, seed=0)


@pytest.mark.parametrize("source", [FakeSource(1), FakeSource(2, split=["val", "val"])])
def test_too_few_chips_are_refused(source):
    with pytest.raises(StoreError, match="export more chips"):
        split_chips(source, share=0.1, seed=0)
