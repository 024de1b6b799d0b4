import errno
import json
import signal
import subprocess
import sys
from pathlib import Path

import geopandas
import numpy as np
import pytest
import xarray
from distributed import Client, LocalCluster
from shapely.geometry import box

from rasterloom.models.errors import (
    CrsError,
    LabelError,
    MissingInputError,
    OutputError,
    OutputExistsError,
    RasterloomError,
    SettingError,
    TooManyFailures,
)
from rasterloom.pipeline.chips.export import export_training_data
from rasterloom.pipeline.store.read import ChipStore
from rasterloom.pipeline.store.write import ChipWriter
from tests.support.labels import square_labels
from tests.support.rasters import write_raster

SIZE = 280


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    labels = folder / "labels.parquet"
    square_labels(height=SIZE, width=SIZE, count=60).to_parquet(labels, write_covering_bbox=True)
    return write_raster(folder / "scene.tif", height=SIZE, width=SIZE, nodata=0), labels


def export(scene, output=None, **settings):
    settings = {"tile_size": 8, "context": {"exportAllTiles": True}, "progress": False, **settings}
    return ChipStore(export_training_data(*scene, output_location=output, **settings))


def contents(folder):
    folder = Path(folder)
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def expected(scene, tmp_path_factory):
    """The store of a plain run in this process: 1225 chips in 5 shards."""
    return contents(export(scene, tmp_path_factory.mktemp("expected") / "a.zarr").path)


def test_the_store_stands_beside_the_raster_by_default(scene):
    store = export(scene)
    assert store.path == str(scene[0].with_name("scene_chips.zarr"))
    assert len(store) == 1225
    assert store.spec.tile == store.spec.stride == (8, 8)
    assert store.spec.bands == ("Red", "Green", "Blue")
    assert [c.name for c in store.spec.classes] == ["class 1", "class 2", "class 3"]
    assert sum(store.class_pixels.values()) == SIZE * SIZE
    assert store.spec.parameters["export_all_tiles"]
    assert {path.name for path in scene[0].parent.iterdir() if path.name.startswith(".")} == set()


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_writes_the_same_bytes(scene, expected, tmp_path, workers):
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as own,
    ):
        store = export(scene, tmp_path / "a.zarr", client=own)
    assert contents(store.path) == expected


def test_workers_in_processes_of_their_own_write_the_same_bytes(scene, expected, tmp_path, client):
    assert contents(export(scene, tmp_path / "a.zarr", client=client).path) == expected


KILLED = """
import os, signal, sys
from rasterloom.pipeline.chips import export, shards
from rasterloom.pipeline.store.write import ChipWriter

write = ChipWriter.write

def write_then_die(self, start, block):
    if any((self.path / "_run" / "done").iterdir()):
        (self.path / "images" / "c" / "9.abc.partial").write_bytes(b"torn")
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, start, block)

ChipWriter.write = write_then_die
raster, labels, output = sys.argv[1:]
export.export_training_data(
    raster, labels, tile_size=8, output_location=output, context={"exportAllTiles": True}, progress=False
)
"""


def test_a_killed_run_is_resumed_to_the_same_bytes(scene, expected, tmp_path, monkeypatch):
    output = tmp_path / "a.zarr"
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, scene), str(output)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not output.exists()
    (partial,) = tmp_path.glob(".a.zarr.*.partial")
    marked = len(list((partial / "_run" / "done").iterdir()))
    assert 0 < marked < 5

    write, written = ChipWriter.write, []

    def counted(self, start, block):
        written.append(start)
        write(self, start, block)

    monkeypatch.setattr(ChipWriter, "write", counted)
    assert contents(export(scene, output).path) == expected
    assert len(written) == 5 - marked
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_labels_in_another_crs_give_the_same_chips(scene, tmp_path):
    labels = geopandas.read_parquet(scene[1])
    here = export((scene[0], labels), tmp_path / "a.zarr", tile_size=64)
    there = export((scene[0], labels.to_crs("EPSG:4326")), tmp_path / "b.zarr", tile_size=64)
    assert (here.images(range(len(here))) == there.images(range(len(there)))).all()
    # a centre within a reprojection's rounding of an edge may fall on either side
    assert (here.masks(range(len(here))) != there.masks(range(len(there)))).mean() < 1e-4


def test_only_labelled_chips_are_exported_by_default(scene, tmp_path):
    label = geopandas.GeoDataFrame(
        {"kind": ["shed"]}, geometry=[box(500100, 4999899, 500110, 4999909)], crs="EPSG:32633"
    )
    store = export((scene[0], label), tmp_path / "a.zarr", tile_size=32, context={}, classvalue_field="kind")
    assert store.windows.tolist() == [[64, 96, 32, 32], [96, 96, 32, 32]]
    assert store.class_pixels == {0: 2 * 32 * 32 - 100, 1: 100}


def test_extent_and_mask_choose_the_chips(scene, tmp_path):
    mask = geopandas.GeoDataFrame(geometry=[box(500000, 4999800, 500200, 5000000)], crs="EPSG:32633")
    store = export(
        scene,
        tmp_path / "a.zarr",
        tile_size=50,
        input_mask_polygons=mask,
        context={"exportAllTiles": True, "extent": (500050, 4999720, 500300, 4999950), "startIndex": 7},
    )
    assert store.windows[:, :2].tolist() == [[row, col] for row in (50, 100, 150) for col in (50, 100, 150)]
    assert store.spec.parameters["start_index"] == 7


