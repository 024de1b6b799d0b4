"""Small generated folders of chips."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.pipeline.formats.sink import FolderSink
from rasterloom.pipeline.store.chips import ChipBlock
from rasterloom.pipeline.store.layout import StoreSpec
from rasterloom.pipeline.store.tally import label_stats
from tests.support.stores import band_stats, make_block


def write_folder(
    path: Path, spec: StoreSpec, *, chip_format: str = "TIFF", block: ChipBlock | None = None
) -> ChipBlock:
    """Write a whole folder and return its chips."""
    whole = make_block(spec, 0, spec.chips) if block is None else block
    sink = FolderSink.create(path, spec, chip_format=chip_format)
    for start in range(0, spec.chips, sink.shard):
        FolderSink.open(path).write(start, whole.of(range(start, min(start + sink.shard, spec.chips))))
    finish_folder(sink, [whole])
    return whole


def finish_folder(sink: FolderSink, blocks: Sequence[ChipBlock]) -> None:
    """Complete a folder with the statistics of its chips."""
    whole = ChipBlock.joined(blocks)
    stats2 = None if whole.images2 is None else band_stats(whole.images2)
    sink.finish(band_stats(whole.images), label_stats(whole, sink.spec), stats2)


def assert_same_chips(found: ChipBlock, expected: ChipBlock, *, but: Sequence[str] = ()) -> None:
    """Whether two blocks hold the same, bit for bit."""
    for name in (
        "images",
        "images2",
        "masks",
        "labels",
        "transforms",
        "windows",
        "source",
        "rotation",
        "split",
        "numbers",
    ):
        if name not in but:
            _same(getattr(found, name), getattr(expected, name), name)
    np.testing.assert_array_equal(found.known_sizes, expected.known_sizes)
    assert (found.objects is None) == (expected.objects is None)
    if found.objects is not None:
        for name in ("counts", "boxes", "values", "shares", "areas", "features", "run_counts", "runs"):
            _same(getattr(found.objects, name), getattr(expected.objects, name), f"objects.{name}")


def _same(found: Any, expected: Any, name: str) -> None:
    assert (found is None) == (expected is None), name
    if found is not None:
        np.testing.assert_array_equal(found, expected, err_msg=name)
