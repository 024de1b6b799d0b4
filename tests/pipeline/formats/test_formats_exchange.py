"""What other software reads in our folders, and what is read in those of other software."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from defusedxml import ElementTree
from pycocotools.coco import COCO

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.formats.folder import FolderChips
from rasterloom.pipeline.formats.opening import open_chip_reader
from rasterloom.pipeline.store.chips import ChipBlock
from tests.support.folders import assert_same_chips, write_folder
from tests.support.stores import make_block, make_spec

CLASSES = (ClassInfo(1, "tall tree", (0, 90, 0)), ClassInfo(7, "étang", (0, 0, 200)))


def _written(tmp_path: Path, metadata_format: str, chips: int = 5, **more: Any) -> tuple[Path, ChipBlock]:
    spec = make_spec(chips, metadata_format=metadata_format, classes=CLASSES, **more)
    return tmp_path / "out", write_folder(tmp_path / "out", spec)


def _objects_of(block: ChipBlock, chip: int) -> Any:
    assert block.objects is not None
    return block.objects.of([chip])


def test_kitti_lines_have_fifteen_columns(tmp_path: Path) -> None:
    folder, block = _written(tmp_path, "KITTI_rectangles")
    for chip in range(5):
        own = _objects_of(block, chip)
        lines = (folder / "labels" / f"{2 * chip:012d}.txt").read_text().splitlines()
        columns = [line.split(" ") for line in lines]
        assert [int(c[0]) for c in columns] == own.values.tolist()
        assert all(len(c) == 15 and c[1:4] == ["0"] * 3 and c[8:] == ["0"] * 7 for c in columns)
        np.testing.assert_allclose([[float(n) for n in c[4:8]] for c in columns] or own.boxes, own.boxes)
        assert not any("-" in line for line in lines)


def test_voc_files_hold_values_and_boxes(tmp_path: Path) -> None:
    folder, block = _written(tmp_path, "PASCAL_VOC_rectangles")
    for chip in range(5):
        own = _objects_of(block, chip)
        root = ElementTree.parse(folder / "labels" / f"{2 * chip:012d}.xml").getroot()
        assert root.tag == "annotation"
        assert root.findtext("filename") == f"{2 * chip:012d}.tif"
        assert [root.findtext(f"size/{s}") for s in ("width", "height", "depth")] == ["24", "16", "3"]
        assert [int(o.findtext("name")) for o in root.iter("object")] == own.values.tolist()
        for element, box in zip(root.iter("bndbox"), own.boxes.tolist(), strict=True):
            assert [element.findtext(s) for s in ("xmin", "ymin", "xmax", "ymax")] == [
                f"{v:.2f}" for v in box
            ]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11
def test_coco_is_what_pycocotools_reads(tmp_path: Path) -> None:
    folder, block = _written(tmp_path, "COCO", chips=8)
    seen = 0
    for path in sorted((folder / "annotations").glob("*.json")):
        split = path.stem.removeprefix("instances").removeprefix("_")
        coco = COCO(path)
        assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == ["tall tree", "étang"]
        for image in coco.loadImgs(coco.getImgIds()):
            chip = int(image["id"]) // 2
            assert split == ["", "train", "val", "test"][int(block.split[chip])]
            own = _objects_of(block, chip)
            found = coco.loadAnns(coco.getAnnIds([image["id"]]))
            assert [one["category_id"] for one in found] == own.values.tolist()
            for one, mask, box in zip(found, own.outlines(0, (16, 24)), own.boxes.tolist(), strict=True):
                np.testing.assert_array_equal(coco.annToMask(one), mask)
                x, y, w, h = one["bbox"]
                assert [x, y, x + w, y + h] == box
                assert one["area"] == mask.sum()
            with rasterio.open(folder / "images" / image["file_name"]) as chip_file:
                np.testing.assert_array_equal(chip_file.read(), block.images[chip])
            seen += 1
    assert seen == 8


def test_masks_of_objects_are_numbered_in_folders_of_their_class(tmp_path: Path) -> None:
    folder, block = _written(tmp_path, "RCNN_Masks")
    for chip in range(5):
        own = _objects_of(block, chip)
        outlines = own.outlines(0, (16, 24))
        for info in CLASSES:
            path = folder / "labels" / info.name / f"{2 * chip:012d}.tif"
            expected = sorted(mask.tobytes() for mask in outlines[own.values == info.value])
            assert path.exists() == bool(expected)
            if expected:
                with rasterio.open(path) as maps:
                    bands = maps.read()
                found = [(band == n).tobytes() for band in bands for n in np.unique(band[band > 0])]
                assert sorted(found) == expected


def test_side_files_are_those_of_an_exported_folder(tmp_path: Path) -> None:
    folder, block = _written(tmp_path, "Classified_Tiles", bands2=2)
    lines = (folder / "map.txt").read_text().splitlines()
    assert lines[1] == (
        "images\\000000000002.tif labels\\000000000002.tif images2\\000000000002.tif "  # a space at the end
    )
    assert (folder / "stats.txt").read_text().splitlines()[0] == "images = 5 *3*16*24"
    counted = json.loads((folder / "esri_accumulated_stats.json").read_text())
    assert counted["MetaDataMode"] == "Classified_Tiles"
    assert counted["OutputFeatures"] is False
    assert (counted["NumTiles"], counted["NumTilesAsDouble"], counted["NextTileIndex"]) == (5, 5, 9)
    assert counted["Classes"][1] == {"ClassValue": 7, "ClassName": "étang"}
    assert block.masks is not None
    assert counted["ClassPixelStats"]["NumPixelsPerClass"] == [int((block.masks == v).sum()) for v in (1, 7)]
    band = counted["BandStatsState"][0]
    pixels = block.images[:, 0].astype(float)
    assert (band["Min"], band["Max"], band["Num"]) == (pixels.min(), pixels.max(), pixels.size)
    assert band["Mean"] == band["StdDev"] == 0
    assert np.sqrt(band["M2"] / band["Num"]) == pytest.approx(pixels.std())
    about = json.loads((folder / "esri_model_definition.emd").read_text())
    assert about["Classes"][0] == {"Value": 1, "Name": "tall tree", "Color": [0, 90, 0]}
    assert about["MinCellSize"] == {
        "x": 1.0,
        "y": 1.0,
        "spatialReference": {"wkid": 32633, "latestWkid": 32633},
    }
    assert about["AllTilesStats"][0]["Mean"] == pytest.approx(pixels.mean())
    assert (about["CropTileMode"], about["ImageSpaceUsed"]) == ("Fixed_Size", "MAP_SPACE")


def test_a_world_file_places_the_centre_of_the_first_pixel(tmp_path: Path) -> None:
    folder, block = _written(tmp_path, "Export_Tiles", chips=1)
    numbers = [float(line) for line in (folder / "images" / "000000000000.tfw").read_text().splitlines()]
    a, b, c, d, e, f = block.transforms[0].tolist()
    assert numbers == pytest.approx([a, d, b, e, c + (a + b) / 2, f + (d + e) / 2], abs=1e-9)


@pytest.mark.parametrize(
    "metadata_format",
    [
        "KITTI_rectangles",
        "PASCAL_VOC_rectangles",
        "Classified_Tiles",
        "Labeled_Tiles",
        "MultiLabeled_Tiles",
        "Export_Tiles",
        "Imagenet",
        "CycleGAN",
    ],
)
def test_the_files_that_all_share_are_enough(metadata_format: str, tmp_path: Path) -> None:
    folder, block = _written(tmp_path, metadata_format)
    _make_foreign(folder)
    chips = open_chip_reader(folder)
    found = chips.block(range(5))
    np.testing.assert_array_equal(found.images, block.images)
    np.testing.assert_array_equal(found.transforms, block.transforms)
    assert chips.spec.metadata_format == metadata_format
    assert found.numbers.tolist() == block.numbers.tolist()
    assert (chips.spec.classes or CLASSES) == CLASSES
    if block.masks is not None:
        np.testing.assert_array_equal(found.masks, np.where(block.masks == 2, 0, block.masks))
    if block.labels is not None:
        np.testing.assert_array_equal(found.labels, block.labels)
    if block.objects is not None and found.objects is not None:
        np.testing.assert_array_equal(found.objects.boxes, block.objects.boxes)
        np.testing.assert_array_equal(found.objects.values, block.objects.values)
    assert chips.stats.mean == pytest.approx(block.images.mean(axis=(0, 2, 3)))
    assert chips.label_stats.images == FolderChips(folder).label_stats.images


@pytest.mark.parametrize("metadata_format", ["RCNN_Masks", "Panoptic_Segmentation"])
def test_outlines_are_read_without_our_table(metadata_format: str, tmp_path: Path) -> None:
    folder, block = _written(tmp_path, metadata_format)
    _make_foreign(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # chips without an object have no mask
        chips = open_chip_reader(folder)
        found = chips.block(range(len(chips)))
    numbers = block.numbers.tolist()
    for chip, number in enumerate(found.numbers.tolist()):
        expected = _objects_of(block, numbers.index(number)).outlines(0, (16, 24))
        own = _objects_of(found, chip).outlines(0, (16, 24))
        assert sorted(m.tobytes() for m in own) == sorted(m.tobytes() for m in expected)


def _make_foreign(folder: Path) -> None:
    """Take away what only we write, and write the rest as others do."""
    for name in ("rasterloom_spec.json", "rasterloom_chips.parquet"):
        (folder / name).unlink()
    path = folder / "esri_model_definition.emd"
    about = json.loads(path.read_text())
    about |= {"ExtractBands": "e.g. [0, 1, 2]", "ImageHeight": "e.g. 256", "ModelFile": "e.g. model.pth"}
    about["Classes"] = [
        {"ClassValue": c["Value"], "ClassName": c["Name"], "Color": c["Color"]} for c in about["Classes"]
    ]
    path.write_text(json.dumps(about))
    path = folder / "esri_accumulated_stats.json"
    counted = json.loads(path.read_text())
    for key in ("NumTilesAsDouble", "NextTileIndex"):
        del counted[key]
    path.write_text(json.dumps(counted))
    path = folder / "map.txt"
    lines = path.read_text().splitlines()
    lines[0] = lines[0].replace("\\", "/").replace(".tif labels", ".tif  labels").strip()
    path.write_text("\r\n".join(lines))
    (folder / "images" / "000000000000.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    (folder / "images" / "000000000000.tif.ovr").write_bytes(b"no image")


def _photo(path: Path, size: tuple[int, int], *, bands: int = 3, seed: int = 0) -> np.ndarray:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(1, 255, (*size, bands), "uint8")
    Image.fromarray(pixels if bands > 1 else pixels[..., 0]).save(path)
    return np.moveaxis(pixels, -1, 0)


def _voc(path: Path, objects: list[tuple[str, tuple[float, ...]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    boxes = "".join(
        f"<object><name>{name}</name><bndbox><xmax>{b[2]}</xmax><xmin>{b[0]}</xmin><ymin>{b[1]}</ymin>"
        f"<ymax>{b[3]}</ymax></bndbox></object>"
        for name, b in objects
    )
    path.write_text(f"<annotation><folder>x</folder>{boxes}</annotation>")


def test_pascal_voc_photographs_of_any_size_are_read(tmp_path: Path) -> None:
    first = _photo(tmp_path / "JPEGImages" / "b.png", (20, 30))
    second = _photo(tmp_path / "JPEGImages" / "a.png", (25, 10), bands=1)
    _voc(tmp_path / "Annotations" / "b.xml", [("dog", (1, 2, 9, 8)), ("cat", (3, 3, 40, 25))])
    _voc(tmp_path / "Annotations" / "a.xml", [])
    _photo(tmp_path / "JPEGImages" / "c.png", (4, 4), bands=4)
    _photo(tmp_path / "JPEGImages" / "d.png", (4, 4))
    for name in "cd":
        _voc(tmp_path / "Annotations" / f"{name}.xml", [])
    chips = open_chip_reader(tmp_path, "PASCAL_VOC_rectangles")
    assert (len(chips), chips.spec.tile, chips.spec.bands) == (4, (25, 30), ("Red", "Green", "Blue"))
    assert [c.name for c in chips.spec.classes] == ["cat", "dog"]
    block = chips.block([1, 0, 2])
    np.testing.assert_array_equal(block.images[0][:, :20, :30], first)
    np.testing.assert_array_equal(block.images[1][0, :25, :10], second[0])
    assert not block.images[0][:, 20:].any()
    assert block.known_sizes.tolist() == [[20, 30], [25, 10], [4, 4]]
    own = _objects_of(block, 0)
    assert own.values.tolist() == [2, 1]
    assert own.boxes.tolist() == [[1, 2, 9, 8], [3, 3, 30, 20]]


def test_kitti_with_names_of_classes_is_read(tmp_path: Path) -> None:
    _photo(tmp_path / "image_2" / "000001.png", (20, 30))
    (tmp_path / "label_2").mkdir()
    (tmp_path / "label_2" / "000001.txt").write_text(
        "Car 0.00 0 -1.5 1.00 2.00 9.00 8.00 1 1 1 -1 1 1 -1.5\n"
        "Person sitting 0.00 0 1 2 3 4 5 1 1 1 1 1 1 1\n"
    )
    chips = open_chip_reader(tmp_path, "KITTI_rectangles")
    assert [(c.value, c.name) for c in chips.spec.classes] == [(1, "Car"), (2, "Person sitting")]
    assert chips.objects([0]).boxes.tolist() == [[1, 2, 9, 8], [2, 3, 4, 5]]


@pytest.mark.parametrize("base", ["images", ".", "train"])
def test_imagenet_folders_are_classes(base: str, tmp_path: Path) -> None:
    root = tmp_path / base
    _photo(root / "wild cat" / "1.jpg", (8, 8))
    _photo(root / "dog" / "2.jpg", (8, 8))
    chips = open_chip_reader(tmp_path, "Imagenet")
    names = {c.value: c.name for c in chips.spec.classes}
    assert [names[v] for v in chips.labels([0, 1]).tolist()] == ["dog", "wild cat"]
    assert set(chips.split.tolist()) == {"train" if base == "train" else ""}


def test_coco_of_polygons_and_run_lengths_is_read(tmp_path: Path) -> None:
    _photo(tmp_path / "train2017" / "x.jpg", (10, 12))
    square = [2.0, 3.0, 6.0, 3.0, 6.0, 8.0, 2.0, 8.0]
    document = {
        "images": [{"id": 5, "file_name": "x.jpg", "height": 10, "width": 12}],
        "categories": [{"id": 0, "name": "house"}, {"id": 3, "name": "hall"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 0, "bbox": [2, 3, 4, 5], "segmentation": [square]},
            {
                "id": 2,
                "image_id": 5,
                "category_id": 3,
                "bbox": [0, 0, 2, 10],
                "segmentation": {"size": [10, 12], "counts": [0, 20, 100]},
            },
            {
                "id": 3,
                "image_id": 5,
                "category_id": 3,
                "bbox": [0, 0, 1, 1],
                "iscrowd": 1,
                "segmentation": [square],
            },
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(document))
    chips = open_chip_reader(tmp_path)
    found = chips.objects([0])
    assert chips.split.tolist() == ["train"]
    assert [(c.value, c.name) for c in chips.spec.classes] == [(1, "house"), (4, "hall")]
    assert found.values.tolist() == [1, 4]
    masks = found.outlines(0, (10, 12))
    expected = np.zeros((2, 10, 12), bool)
    expected[0, 3:8, 2:6] = True
    expected[1, :, :2] = True
    np.testing.assert_array_equal(masks, expected)


def test_yolo_is_recognised_by_its_list_of_classes(tmp_path: Path) -> None:
    _photo(tmp_path / "images" / "val" / "x.png", (20, 40))
    _photo(tmp_path / "images" / "val" / "y.png", (20, 40))
    (tmp_path / "labels" / "val").mkdir(parents=True)
    (tmp_path / "labels" / "val" / "x.txt").write_text(
        "1 0.5 0.5 0.25 0.5\n0 0.1 0.1 0.3 0.1 0.3 0.3\n9 1 1 1 1\n"
    )
    (tmp_path / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnc: 2\nnames: [tree, 'a pond']\n"
    )
    chips = open_chip_reader(tmp_path)
    assert [(c.value, c.name) for c in chips.spec.classes] == [(1, "tree"), (2, "a pond")]
    assert chips.split.tolist() == ["val", "val"]
    found = chips.objects([0, 1])
    assert found.counts.tolist() == [2, 0]
    np.testing.assert_allclose(found.boxes, [[15, 5, 25, 15], [4, 2, 12, 6]], rtol=1e-6)


def test_real_tree_crowns_are_read_from_their_xml(data_folder: Path, tmp_path: Path) -> None:
    trees = data_folder / "trees_neon"
    for name in ("OSBS_029.tif", "OSBS_029.xml"):
        (tmp_path / name).symlink_to(trees / name)
    chips = open_chip_reader(tmp_path, "PASCAL_VOC_rectangles")
    assert chips.images([0]).shape == (1, 3, 400, 400)
    assert chips.objects([0]).counts.tolist() == [61]
    assert [c.name for c in chips.spec.classes] == ["Tree"]


def test_edited_labels_are_taken_as_they_are(tmp_path: Path) -> None:
    folder, block = _written(tmp_path, "KITTI_rectangles")
    path = folder / "labels" / "000000000002.txt"
    path.write_text("7 0 0 0 1.00 2.00 3.00 4.00 0 0 0 0 0 0 0\n")
    chips = open_chip_reader(folder)
    own = chips.objects([1])
    assert (own.values.tolist(), own.boxes.tolist(), own.shares.tolist()) == ([7], [[1, 2, 3, 4]], [1.0])
    others = [0, 2, 3, 4]
    assert_same_chips(chips.block(others), block.of(others))


def test_block_of_no_objects_is_read(tmp_path: Path) -> None:
    spec = make_spec(1, metadata_format="RCNN_Masks", classes=CLASSES)
    block = make_block(spec, 2, 3)
    write_folder(tmp_path / "a", spec, block=block)
    assert_same_chips(open_chip_reader(tmp_path / "a").block([0]), block)
