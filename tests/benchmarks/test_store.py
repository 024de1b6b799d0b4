"""How fast training can draw random batches from a chip store."""

import time
from pathlib import Path

import numpy as np
import pytest

from rasterloom.pipeline.store.read import ChipStore
from tests.support.stores import make_spec, write_store


def test_random_batches_are_drawn_at_the_speed_of_a_network(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    chips, side = (1024, 256) if timing else (96, 64)
    write_store(tmp_path / "chips.zarr", make_spec(chips, tile=(side, side)))
    store = ChipStore(tmp_path / "chips.zarr")
    order = np.random.default_rng(0).permutation(chips)
    started = time.process_time()
    seen = 0
    for start in range(0, chips - chips % 32, 32):
        images = store.images(order[start : start + 32])
        assert images.shape[0] == 32
        seen += len(images)
    spent = time.process_time() - started
    with capsys.disabled():
        print(f"\n{side} px chips in random batches of 32: {seen / spent:,.0f} chips per CPU second")


@pytest.mark.parametrize("kept", [True, False], ids=["kept in memory", "read from disk"])
def test_objects_add_little_to_a_random_batch(
    tmp_path: Path,
    timing: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kept: bool,
) -> None:
    chips, side = (1024, 256) if timing else (96, 64)
    spec = make_spec(chips, metadata_format="RCNN_Masks", tile=(side, side))
    write_store(tmp_path / "chips.zarr", spec)
    if not kept:  # as in a store of millions of objects
        monkeypatch.setattr("rasterloom.pipeline.store.read.SMALL", 0)
    store = ChipStore(tmp_path / "chips.zarr")
    order = np.random.default_rng(0).permutation(chips)
    batches = [order[start : start + 32] for start in range(0, chips - chips % 32, 32)]
    spent = {}
    for part in (store.images, store.objects):
        part(batches[0])  # opens the arrays, and reads those that are kept
        started = time.process_time()
        for batch in batches:
            part(batch)
        spent[part.__name__] = (time.process_time() - started) / len(batches) * 1e3
    found = store.objects(order)
    assert len(found) == sum(number % 5 for number in range(chips) if number % 3 != 2)
    with capsys.disabled():
        print(
            f"\n{side} px chips, batches of 32: images {spent['images']:.2f} CPU ms, objects "
            f"{spent['objects']:.2f} CPU ms with {len(found.runs) / max(1, len(found)):.0f} runs each"
        )
