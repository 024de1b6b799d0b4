import json
import math

import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import SettingError
from rasterloom.models.history import EpochRow, History

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
rows = st.builds(
    EpochRow,
    epoch=st.integers(1, 99),
    train_loss=numbers,
    valid_loss=numbers,
    metrics=st.dictionaries(st.sampled_from(["accuracy", "miou"]), numbers),
    seconds=numbers,
)


@settings(max_examples=50)
@given(st.lists(rows, max_size=4).map(tuple), st.none() | numbers)
def test_a_table_comes_back_from_json_as_it_was(table, rate):
    history = History(table, rate)
    assert History.from_json(json.loads(json.dumps(history.to_json(), allow_nan=False))) == history


def test_a_missing_loss_is_null_in_json_and_no_number_again():
    plain = History((EpochRow(1, 0.5, math.nan),)).to_json()
    assert plain["rows"][0]["valid_loss"] is None
    assert math.isnan(History.from_json(plain).rows[0].valid_loss)


def test_the_best_row_has_the_lowest_loss_or_the_highest_metric():
    table = History(
        (
            EpochRow(1, 0.9, 0.8, {"miou": 0.5}),
            EpochRow(2, 0.7, math.nan, {"miou": 0.7}),
            EpochRow(3, 0.5, 0.6, {"miou": 0.6}),
            EpochRow(4, 0.4, 0.6, {"miou": 0.7}),
        )
    )
    assert table.best().epoch == 3
    assert table.best("train_loss").epoch == 4
    assert table.best("miou").epoch == 2


def test_a_later_run_counts_its_epochs_on():
    first, second = History((EpochRow(1, 1, 1), EpochRow(2, 1, 1)), 0.1), History((EpochRow(1, 2, 2),), 0.2)
    joined = first.extended(second)
    assert [row.epoch for row in joined.rows] == [1, 2, 3]
    assert joined.learning_rate == 0.2
    assert History().extended(first) == first


def test_an_unknown_column_lists_the_known_ones_and_an_empty_table_says_to_train():
    with pytest.raises(SettingError, match="accuracy"):
        History((EpochRow(1, 1, 1, {"accuracy": 1}),)).best("f1")
    with pytest.raises(SettingError, match="call fit first"):
        History().best()
