"""How fast training is fed from a chip store, beside what a network takes."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rasterloom.models.pixels.unet import UnetClassifier
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.store.read import ChipStore
from tests.pipeline.datasets.stores import outlined_objects, square_chips, toy_chips, write_store


def test_prepared_batches_come_faster_than_a_network_takes_them(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    chips, side = (512, 256) if timing else (32, 32)
    images, masks = toy_chips(chips, bands=3, side=side)
    pixels = write_store(tmp_path / "pixels.zarr", images, masks)
    images, outlines, values = square_chips(chips, side=side)
    objects = outlined_objects(outlines, values)
    things = write_store(tmp_path / "things.zarr", images, metadata_format="RCNN_Masks", objects=objects)
    rows = [
        ("as they are", prepare_data(pixels, batch_size=32, transforms=False)),
        ("crop, turn, light, zoom", prepare_data(pixels, batch_size=32, chip_size=side * 7 // 8)),
        ("the same with outlines", prepare_data(things, batch_size=32, chip_size=side * 7 // 8)),
    ]
    figures = [("read alone", *_spent(_random_reads(ChipStore(pixels))))]
    figures += [(name, *_spent(batch[0] for batch in data.train_dl)) for name, data in rows]
    for name, seen, _ in figures[1:]:
        assert seen == chips - round(chips / 10), name
    with capsys.disabled():
        print(f"\n{side} px, batches of 32, chips per CPU second:")
        for name, seen, seconds in figures:
            print(f"  {name:<26}{seen / seconds:>9,.0f}")


def test_an_epoch_from_the_store_is_as_fast_as_one_on_random_tensors(
    tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    chips, side, steps = (64, 256, 8) if timing else (16, 64, 2)
    path = write_store(tmp_path / "chips.zarr", *toy_chips(chips, bands=3, side=side))
    data = prepare_data(path, batch_size=8, chip_size=side * 7 // 8, working_dir=tmp_path)
    model = UnetClassifier(data, backbone="resnet18", pretrained=False)
    # steps of one thread repeat better than those of several on a busy machine; tests/conftest.py sees to it
    model.network.train().to(memory_format=torch.channels_last)
    batch = next(iter(data.train_dl))
    _train(model, [batch])  # the first step also sets things up
    ratios = []
    # in turns, so that a busy moment of the machine meets both
    for _ in range(5 if timing else 1):
        random = _train(model, [batch] * steps)
        loader = iter(data.train_loader(iterations=steps + 1))
        next(loader)  # opens the store; from here on, batches are read ahead
        stored = _train(model, loader)
        ratios.append(random / stored)
    with capsys.disabled():
        print(
            f"\nU-Net resnet18, {side * 7 // 8} px: an epoch from the store runs at "
            f"{np.median(ratios):.3f} of the rate on tensors that are there "
            f"({', '.join(f'{ratio:.3f}' for ratio in ratios)})"
        )


def _random_reads(store: ChipStore) -> Iterator[np.ndarray]:
    order = np.random.default_rng(0).permutation(len(store))
    for start in range(0, len(store), 32):
        yield store.images(order[start : start + 32])


def _spent(batches: Any) -> tuple[int, float]:
    """Chips, and CPU seconds of all threads."""
    started, seen = time.process_time(), 0
    for images in batches:
        seen += len(images)
    return seen, time.process_time() - started


def _train(model: UnetClassifier, batches: Any) -> float:
    """CPU seconds of some steps, of all threads: what other processes do does not show."""
    started = time.process_time()
    for images, targets in batches:
        model.network.zero_grad()
        torch.autograd.backward(model.loss(model.network(images), targets))
    return time.process_time() - started
