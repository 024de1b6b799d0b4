"""Exports beyond one raster with one layer: pairs, several rasters, appending, splits, background runs."""

import geopandas
import numpy as np
import pytest
import rasterio
import shapely

from rasterloom.models.errors import (
    LabelError,
    MissingInputError,
    OutputExistsError,
    RasterError,
    SettingError,
    StoreError,
)
from rasterloom.pipeline.chips.estimate import ExportEstimate
from rasterloom.pipeline.chips.export import export_training_data
from rasterloom.pipeline.store.kinds import KINDS
from rasterloom.pipeline.store.read import ChipStore
from tests.support.labels import square_labels
from tests.support.rasters import write_pixels, write_raster

SIZE = 160


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    labels = folder / "labels.gpkg"
    square_labels(height=SIZE, width=SIZE, count=30).to_file(labels)
    return write_raster(folder / "scene.tif", height=SIZE, width=SIZE), labels


def export(inputs, output, **settings):
    settings = {"tile_size": 32, "progress": False, **settings}
    return ChipStore(export_training_data(*inputs, output_location=output, **settings))


def same(one, other):
    """Whether two blocks of chips hold the same."""
    for part in (
        "images",
        "images2",
        "masks",
        "labels",
        "transforms",
        "windows",
        "rotation",
        "split",
        "numbers",
    ):
        first, second = getattr(one, part), getattr(other, part)
        assert (first is None) == (second is None)
        assert first is None or (first == second).all(), part
    if one.objects is not None:
        for part in ("counts", "boxes", "values", "shares", "areas", "runs"):
            first, second = getattr(one.objects, part), getattr(other.objects, part)
            assert first is second is None or (first == second).all(), part


def needed(name, labels):
    return {"input_instance_data": labels} if name == "Panoptic_Segmentation" else {}


@pytest.mark.parametrize("name", [name for name in KINDS if name != "CycleGAN"])
def test_every_format_is_the_same_in_this_process_and_on_workers(scene, tmp_path, client, name):
    settings = {"metadata_format": name, "rotation_angle": 90, **needed(name, scene[1])}
    here = export(scene, tmp_path / "a.zarr", **settings)
    there = export(scene, tmp_path / "b.zarr", client=client, **settings)
    assert here.spec.metadata_format == name
    assert len(here) > 20
    same(here.block(range(len(here))), there.block(range(len(there))))
    assert here.attributes == there.attributes
    assert here.label_stats.chips == len(here)


