"""Chips go from any format to any other that their data allow, and come back the same."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rasterloom.models.errors import (
    MissingInputError,
    OutputExistsError,
    RunInterrupted,
    SettingError,
    StoreError,
)
from rasterloom.pipeline.chips.convert import convert
from rasterloom.pipeline.formats import FORMATS
from rasterloom.pipeline.formats.opening import open_chip_reader, open_pair
from rasterloom.pipeline.formats.recast import allowed_formats
from rasterloom.pipeline.labels.objects import regions_of
from rasterloom.pipeline.store.chips import ChipBlock
from rasterloom.pipeline.store.kinds import kind_of
from rasterloom.pipeline.store.read import ChipStore
from tests.support.folders import assert_same_chips, write_folder
from tests.support.stores import make_spec, write_store


@pytest.mark.parametrize("metadata_format", FORMATS)
def test_a_store_made_a_folder_is_made_the_same_store_again(metadata_format: str, tmp_path: Path) -> None:
    pairs = 2 * kind_of(metadata_format).pairs
    spec = make_spec(7, metadata_format=metadata_format, bands2=pairs)
    blocks = write_store(tmp_path / "a.zarr", spec)
    convert(tmp_path / "a.zarr", tmp_path / "folder", progress=False)
    convert(tmp_path / "folder", tmp_path / "b.zarr", progress=False)
    again = ChipStore(tmp_path / "b.zarr")
    first = ChipStore(tmp_path / "a.zarr")
    but = ("split",) if metadata_format == "YOLO" else ()
    assert_same_chips(again.block(range(7)), ChipBlock.joined(blocks), but=but)
    assert again.spec == first.spec
    assert again.stats == first.stats
    assert again.label_stats == first.label_stats


@pytest.mark.parametrize("metadata_format", FORMATS)
@pytest.mark.parametrize("chip_format", ["TIFF", "ZARR"])
def test_every_allowed_format_can_be_written_and_read(
    metadata_format: str, chip_format: str, tmp_path: Path
) -> None:
    spec = make_spec(4, metadata_format=metadata_format)
    write_store(tmp_path / "a.zarr", spec)
    for wanted in allowed_formats(spec, store=chip_format == "ZARR"):
        if wanted == "Imagenet" and not spec.kind.labels:
            continue  # every third chip is of no class
        convert(
            tmp_path / "a.zarr",
            tmp_path / wanted,
            metadata_format=wanted,
            chip_format=chip_format,
            progress=False,
        )
        chips = open_chip_reader(tmp_path / wanted)
        kind = kind_of(wanted)
        block = chips.block(range(4))
        np.testing.assert_array_equal(block.images, ChipStore(tmp_path / "a.zarr").images(range(4)))
        assert (block.masks is not None) == kind.masks
        assert (block.objects is not None) == kind.objects
        assert (block.labels is not None) == kind.labels


def test_regions_of_class_maps_become_objects_and_maps_again(tmp_path: Path) -> None:
    spec = make_spec(3)
    blocks = write_store(tmp_path / "a.zarr", spec)
    convert(tmp_path / "a.zarr", tmp_path / "coco", metadata_format="COCO", progress=False)
    masks = ChipBlock.joined(blocks).masks
    assert masks is not None
    found = open_chip_reader(tmp_path / "coco").objects(range(3))
    expected = regions_of(masks)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.runs, expected.runs)
    convert(tmp_path / "coco", tmp_path / "b.zarr", metadata_format="Classified_Tiles", progress=False)
    np.testing.assert_array_equal(ChipStore(tmp_path / "b.zarr").masks(range(3)), masks)


def test_boxes_without_outlines_fit_into_coco_but_not_into_masks(tmp_path: Path) -> None:
    write_store(tmp_path / "a.zarr", make_spec(4, metadata_format="KITTI_rectangles"))
    convert(tmp_path / "a.zarr", tmp_path / "coco", metadata_format="COCO", progress=False)
    chips = open_chip_reader(tmp_path / "coco")
    assert chips.spec.metadata_format == "PASCAL_VOC_rectangles"
    expected = ChipStore(tmp_path / "a.zarr").objects(range(4))
    np.testing.assert_array_equal(chips.objects(range(4)).boxes, expected.boxes)
    with pytest.raises(SettingError, match=r"no outlines.*can become KITTI_rectangles, PASCAL"):
        convert(tmp_path / "a.zarr", tmp_path / "b", metadata_format="RCNN_Masks", progress=False)
    assert not list(tmp_path.glob(".b*"))


def test_the_number_of_workers_changes_no_byte(client: Any, tmp_path: Path) -> None:
    write_store(tmp_path / "a.zarr", make_spec(70, metadata_format="RCNN_Masks", tile=(8, 8)))
    for name, workers in (("here", None), ("there", client)):
        convert(tmp_path / "a.zarr", tmp_path / name, client=workers, progress=False)
    here, there = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("here", "there")
    )
    assert here == there


def test_a_pair_of_sets_stays_a_pair(tmp_path: Path) -> None:
    for name, chips in (("A", 3), ("B", 2)):
        write_folder(tmp_path / "pair" / name, make_spec(chips, metadata_format="CycleGAN"))
    convert(tmp_path / "pair", tmp_path / "png", chip_format="PNG", progress=False)
    assert [len(half) for half in open_pair(tmp_path / "png")] == [3, 2]
    convert(tmp_path / "png", tmp_path / "stores", chip_format="ZARR", progress=False)
    assert [len(half) for half in open_pair(tmp_path / "stores")] == [3, 2]


def test_chips_of_several_sizes_keep_them(tmp_path: Path) -> None:
    spec = make_spec(2, metadata_format="Export_Tiles")
    (block,) = write_store(tmp_path / "other.zarr", spec)
    images = block.images.copy()
    images[1, :, 9:] = 0
    cut = replace(block, images=images, sizes=np.array([[16, 24], [9, 24]]))
    write_folder(tmp_path / "folder", spec, block=cut)
    convert(tmp_path / "folder", tmp_path / "a.zarr", progress=False)
    assert_same_chips(ChipStore(tmp_path / "a.zarr").block([0, 1]), cut)


def test_nothing_that_stands_there_is_lost(tmp_path: Path) -> None:
    write_store(tmp_path / "a.zarr", make_spec(2))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match="holds no chips and is not replaced"):
        convert(tmp_path / "a.zarr", tmp_path / "notes", overwrite=True, progress=False)
    convert(tmp_path / "a.zarr", tmp_path / "b", progress=False)
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        convert(tmp_path / "a.zarr", tmp_path / "b", progress=False)
    convert(tmp_path / "a.zarr", tmp_path / "b", chip_format="PNG", overwrite=True, progress=False)
    assert len(list((tmp_path / "b" / "images").glob("*.png"))) == 2
    with pytest.raises(SettingError, match="would replace the source"):
        convert(tmp_path / "a.zarr", tmp_path / "a.zarr", overwrite=True, progress=False)


def test_what_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="is not there"):
        convert(tmp_path / "none", tmp_path / "b", progress=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="no chips that are recognised"):
        convert(tmp_path / "empty", tmp_path / "b", progress=False)
    write_store(tmp_path / "a.zarr", make_spec(2, bands=4))
    with pytest.raises(SettingError, match="choose TIFF"):
        convert(tmp_path / "a.zarr", tmp_path / "b", chip_format="PNG", progress=False)
    with pytest.raises(SettingError, match="use one of ZARR, TIFF"):
        convert(tmp_path / "a.zarr", tmp_path / "b", chip_format="GIF", progress=False)


def test_a_conversion_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_store(tmp_path / "a.zarr", make_spec(70, metadata_format="COCO", tile=(8, 8)))
    convert(tmp_path / "a.zarr", tmp_path / "whole", progress=False)

    def cut_off(*_: Any) -> None:
        raise KeyboardInterrupt

    for step in ("recast", "put_in_place"):
        with monkeypatch.context() as patched:
            patched.setattr(f"rasterloom.pipeline.chips.convert.{step}", cut_off)
            with pytest.raises((KeyboardInterrupt, RunInterrupted)):
                convert(tmp_path / "a.zarr", tmp_path / "again", progress=False)
    convert(tmp_path / "a.zarr", tmp_path / "again", progress=False)
    whole, again = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("whole", "again")
    )
    assert whole == again
    assert not list(tmp_path.glob(".again*"))
