"""Exports into folders of files hold what the same export into a store holds."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from rasterloom.models.errors import OutputExistsError, SettingError, StoreError
from rasterloom.pipeline.chips.export import export_training_data
from rasterloom.pipeline.chips.sinks import open_chips
from rasterloom.pipeline.store.kinds import KINDS
from rasterloom.pipeline.store.read import ChipStore
from tests.support.labels import square_labels
from tests.support.rasters import write_raster

SIZE = 160


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folders")
    labels = folder / "labels.gpkg"
    square_labels(height=SIZE, width=SIZE, count=30).to_file(labels)
    return write_raster(folder / "scene.tif", height=SIZE, width=SIZE), labels


def export(inputs, output, chip_format="TIFF", **settings):
    settings = {"tile_size": 16, "progress": False, **settings}
    return export_training_data(*inputs, chip_format=chip_format, output_location=output, **settings)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def needed(name, labels):
    return {"input_instance_data": labels} if name == "Panoptic_Segmentation" else {}


@pytest.mark.parametrize("name", [name for name in KINDS if name != "CycleGAN"])
def test_a_folder_holds_what_a_store_holds(scene, tmp_path, name):
    settings = {"metadata_format": name, "rotation_angle": 90, **needed(name, scene[1])}
    path = export(scene, tmp_path / "chips", **settings)
    folder, store = open_chips(path), ChipStore(export(scene, tmp_path / "a.zarr", None, **settings))
    everything = np.arange(len(store))
    # some formats keep only chips with a label
    kept = np.flatnonzero(np.isin(store.numbers, folder.numbers))
    assert len(folder) == len(kept) > 50
    one, other = folder.block(np.arange(len(folder))), store.block(everything[kept])
    for part in ("images", "masks", "labels", "numbers", "windows", "rotation"):
        first, second = getattr(one, part), getattr(other, part)
        assert (first is None) == (second is None)
        assert first is None or (first == second).all(), part
    assert np.allclose(one.transforms, other.transforms)
    if other.objects is not None:
        assert (one.objects.counts == other.objects.counts).all()
        assert (one.objects.values == other.objects.values).all()
        assert np.allclose(one.objects.boxes, other.objects.boxes, atol=0.02)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "chips"]


@pytest.mark.parametrize("chip_format", ["PNG", "JPEG", "MRF"])
def test_chips_are_files_of_the_format_that_is_asked_for(scene, tmp_path, chip_format):
    path = Path(export(scene, tmp_path / "chips", chip_format))
    suffix = {"PNG": "png", "JPEG": "jpg", "MRF": "mrf"}[chip_format]
    images = sorted((path / "images").glob(f"*.{suffix}"))
    store = ChipStore(export(scene, tmp_path / "a.zarr", None))
    assert len(images) == len(store)
    with rasterio.open(images[3]) as image:
        assert image.driver == chip_format
        difference = np.abs(image.read().astype(int) - store.images([3])[0])
        assert difference.max() <= (60 if chip_format == "JPEG" else 0)
    assert images[3].stem == f"{store.numbers[3]:012d}"


@pytest.mark.parametrize("name", ["Classified_Tiles", "RCNN_Masks", "PASCAL_VOC_rectangles"])
def test_workers_write_the_same_files(scene, tmp_path, client, name):
    here = export(scene, tmp_path / "a", metadata_format=name)
    there = export(scene, tmp_path / "b", metadata_format=name, client=client)
    first, second = contents(here), contents(there)
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []


KILLED = """
import json, os, signal, sys
from rasterloom.pipeline.chips import shards
from rasterloom.pipeline.chips.export import export_training_data

keep = shards._keep

def keep_then_die(path, stats):
    keep(path, stats)
    if len(list(path.parent.iterdir())) >= 3:  # two at once may be done between two looks
        os.kill(os.getpid(), signal.SIGKILL)

