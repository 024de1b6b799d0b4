import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.labels import ordering
from rasterloom.pipeline.labels.ordering import Sorter


def table(keys, seconds, text="x"):
    words = pyarrow.array([text * int(second) for second in seconds])
    keys = pyarrow.array(np.asarray(keys, float))
    return pyarrow.table({"key": keys, "second": pyarrow.array(seconds), "text": words})


@pytest.mark.parametrize("run", [(4, 1 << 20), (1000, 64)], ids=["by rows", "by bytes"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(keys=st.lists(st.integers(0, 6), min_size=1, max_size=60), step=st.integers(1, 9))
def test_rows_come_out_in_order_however_they_came_in(run, keys, step):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "RUN", run)
        patch.setattr(ordering, "_BLOCK", (2, 1 << 20))
        patch.setattr(ordering, "_MOST_RUNS", 3)
        seconds = np.random.default_rng(len(keys)).permutation(len(keys))
        with Sorter(("key", "second"), None) as sorter:
            for start in range(0, len(keys), step):
                sorter.add(table(keys[start : start + step], seconds[start : start + step]))
            found = pyarrow.concat_tables(sorter.blocks())
    expected = sorted(zip(keys, seconds.tolist(), strict=True))
    assert list(zip(found["key"].to_pylist(), found["second"].to_pylist(), strict=True)) == expected
    assert found["text"].to_pylist() == ["x" * second for _, second in expected]


def test_what_is_kept_on_disk_is_gone_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr(ordering, "RUN", (2, 1 << 20))
    with Sorter(("key", "second"), tmp_path) as sorter:
        sorter.add(table([3, 1], [0, 1]))
        sorter.add(table([2, 2], [2, 3]))
        assert list(tmp_path.iterdir())
        assert [block.num_rows for block in sorter.blocks()]
    assert not list(tmp_path.iterdir())


def test_nothing_in_gives_nothing_out(tmp_path):
    with Sorter(("key", "second"), tmp_path) as sorter:
        assert list(sorter.blocks()) == []