@pytest.mark.parametrize("name", ["Classified_Tiles", "RCNN_Masks", "MultiLabeled_Tiles"])
def test_chips_appended_are_those_of_one_export_after_the_other(scene, tmp_path, name):
    west, east = (500000, 4999840, 500064, 5000000), (500064, 4999840, 500160, 5000000)
    settings = {"metadata_format": name}
    first = export(scene, tmp_path / "a.zarr", context={"extent": west}, **settings)
    before = first.block(range(len(first)))
    free = int(first.numbers.max()) + 1
    with pytest.raises(SettingError, match=f"use {free} or more"):
        export(scene, first.path, context={"extent": east, "startIndex": free - 1}, **settings)
    both = export(scene, first.path, context={"extent": east, "startIndex": 100}, **settings)
    alone = export(scene, tmp_path / "b.zarr", context={"extent": east, "startIndex": 100}, **settings)
    assert len(both) == len(before) + len(alone)
    same(both.block(range(len(before))), before)
    same(both.block(range(len(before), len(both))), alone.block(range(len(alone))))
    assert both.stats.count == first.stats.count + alone.stats.count
    assert both.label_stats.chips == len(both)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zarr"]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"tile_size": 16}, StoreError, "tile"),
        ({"metadata_format": "RCNN_Masks"}, StoreError, "metadata_format"),
        ({"chip_format": "TIFF"}, StoreError, "a store and not a folder"),
    ],
)
def test_chips_that_do_not_agree_are_not_appended(scene, tmp_path, settings, error, words):
    first = export(scene, tmp_path / "a.zarr")
    with pytest.raises(error, match=words):
        export(scene, first.path, context={"startIndex": 1000}, **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    assert len(ChipStore(first.path)) == len(first)


def test_a_split_is_written_and_what_it_leaves_out_is_counted(scene, tmp_path):
    store = export(
        scene,
        tmp_path / "a.zarr",
        tile_size=8,
        split={"train": 0.5, "test": 0.5},
        split_block_size=40,
        seed=1,
        context={"exportAllTiles": True},
    )
    assert set(store.split.tolist()) == {"train", "test"}
    noted = store.spec.parameters["split"]
    assert noted["left_out"] == 400 - len(store) > 0
    assert (noted["train"], noted["block_size"], noted["seed"]) == (0.5, 40, 1)


def two_rasters(folder):
    (folder / "scenes").mkdir()
    first = write_raster(folder / "scenes" / "a.tif", height=64, width=96)
    second = write_raster(
        folder / "scenes" / "b.tif",
        height=70,
        width=64,
        seed=1,
        crs="EPSG:32634",
        origin=(30000.0, 5012345.0),
        cell=2.0,
    )
    return first, second


def test_each_raster_of_a_folder_is_cut_by_itself(tmp_path):
    paths = two_rasters(tmp_path)
    store = export((tmp_path / "scenes",), tmp_path / "a.zarr", process_all_raster_items=True)
    assert [path.rsplit("/")[-1] for path in store.spec.sources] == ["a.tif", "b.tif"]
    assert len(store.spec.source_crs) == 2
    assert store.source.tolist() == [0] * 6 + [1] * 4
    assert store.numbers.tolist() == list(range(10))
    for number, path in ((5, paths[0]), (9, paths[1])):
        row, col, height, width = store.windows[number].tolist()
        with rasterio.open(path) as source:
            expected = source.read()[:, row : row + height, col : col + width]
            place = source.transform @ (col, row)
        assert (store.images([number])[0] == expected).all()
        assert (store.transforms[number][2], store.transforms[number][5]) == place


def test_of_several_rasters_those_without_labels_give_no_chips(tmp_path):
    paths = two_rasters(tmp_path)
    labels = square_labels(height=64, width=96, count=4)
    store = export((list(paths), labels), tmp_path / "a.zarr", process_all_raster_items=True)
    assert set(store.source.tolist()) == {0}
    context = {"exportAllTiles": True}
    every = export((list(paths), labels), tmp_path / "c.zarr", process_all_raster_items=True, context=context)
    assert every.source.tolist() == [0] * 6 + [1] * 4
    assert every.masks(range(6)).any()
    assert not every.masks(range(6, 10)).any()
    far = labels.translate(90000).to_frame("geometry")
    with pytest.raises(LabelError, match="lies on the raster"):
        export((list(paths), far), tmp_path / "b.zarr", process_all_raster_items=True)


def test_rasters_that_do_not_agree_are_not_put_together(tmp_path):
    paths = [
        write_raster(tmp_path / "a.tif", height=64, width=64),
        write_raster(tmp_path / "b.tif", height=64, width=64, bands=1),
    ]
    with pytest.raises(RasterError, match="1 bands of uint8"):
        export((paths,), tmp_path / "a.zarr", process_all_raster_items=True)


def test_a_second_raster_makes_pairs_on_the_first_ones_grid(scene, tmp_path):
    second = write_raster(
        tmp_path / "second.tif", height=90, width=90, bands=2, seed=3, cell=2.0, dtype="int16"
    )
    store = export((scene[0],), tmp_path / "a.zarr", additional_input_raster=second)
    assert store.spec.metadata_format == "Export_Tiles"
    assert (len(store.spec.bands2), store.spec.dtype2) == (2, "int16")
    assert store.images2(range(len(store))).shape == (25, 2, 32, 32)
    with rasterio.open(second) as source:
        middle = source.read()[:, 16:32, 16:32].mean()
    assert abs(store.images2([6])[0].mean() - middle) < 0.05 * middle
    assert store.stats2.count == 25 * 32 * 32


def test_two_sides_lie_beside_each_other(scene, tmp_path):
    second = write_raster(tmp_path / "second.tif", height=64, width=96, seed=3, cell=2.0)
    settings = {"metadata_format": "CycleGAN", "tile_size": 32, "progress": False}
    both = tmp_path / "both"
    export_training_data(scene[0], output_location=both, additional_input_raster=second, **settings)
    alone = tmp_path / "alone"
    for raster in (scene[0], second):
        assert export_training_data(raster, output_location=alone, **settings) == str(alone)
    for side, count in (("A", 25), ("B", 6)):
        one, other = ChipStore(both / side), ChipStore(alone / side)
        assert len(one) == count
        same(one.block(range(count)), other.block(range(count)))
        assert one.spec.metadata_format == "CycleGAN"
    with pytest.raises(OutputExistsError):
        export_training_data(scene[0], output_location=alone, **settings)


def test_a_class_raster_in_another_crs_labels_the_chips(scene, tmp_path):
    values = (np.indices((40, 40)).sum(axis=0) // 20 % 3).astype("uint8")
    classes = write_pixels(tmp_path / "classes.tif", values[None], cell=4.0)
    tiles = export((scene[0], classes), tmp_path / "a.zarr")
    expected = np.kron(values, np.ones((4, 4), "uint8"))
    for number, (row, col, *_) in enumerate(tiles.windows.tolist()):
        assert (tiles.masks([number])[0] == expected[row : row + 32, col : col + 32]).all()
    assert [c.value for c in tiles.spec.classes] == [1, 2]
    boxes = export((scene[0], classes), tmp_path / "b.zarr", metadata_format="KITTI_rectangles")
    assert len(boxes.objects(range(len(boxes)))) > 0


@pytest.mark.parametrize(
    ("pixels", "settings", "error", "words"),
    [
        (np.full((1, 20, 20), 1.5, "float32"), {}, LabelError, "1.5.*whole numbers"),
        (np.full((1, 20, 20), -3, "int16"), {}, LabelError, "-3.*0 to 65535"),
        (np.ones((2, 20, 20), "uint8"), {}, LabelError, "2 bands"),
        (np.ones((1, 20, 20), "uint8"), {"min_polygon_overlap_ratio": 0.5}, SettingError, "class raster"),
        (np.ones((1, 20, 20), "uint8"), {"classvalue_field": "a"}, SettingError, "class raster"),
        (np.zeros((1, 20, 20), "uint8"), {}, LabelError, "exportAllTiles"),
    ],
)
def test_a_class_raster_that_cannot_work_is_told(scene, tmp_path, pixels, settings, error, words):
    path = write_pixels(tmp_path / "classes.tif", pixels, cell=8.0)
    with pytest.raises(error, match=words):
        export((scene[0], path), tmp_path / "a.zarr", **settings)
    assert [path.name for path in tmp_path.iterdir()] == ["classes.tif"]


def test_points_become_objects_only_with_a_radius(scene, tmp_path):
    points = geopandas.GeoDataFrame(
        {"classvalue": [1, 2]},
        geometry=[shapely.Point(500040, 4999960), shapely.Point(500100, 4999900)],
        crs="EPSG:32633",
    )
    with pytest.raises(LabelError, match="buffer_radius"):
        export((scene[0], points), tmp_path / "a.zarr", metadata_format="PASCAL_VOC_rectangles")
    store = export(
        (scene[0], points), tmp_path / "a.zarr", metadata_format="PASCAL_VOC_rectangles", buffer_radius=5
    )
    boxes = store.objects(range(len(store)))
    assert set(boxes.values.tolist()) == {1, 2}
    assert boxes.boxes.max() <= 32
    chips = export((scene[0], points), tmp_path / "b.zarr", metadata_format="Labeled_Tiles")
    assert chips.windows[:, :2].tolist() == [[24, 24], [84, 84]]


def test_negative_class_values_fit_where_the_format_holds_them(scene, tmp_path):
    labels = square_labels(height=SIZE, width=SIZE).drop(columns="classname")
    labels["classvalue"] -= 2
    with pytest.raises(LabelError, match="KITTI_rectangles"):
        export((scene[0], labels), tmp_path / "a.zarr", metadata_format="KITTI_rectangles")
    with pytest.raises(LabelError, match="-1"):
        export((scene[0], labels), tmp_path / "a.zarr")
    store = export((scene[0], labels), tmp_path / "a.zarr", metadata_format="PASCAL_VOC_rectangles")
    assert set(store.objects(range(len(store))).values.tolist()) == {-1, 0, 1}


def test_a_raster_smaller_than_a_chip_fills_its_corner(tmp_path):
    raster = write_raster(tmp_path / "small.tif", height=20, width=30)
    store = export((raster, square_labels(height=20, width=30, side=(5.0, 9.0))), tmp_path / "a.zarr")
    assert len(store) == 1
    with rasterio.open(raster) as source:
        assert (store.images([0])[0][:, :20, :30] == source.read()).all()
    assert not store.images([0])[0][:, 20:].any()


def test_a_job_in_the_background_gives_the_same_path(scene, tmp_path):
    job = export_training_data(
        *scene, output_location=tmp_path / "a.zarr", tile_size=32, future=True, progress=False
    )
    assert job.result(60) == str(tmp_path / "a.zarr")
    assert job.progress == 1.0


def test_an_estimate_counts_the_chips_and_writes_nothing(scene, tmp_path):
    found = export_training_data(*scene, output_location=tmp_path / "a.zarr", tile_size=32, estimate=True)
    assert isinstance(found, ExportEstimate)
    assert list(tmp_path.iterdir()) == []
    store = export(scene, tmp_path / "a.zarr")
    assert (found.chips, found.pixels) == (len(store), len(store) * 32 * 32)
    assert found.bytes_written == len(store) * 32 * 32 * 4
    assert found.seconds > 0
    assert found.batches == 1


def test_a_list_that_is_empty_is_told(tmp_path):
    with pytest.raises(MissingInputError, match="empty"):
        export(([],), tmp_path / "a.zarr", process_all_raster_items=True)