shards._keep = keep_then_die
raster, labels, output, settings = sys.argv[1:]
export_training_data(raster, labels, output_location=output, **json.loads(settings))
"""


@pytest.mark.parametrize(
    ("chip_format", "name", "tile"),
    [("TIFF", "Classified_Tiles", 8), ("PNG", "COCO", 8), ("TIFF", "RCNN_Masks", 8), (None, "RCNN_Masks", 4)],
)
def test_a_killed_run_is_resumed_to_the_same_bytes(scene, tmp_path, chip_format, name, tile):
    settings = {"tile_size": tile, "metadata_format": name, "context": {"exportAllTiles": True}}
    whole = contents(export(scene, tmp_path / "whole" / "chips", chip_format, **settings))
    output = tmp_path / "killed" / "chips"
    output.parent.mkdir()
    words = json.dumps({**settings, "chip_format": chip_format, "progress": False})
    command = [sys.executable, "-c", KILLED, *map(str, scene), str(output), words]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert not output.exists()
    assert len(list(output.parent.iterdir())) == 1
    found = contents(export(scene, output, chip_format, **settings))
    assert set(found) == set(whole)
    assert [file for file in whole if found[file] != whole[file]] == []
    assert [path.name for path in output.parent.iterdir()] == ["chips"]


def test_chips_are_appended_to_a_folder(scene, tmp_path):
    west, east = (500000, 4999840, 500064, 5000000), (500064, 4999840, 500160, 5000000)
    path = export(scene, tmp_path / "chips", context={"extent": west})
    before = open_chips(path)
    count, images = len(before), before.images(range(len(before)))
    with pytest.raises(SettingError, match="or more"):
        export(scene, path, context={"extent": east, "startIndex": 1})
    export(scene, path, context={"extent": east, "startIndex": 200})
    alone = open_chips(export(scene, tmp_path / "alone", context={"extent": east, "startIndex": 200}))
    both = open_chips(path)
    assert len(both) == count + len(alone)
    assert (both.images(range(count)) == images).all()
    assert (both.images(range(count, len(both))) == alone.images(range(len(alone)))).all()
    assert both.numbers.tolist()[count:] == alone.numbers.tolist()
    with pytest.raises(StoreError, match="tile"):
        export(scene, path, tile_size=8, context={"startIndex": 5000})
    with pytest.raises(StoreError, match="a folder of files and not a store"):
        export(scene, path, None, context={"startIndex": 5000})
    with pytest.raises(OutputExistsError):
        export(scene, path)
    assert len(open_chips(export(scene, path, overwrite=True, tile_size=32))) < len(both)


def test_chips_cut_to_their_feature_are_files_of_many_sizes(scene, tmp_path):
    path = export(
        scene, tmp_path / "chips", metadata_format="Labeled_Tiles", fix_chip_size=False, tile_size=24
    )
    sizes = set()
    for file in Path(path, "images").glob("*.tif"):
        with rasterio.open(file) as image:
            sizes.add(image.shape)
    assert len(sizes) > 5
    assert max(max(size) for size in sizes) == 24
    assert open_chips(path).spec.tile == (24, 24)


def test_four_bands_do_not_fit_in_png(tmp_path):
    raster = write_raster(tmp_path / "four.tif", height=40, width=40, bands=4)
    with pytest.raises(SettingError, match="TIFF"):
        export((raster,), tmp_path / "chips", "PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["four.tif"]


def test_both_sides_of_a_pair_are_complete_folders(scene, tmp_path):
    other = write_raster(tmp_path / "other.tif", height=64, width=64, seed=4)
    path = export(
        (scene[0],),
        tmp_path / "both",
        metadata_format="CycleGAN",
        additional_input_raster=other,
        tile_size=32,
    )
    for side, count in (("A", 25), ("B", 4)):
        assert len(list(Path(path, side, "images").glob("*.tif"))) == count
        assert Path(path, side, "esri_accumulated_stats.json").exists()


def test_a_store_replaces_a_folder_only_when_asked(scene, tmp_path):
    path = export(scene, tmp_path / "chips")
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        export(scene, path, None)
    assert len(ChipStore(export(scene, path, None, overwrite=True))) > 0
