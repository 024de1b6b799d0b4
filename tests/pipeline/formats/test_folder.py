"""Folders give back what was written into them, whatever the format."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError, StoreError
from rasterloom.pipeline.formats import FORMATS
from rasterloom.pipeline.formats.folder import FolderChips
from rasterloom.pipeline.formats.opening import open_chip_reader, open_pair
from rasterloom.pipeline.formats.sink import FolderSink
from rasterloom.pipeline.store.chips import ChipBlock
from rasterloom.pipeline.store.kinds import kind_of
from tests.support.folders import assert_same_chips, finish_folder, write_folder
from tests.support.stores import make_block, make_spec

CLASSES = (ClassInfo(1, "tall tree", (0, 90, 0)), ClassInfo(7, "étang 湖", (0, 0, 200)))


@pytest.mark.parametrize("metadata_format", FORMATS)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), chips=st.integers(1, 7), pairs=st.booleans())
def test_a_folder_gives_back_the_chips(
    metadata_format: str, seed: int, chips: int, pairs: bool, tmp_path: Path
) -> None:
    folder = tmp_path / f"{seed}-{chips}-{pairs}"
    shutil.rmtree(folder, ignore_errors=True)
    spec = make_spec(
        chips,
        metadata_format=metadata_format,
        classes=CLASSES,
        bands2=2 * (pairs and kind_of(metadata_format).pairs),
    )
    if metadata_format == "Panoptic_Segmentation":
        spec = replace(spec, instance_classes=(CLASSES[1],))
    written = write_folder(folder, spec, block=_known(make_block(spec, 0, chips, seed=seed), spec))
    chips_read = open_chip_reader(folder)
    assert isinstance(chips_read, FolderChips)
    assert chips_read.spec == spec
    but = ("split",) if metadata_format == "YOLO" else ()
    assert_same_chips(chips_read.block(range(chips)), written, but=but)
    assert (chips_read.split == np.array(["", "train", "val", "test"])[written.split]).all()
    backwards = list(range(chips))[::-1] + [0, -1]
    assert_same_chips(pickle.loads(pickle.dumps(chips_read)).block(backwards), written.of(backwards))
    assert chips_read.label_stats.chips == chips
    np.testing.assert_array_equal(chips_read.sizes([0]), [spec.tile])


def _known(block: ChipBlock, spec: object) -> ChipBlock:
    """The block with class values 0, 1 and 7 in its masks."""
    if block.masks is None:
        return block
    return replace(block, masks=np.where(block.masks == 2, 7, block.masks))


@pytest.mark.parametrize("chip_format", ["TIFF", "PNG", "MRF"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_pixels_survive_every_lossless_file(chip_format: str, dtype: str, tmp_path: Path) -> None:
    spec = make_spec(3, dtype=dtype, metadata_format="Export_Tiles")
    written = write_folder(tmp_path / "chips", spec, chip_format=chip_format)
    assert_same_chips(open_chip_reader(tmp_path / "chips").block([0, 1, 2]), written)


def test_a_jpeg_is_near_what_was_written(tmp_path: Path) -> None:
    spec = make_spec(1, metadata_format="Export_Tiles")
    block = make_block(spec, 0, 1)
    smooth = np.broadcast_to(np.arange(24, dtype=np.uint8) * 10, block.images.shape)
    write_folder(tmp_path / "chips", spec, chip_format="JPEG", block=replace(block, images=smooth))
    found = open_chip_reader(tmp_path / "chips").images([0])
    assert np.abs(found.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("metadata_format", [f for f in FORMATS if f not in ("CycleGAN", "Imagenet")])
def test_chips_of_several_sizes_are_filled_up(metadata_format: str, tmp_path: Path) -> None:
    spec = make_spec(4, metadata_format=metadata_format)
    block = make_block(spec, 0, 4)
    sizes = np.array([[16, 24], [9, 24], [16, 11], [8, 8]])
    inside = np.zeros((4, 1, 16, 24), bool)
    for area, (height, width) in zip(inside, sizes, strict=True):
        area[:, :height, :width] = True
    cut = replace(block, images=np.where(inside, block.images, 0).astype(np.uint8), sizes=sizes)
    if cut.masks is not None:
        cut = replace(cut, masks=np.where(inside[:, 0], cut.masks, 0).astype(np.uint8))
    if cut.objects is not None:
        # objects of chips that are smaller would have been clipped; only whole chips keep theirs here
        few = cut.objects.kept(cut.objects.chips == 0)
        cut = replace(cut, objects=few)
    write_folder(tmp_path / "chips", spec, block=cut)
    found = open_chip_reader(tmp_path / "chips")
    assert_same_chips(found.block(range(4)), cut)


@pytest.mark.parametrize("metadata_format", FORMATS)
@pytest.mark.parametrize("before", [5, 64, 70])
def test_appended_chips_are_those_of_one_export(metadata_format: str, before: int, tmp_path: Path) -> None:
    total = before + 9
    spec = make_spec(total, metadata_format=metadata_format, tile=(8, 8))
    whole = make_block(spec, 0, total)
    write_folder(tmp_path / "at once", spec, block=whole)
    write_folder(tmp_path / "first", replace(spec, chips=before), block=whole.of(range(before)))
    base = open_chip_reader(tmp_path / "first")
    sink = FolderSink.create(tmp_path / "both", spec, base=base)
    for start in range(sink.first, total, sink.shard):
        FolderSink.open(tmp_path / "both").write(
            start, whole.of(range(start, min(start + sink.shard, total)))
        )
    finish_folder(sink, [whole])
    assert _files(tmp_path / "both") == _files(tmp_path / "at once")


def _files(folder: Path) -> dict[str, bytes]:
    # the row groups of the table follow the batches; its rows are compared by the reader
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".parquet"
    }


def test_writing_again_gives_the_same_bytes_and_finishing_again_does_no_harm(tmp_path: Path) -> None:
    spec = make_spec(70, metadata_format="COCO", tile=(8, 8))
    whole = make_block(spec, 0, 70)
    sink = FolderSink.create(tmp_path / "a", spec)
    for start in (64, 0, 0):
        sink.write(start, whole.of(range(start, min(start + 64, 70))))
    finish_folder(sink, [whole])
    finish_folder(FolderSink.create(tmp_path / "a", spec), [whole])
    write_folder(tmp_path / "b", spec, block=whole)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")


def test_what_is_not_a_batch_is_refused(tmp_path: Path) -> None:
    spec = make_spec(70)
    sink = FolderSink.create(tmp_path / "a", spec)
    with pytest.raises(StoreError, match="not one batch of 64"):
        sink.write(0, make_block(spec, 0, 10))


@pytest.mark.parametrize("name", ["a/b", "..", "", " wood", "a\\b"])
@pytest.mark.parametrize("metadata_format", ["RCNN_Masks", "Imagenet"])
def test_class_names_that_cannot_be_folders_are_refused(
    name: str, metadata_format: str, tmp_path: Path
) -> None:
    spec = make_spec(2, metadata_format=metadata_format, classes=(ClassInfo(1, name, (0, 0, 0)),))
    with pytest.raises(SettingError, match="cannot be the name of a folder"):
        FolderSink.create(tmp_path / "a", spec)


def test_negative_class_values_are_refused_in_kitti_alone(tmp_path: Path) -> None:
    classes = (ClassInfo(-1, "unsure", (0, 0, 0)), ClassInfo(1, "tree", (0, 90, 0)))
    spec = make_spec(4, metadata_format="KITTI_rectangles", classes=classes)
    with pytest.raises(SettingError, match=r"class value -1 .* minus sign"):
        FolderSink.create(tmp_path / "kitti", spec)
    spec = replace(spec, metadata_format="PASCAL_VOC_rectangles")
    written = write_folder(tmp_path / "voc", spec)
    assert_same_chips(open_chip_reader(tmp_path / "voc").block(range(4)), written)


@pytest.mark.parametrize(
    ("chip_format", "bands", "dtype", "reason"),
    [
        ("PNG", 4, "uint8", "at most 3 bands.*choose TIFF"),
        ("JPEG", 2, "uint8", "1 or 3 bands"),
        ("PNG", 3, "float32", "uint8 or uint16"),
        ("JPEG", 3, "uint16", "choose TIFF"),
        ("GIF", 3, "uint8", "use one of TIFF, PNG"),
    ],
)
def test_images_that_a_file_cannot_hold_are_refused(
    chip_format: str, bands: int, dtype: str, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match=reason):
        FolderSink.create(tmp_path / "a", make_spec(1, bands=bands, dtype=dtype), chip_format=chip_format)


def test_more_than_255_classes_take_sixteen_bits(tmp_path: Path) -> None:
    classes = tuple(ClassInfo(value, f"class {value}", (0, 0, 0)) for value in range(1, 400))
    spec = replace(make_spec(1, classes=classes), mask_dtype="uint16")
    block = make_block(spec, 0, 1)
    masks = np.arange(16 * 24, dtype=np.uint16).reshape(1, 16, 24)
    write_folder(tmp_path / "a", spec, block=replace(block, masks=masks))
    np.testing.assert_array_equal(open_chip_reader(tmp_path / "a").masks([0]), masks)


def test_two_sets_of_chips_are_opened_as_a_pair(tmp_path: Path) -> None:
    for name, count in (("A", 3), ("B", 2)):
        write_folder(tmp_path / name, make_spec(count, metadata_format="CycleGAN"))
    first, second = open_pair(tmp_path)
    assert (len(first), len(second)) == (3, 2)
    with pytest.raises(StoreError, match="two sets of chips"):
        open_chip_reader(tmp_path)


def test_what_chips_do_not_have_is_an_error(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", make_spec(2, metadata_format="KITTI_rectangles"))
    chips = open_chip_reader(tmp_path / "a")
    for read in (chips.masks, chips.images2, chips.labels):
        with pytest.raises(StoreError, match="KITTI_rectangles chips, which have no"):
            read([0])
    with pytest.raises(IndexError, match="chip 2"):
        chips.images([2])