def test_a_coarser_cell_size_gives_fewer_larger_chips(scene, tmp_path):
    store = export(
        scene, tmp_path / "a.zarr", tile_size=16, context={"exportAllTiles": True, "cellSize": 2.0}
    )
    assert len(store) == 64
    assert store.spec.cell_size == (2.0, 2.0)
    assert store.transforms[0].tolist() == [2.0, 0.0, 500000.0, 0.0, -2.0, 5000000.0]


def test_class_values_above_255_are_kept(scene, tmp_path):
    labels = geopandas.read_parquet(scene[1])
    labels["classvalue"] += 1000
    store = export((scene[0], labels.drop(columns="classname")), tmp_path / "a.zarr", tile_size=64)
    assert store.masks([0]).dtype == np.uint16
    assert {c.value for c in store.spec.classes} == {1001, 1002, 1003}


def test_an_array_is_exported_like_its_file(scene, tmp_path):
    from rasterloom.pipeline.rasters.open import open_raster

    array = open_raster(scene[0])
    assert isinstance(array, xarray.DataArray)
    one = export(scene, tmp_path / "a.zarr", tile_size=64)
    other = export((array, scene[1]), tmp_path / "b.zarr", tile_size=64)
    assert (one.images(range(len(one))) == other.images(range(len(other)))).all()


def missing_raster(scene, folder):
    return (folder / "nowhere.tif", scene[1]), {}


def missing_labels(scene, folder):
    return (scene[0], folder / "nowhere.gpkg"), {}


def raster_without_crs(scene, folder):
    return (write_raster(folder / "bare.tif", height=50, width=50, crs=None), scene[1]), {}


def labels_without_crs(scene, folder):
    return (scene[0], square_labels(height=SIZE, width=SIZE, crs=None)), {}


def labels_elsewhere(scene, folder):
    return (scene[0], square_labels(height=SIZE, width=SIZE, origin=(900000.0, 1000000.0))), {}


def no_labels(scene, folder):
    return (scene[0],), {"metadata_format": "Classified_Tiles"}


def absent_field(scene, folder):
    return scene, {"classvalue_field": "kind"}


def extent_elsewhere(scene, folder):
    return scene, {"context": {"extent": (0, 0, 10, 10)}}


def remote_output(scene, folder):
    return scene, {"output": "s3://bucket/a.zarr"}


@pytest.mark.parametrize(
    ("case", "error", "words"),
    [
        (missing_raster, MissingInputError, "nowhere.tif"),
        (missing_labels, MissingInputError, "nowhere.gpkg"),
        (raster_without_crs, CrsError, "coordinate reference system"),
        (labels_without_crs, CrsError, "coordinate reference system"),
        (labels_elsewhere, LabelError, "no feature of the label layer lies on the raster"),
        (no_labels, LabelError, "input_class_data is missing"),
        (absent_field, LabelError, "fields are classvalue, classname"),
        (extent_elsewhere, SettingError, "does not meet"),
        (remote_output, SettingError, "no local folder"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing_behind(scene, tmp_path, case, error, words):
    inputs, settings = case(scene, tmp_path)
    output = tmp_path / "out" / "a.zarr"
    with pytest.raises(error, match=words) as caught:
        export(inputs, **{"output": output, **settings})
    assert isinstance(caught.value, RasterloomError)
    assert not output.parent.exists()


def test_what_stands_under_the_name_is_not_replaced_unasked(scene, tmp_path):
    first = export(scene, tmp_path / "a.zarr", tile_size=64)
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        export(scene, first.path, tile_size=32)
    assert len(ChipStore(first.path)) == 16
    assert len(export(scene, first.path, tile_size=32, overwrite=True)) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_only_chip_stores_are_ever_replaced(scene, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"dear")
    with pytest.raises(OutputExistsError, match="no chip store"):
        export(scene, tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "one.jpg").read_bytes() == b"dear"


def test_a_folder_that_cannot_be_written_is_named(scene, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written.*writable folder"):
        export(scene, tmp_path / "file" / "a.zarr")


def test_a_full_disk_leaves_nothing_and_says_what_was_needed(scene, tmp_path, monkeypatch):
    from zarr.storage import _local

    put = _local._put

    def full(path, *args, **kwargs):
        if "/c/" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return put(path, *args, **kwargs)

    monkeypatch.setattr(_local, "_put", full)
    with pytest.raises(OutputError, match=r"No space left.*whole store up to 0\.3 MB.*is removed"):
        export(scene, tmp_path / "a.zarr")
    assert list(tmp_path.iterdir()) == []


def test_pixels_that_cannot_be_read_stop_the_export_and_leave_no_store(scene, tmp_path):
    damaged = tmp_path / "scene.tif"
    content = scene[0].read_bytes()
    damaged.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(TooManyFailures):
        export((damaged, scene[1]), tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


def test_the_attributes_are_strict_json(scene, tmp_path):
    store = export(scene, tmp_path / "a.zarr", tile_size=64)
    text = (Path(store.path) / "zarr.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
