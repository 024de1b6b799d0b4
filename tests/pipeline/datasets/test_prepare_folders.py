"""prepare_data reads folders as it reads stores."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.formats.sink import FolderSink
from rasterloom.pipeline.store.read import ChipStore


def write_folder(path, store, **changes):
    """The chips of a store as a folder of files."""
    chips = ChipStore(store)
    sink = FolderSink.create(path, replace(chips.spec, **changes))
    for start in range(0, len(chips), sink.shard):
        sink.write(start, chips.block(np.arange(start, min(len(chips), start + sink.shard))))
    sink.finish(chips.stats, chips.label_stats, chips.stats2)
    return path


def same(first, second):
    if isinstance(first, torch.Tensor):
        return first.shape == second.shape and torch.allclose(first.float(), second.float(), atol=1e-4)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    "kind",
    [
        "KITTI_rectangles",
        "PASCAL_VOC_rectangles",
        "YOLO",
        "RCNN_Masks",
        "COCO",
        "Classified_Tiles",
        "Labeled_Tiles",
        "Imagenet",
        "MultiLabeled_Tiles",
        "Export_Tiles",
        "Panoptic_Segmentation",
        "change",
        "pairs",
    ],
)
def test_folders_give_the_batches_of_the_store(stores, kind, tmp_path):
    folder = write_folder(tmp_path / kind, stores[kind])
    ours, theirs = (prepare_data(path, chip_size=32, batch_size=4) for path in (stores[kind], folder))
    assert repr(ours) == repr(theirs)
    assert same(list(ours.train_dl), list(theirs.train_dl))
    assert same(list(ours.valid_dl), list(theirs.valid_dl))


def test_a_folder_that_says_its_format_can_be_asked_for_less(stores, tmp_path):
    folder = write_folder(tmp_path / "outlines", stores["RCNN_Masks"])
    data = prepare_data(folder, dataset_type="PASCAL_VOC_rectangles")
    assert set(next(iter(data.train_dl))[1][0]) == {"boxes", "labels"}


def test_worker_processes_carry_objects_too(stores):
    alone, helped = (
        prepare_data(stores["RCNN_Masks"], chip_size=32, batch_size=4, num_workers=n) for n in (0, 1)
    )
    assert same(list(alone.train_dl), list(helped.train_dl))
