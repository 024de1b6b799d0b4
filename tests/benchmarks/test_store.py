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
