"""Folders that are damaged, or made to do harm, are refused with the file at fault."""

import json
from pathlib import Path

import numpy as np
import pytest

from rasterloom.models.errors import MissingInputError, StoreError
from rasterloom.pipeline.formats.images import write_labels
from rasterloom.pipeline.formats.opening import open_chip_reader, open_pair
from tests.support.folders import write_folder
from tests.support.stores import make_spec

BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;">]>
<annotation><object><name>&lol2;</name></object></annotation>"""


@pytest.mark.parametrize(("chip_format", "suffix"), [("TIFF", "tif"), ("PNG", "png"), ("JPEG", "jpg")])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_truncated_image_is_named(chip_format: str, suffix: str, part: float, tmp_path: Path) -> None:
    spec = make_spec(2, metadata_format="Export_Tiles", tile=(64, 64))
    write_folder(tmp_path / "a", spec, chip_format=chip_format)
    path = tmp_path / "a" / "images" / f"000000000002.{suffix}"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    chips = open_chip_reader(tmp_path / "a")
    assert chips.images([0]).any()
    with pytest.raises(StoreError, match=rf"{path.name} .*Replace the file"):
        chips.images([1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "entities"),
        ("<annotation><object>", "no annotation"),
        ("", "no annotation"),
        (
            "<annotation><object><name>1</name><bndbox><xmin>x</xmin></bndbox></object></annotation>",
            "annotation",
        ),
        ("<annotation><object><name>1</name><bndbox><xmin>1</xmin></bndbox></object></annotation>", "inside"),
    ],
)
def test_a_bad_xml_is_named(text: str, reason: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "a", make_spec(3, metadata_format="PASCAL_VOC_rectangles"))
    (tmp_path / "a" / "labels" / "000000000002.xml").write_text(text)
    chips = open_chip_reader(tmp_path / "a")
    assert len(chips.objects([0]).counts) == 1
    with pytest.raises(StoreError, match=rf"000000000002\.\w+ .*{reason}"):
        chips.objects([1])


_BOXES = [(5, 5, 20, 12), (9, 9, 9, 12), (12, 3, 8, 9), (900, 900, 950, 950)]
"""One good box; one without width, one with its sides swapped, one outside of the chip."""


def _write_boxes(folder: Path, metadata_format: str) -> None:
    if metadata_format == "KITTI_rectangles":
        rows = [f"1 0 0 0 {' '.join(map(str, box))} 0 0 0 0 0 0 0\n" for box in _BOXES]
        (folder / "labels" / "000000000002.txt").write_text("".join(rows))
        return
    sides = ("xmin", "ymin", "xmax", "ymax")
    boxes = ("".join(f"<{n}>{v}</{n}>" for n, v in zip(sides, box, strict=True)) for box in _BOXES)
    objects = "".join(f"<object><name>1</name><bndbox>{box}</bndbox></object>" for box in boxes)
    (folder / "labels" / "000000000002.xml").write_text(f"<annotation>{objects}</annotation>")


@pytest.mark.parametrize("metadata_format", ["PASCAL_VOC_rectangles", "KITTI_rectangles"])
def test_boxes_without_an_area_are_left_out_and_their_chip_is_named(
    metadata_format: str, tmp_path: Path
) -> None:
    write_folder(tmp_path / "a", make_spec(3, metadata_format=metadata_format))
    _write_boxes(tmp_path / "a", metadata_format)
    chips = open_chip_reader(tmp_path / "a")
    with pytest.warns(UserWarning, match=r"3 of the 4 boxes of .*000000000002\.\w+ have no area"):
        found = chips.objects([1])
    np.testing.assert_array_equal(found.boxes, [_BOXES[0]])
    assert len(found.values) == 1


@pytest.mark.parametrize(
    ("metadata_format", "label"), [("Classified_Tiles", "labels"), ("RCNN_Masks", "labels/wood")]
)
def test_a_label_image_of_another_size_is_named(metadata_format: str, label: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "a", make_spec(5, metadata_format=metadata_format))
    path = next((tmp_path / "a" / label).glob("*.tif"))
    write_labels(path, np.ones((1, 9, 24), np.uint8), transform=(1, 0, 0, 0, -1, 0), crs="EPSG:32633")
    chips = open_chip_reader(tmp_path / "a")
    with pytest.raises(StoreError, match=rf"{path.name} is 9 x 24 pixels, and its image 16 x 24"):
        (chips.masks if metadata_format == "Classified_Tiles" else chips.objects)(range(5))


def test_an_image_of_another_size_or_type_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", make_spec(3, metadata_format="Export_Tiles"))
    path = tmp_path / "a" / "images" / "000000000002.tif"
    write_labels(path, np.ones((3, 9, 24), np.uint8), transform=(1, 0, 0, 0, -1, 0), crs="EPSG:32633")
    with pytest.raises(StoreError, match=rf"{path.name} is 9 x 24 .* 16 x 24"):
        open_chip_reader(tmp_path / "a").images([1])
    write_labels(path, np.ones((5, 16, 24), np.uint8), transform=(1, 0, 0, 0, -1, 0), crs="EPSG:32633")
    with pytest.raises(StoreError, match=rf"{path.name} has 5 bands"):
        open_chip_reader(tmp_path / "a").images([1])


@pytest.mark.parametrize("ours", [True, False])
def test_chips_without_a_label_file_are_left_out_with_a_warning(ours: bool, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    write_folder(folder, make_spec(6, metadata_format="PASCAL_VOC_rectangles"))
    (folder / "labels" / "000000000002.xml").unlink()
    (folder / "images" / "000000000008.tif").unlink()
    if not ours:
        (folder / "rasterloom_spec.json").unlink()
    chips = open_chip_reader(folder)
    with pytest.warns(UserWarning, match="2 chips of .* are left out"):
        assert len(chips) == 4
    assert chips.numbers.tolist() == [0, 4, 6, 10]
    assert len(chips.block(range(4)).images) == 4


def test_objects_of_unknown_classes_are_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", make_spec(2, metadata_format="KITTI_rectangles"))
    path = tmp_path / "a" / "labels" / "000000000002.txt"
    path.write_text("99 0 0 0 1 1 2 2 0 0 0 0 0 0 0\n2 0 0 0 1 1 3 3 0 0 0 0 0 0 0\n")
    assert open_chip_reader(tmp_path / "a").objects([1]).values.tolist() == [2]


@pytest.mark.parametrize("image", ["images\\..\\..\\secret.tif", "/etc/passwd.tif", "images/../../x.tif"])
def test_files_outside_of_the_folder_are_not_read(image: str, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    write_folder(folder, make_spec(1, metadata_format="Export_Tiles"))
    (folder / "images" / "000000000000.tif").rename(tmp_path / "secret.tif")
    (folder / "rasterloom_spec.json").unlink()
    (folder / "map.txt").write_text(f"{image} \n")
    with pytest.raises(StoreError, match="outside of it"):
        open_chip_reader(folder).images([0])


def test_an_mrf_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    write_folder(folder, make_spec(1, metadata_format="Export_Tiles"), chip_format="MRF")
    path = folder / "images" / "000000000000.mrf"
    text = path.read_text().replace("</Raster>", "<DataFile>/etc/passwd</DataFile></Raster>")
    path.write_text(text)
    with pytest.raises(StoreError, match="another place \\(DataFile\\)"):
        open_chip_reader(folder).images([0])


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("rasterloom_spec.json", "{", "rasterloom_spec.json is damaged"),
        ("rasterloom_chips.parquet", "none", "rasterloom_chips.parquet cannot be read"),
    ],
)
def test_damaged_lists_say_what_to_do(name: str, text: str, reason: str, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    write_folder(folder, make_spec(1, metadata_format="Export_Tiles"))
    (folder / name).write_text(text)
    with pytest.raises(StoreError, match=f"{reason}.*[Rr]emove it"):
        len(open_chip_reader(folder))
    (folder / name).unlink()
    assert len(open_chip_reader(folder)) == 1


def test_an_unknown_mode_and_broken_json_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    write_folder(folder, make_spec(1, metadata_format="Export_Tiles"))
    (folder / "rasterloom_spec.json").unlink()
    path = folder / "esri_accumulated_stats.json"
    counted = json.loads(path.read_text())
    path.write_text(json.dumps(counted | {"MetaDataMode": "Dream"}))
    with pytest.raises(StoreError, match=r"'Dream'.*use one of KITTI_rectangles"):
        len(open_chip_reader(folder))
    path.write_text("{")
    with pytest.raises(StoreError, match=r"esri_accumulated_stats\.json cannot be read"):
        len(open_chip_reader(folder))


def test_what_is_no_folder_of_chips_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="is not there"):
        open_chip_reader(tmp_path / "none")
    with pytest.raises(StoreError, match=r"Say dataset_type, one of KITTI_rectangles"):
        open_chip_reader(tmp_path)
    for kind in ("PASCAL_VOC_rectangles", "Imagenet", "COCO", "YOLO", "RCNN_Masks", "Export_Tiles"):
        with pytest.raises(StoreError, match=r"hold|has no"):
            len(open_chip_reader(tmp_path, kind))
    with pytest.raises(StoreError, match="has no folder A"):
        open_pair(tmp_path)
