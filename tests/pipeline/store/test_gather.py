import tracemalloc

import numpy as np
import pytest
import zarr
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.labels.objects import Objects
from rasterloom.pipeline.store.arrays import ROW_SHARD
from rasterloom.pipeline.store.gather import keep, put_together
from rasterloom.pipeline.store.shards import ShardedArray


def many_objects(chips, each, *, seed):
    """Chips with so many objects on average, and one or two runs of each."""
    generator = np.random.default_rng(seed)
    counts = generator.integers(0, 2 * each + 1, chips)
    total = int(counts.sum())
    run_counts = generator.integers(1, 3, total)
    return Objects(
        counts=counts,
        boxes=generator.uniform(0, 256, (total, 4)).astype(np.float32),
        values=generator.integers(1, 9, total),
        shares=generator.uniform(0, 1, total).astype(np.float32),
        areas=generator.uniform(0, 1e6, total),
        features=np.arange(total),
        run_counts=run_counts,
        runs=generator.integers(0, 65_536, (int(run_counts.sum()), 2)).astype(np.int32),
    )


def gathered(folder, parts, *, before=()):
    """Put parts of 10 chips together behind those that are there; returns the Zarr group."""
    zarr.open_group(folder, mode="w", zarr_format=3)
    first = 10 * len(before)
    starts = range(first, first + 10 * len(parts), 10)
    for start, part in zip(starts, parts, strict=True):
        keep(folder, start, part, outlines=True)
    put_together(folder, starts=starts, chips=first + 10 * len(parts), outlines=True, before=before)
    return zarr.open_group(folder, mode="r")


@pytest.fixture(scope="module")
def parts():
    # rows of several files, and none at all in one part
    return [many_objects(10, each, seed=each) for each in (3000, 1, 0, 9000, 5000)]


@pytest.mark.parametrize("taken_over", [0, 2])
def test_rows_of_many_files_stand_in_the_order_of_the_chips(tmp_path, parts, taken_over):
    group = gathered(tmp_path, parts[taken_over:], before=parts[:taken_over])
    whole = Objects.joined(parts)
    assert len(whole) > 2 * ROW_SHARD
    for name, values in {
        "boxes": whole.boxes,
        "box_labels": whole.values,
        "box_shares": whole.shares,
        "box_areas": whole.areas,
        "box_features": whole.features,
        "box_offsets": whole.starts,
        "run_offsets": whole.run_starts,
        "object_runs": whole.runs,
    }.items():
        np.testing.assert_array_equal(group[name][:], values, err_msg=name)


@pytest.fixture(scope="module")
def folder(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores") / "a.zarr"
    gathered(folder, parts)
    return folder


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_rows_read_directly_are_what_zarr_reads(folder, data):
    group = zarr.open_group(folder, mode="r")
    for name in ("boxes", "box_labels", "object_runs", "run_offsets"):
        direct, whole = ShardedArray.open(folder / name), group[name]
        rows = np.array(data.draw(st.lists(st.integers(0, whole.shape[0] - 1), max_size=12)), np.int64)
        assert direct is not None
        np.testing.assert_array_equal(direct.read_rows(rows), whole.oindex[rows])


def test_memory_does_not_grow_with_the_number_of_objects(tmp_path, monkeypatch):
    for module in ("arrays", "gather"):  # many files of few rows
        monkeypatch.setattr(f"rasterloom.pipeline.store.{module}.ROW_SHARD", 8192)

    def peak(count):
        zarr.open_group(tmp_path, mode="w", zarr_format=3)
        part = many_objects(10, 1000, seed=0)
        for start in range(0, 10 * count, 10):
            keep(tmp_path, start, part, outlines=True)
        del part
        tracemalloc.start()
        put_together(tmp_path, starts=range(0, 10 * count, 10), chips=10 * count, outlines=True)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)  # what is made once
    assert peak(12) < 1.25 * peak(4)
