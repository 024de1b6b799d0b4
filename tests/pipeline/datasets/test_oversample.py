"""Chips of rare classes seen more often."""

import numpy as np
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.datasets.oversample import oversampled
from rasterloom.pipeline.datasets.prepare import prepare_data
from tests.support.scenes import write_scenes


@settings(max_examples=8, deadline=None)
@given(positions=st.lists(st.integers(0, 2), min_size=8, max_size=20))
def test_every_class_has_as_many_chips_as_the_most_frequent(positions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chips")
    data = prepare_data(write_scenes(folder / "a.zarr", np.array(positions)), chip_size=32, val_split_pct=0.2)
    more = oversampled(data)
    plain, seen = (np.asarray(positions)[part.train.indices] for part in (data, more))
    most = np.bincount(plain).max()
    assert all(np.bincount(seen, minlength=3)[kind] == most for kind in set(plain.tolist()))
    assert set(more.train.indices.tolist()) == set(data.train.indices.tolist())
    for kind in set(plain.tolist()):  # the chips of a class take turns
        times = np.unique(more.train.indices[seen == kind], return_counts=True)[1]
        assert times.max() - times.min() <= 1
    assert more.valid is data.valid


def test_a_chip_that_is_seen_twice_is_seen_in_two_views(tmp_path):
    positions = np.array([0] * 10 + [1, 1])
    store = write_scenes(tmp_path / "a.zarr", positions)
    data = oversampled(prepare_data(store, chip_size=24, batch_size=4, val_split_pct=0.1, seed=1))
    views = {}
    for place, index in enumerate(data.train.indices.tolist()):
        views.setdefault(index, []).append(data.train_ds[place][0].numpy())
    twice = [several for several in views.values() if len(several) > 1]
    assert twice
    assert not any(np.array_equal(several[0], several[1]) for several in twice)
