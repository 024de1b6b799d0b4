"""What travels with each task is small, whatever the source."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray

from rasterloom.cluster.places import Place
from rasterloom.models.errors import ReadError
from rasterloom.pipeline.rasters import pinned as pinned_module
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.pinned import pinned
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import smooth_pixels, write_raster


def whole(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))


def in_memory(height=700, width=600, nodata=None):
    array = xarray.DataArray(
        smooth_pixels(2, height, width, dtype="float32"),
        dims=("band", "y", "x"),
        coords={"y": 5e6 - np.arange(height), "x": 5e5 + np.arange(width)},
    ).rio.write_crs("EPSG:32633")
    return array if nodata is None else array.rio.write_nodata(nodata)


def composite(folder):
    """An index computed from two files."""
    for index in range(2):
        write_raster(folder / f"{index}.tif", height=80, width=90, seed=index)
    first, second = (open_raster(folder / f"{index}.tif", chunks=32).astype("float32") for index in range(2))
    return (first[1] - second[0]) / (first[1] + second[0] + 1)


@pytest.mark.parametrize("kind", ["memory", "computed"])
def test_an_array_travels_light_and_reads_the_same(tmp_path, kind):
    raster = describe(in_memory() if kind == "memory" else composite(tmp_path))
    small = pinned(raster, tmp_path / "run" / "deep")
    assert len(pickle.dumps(small)) < 3000
    copy = pickle.loads(pickle.dumps(small))
    for window in (Window(0, 0, *raster.grid.shape), Window(5, 7, 40, 50)):
        for bands in (None, [raster.band_count - 1]):
            for one, other in zip(
                read_window(copy, window, bands), read_window(raster, window, bands), strict=True
            ):
                np.testing.assert_array_equal(one, other)
    assert pinned(small, tmp_path / "other") == small
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", ["memory", "computed", "mosaic"])
def test_a_bucket_serves_as_well_as_a_folder(tmp_path, bucket, kind):
    if kind == "mosaic":
        for index in range(2):
            write_raster(tmp_path / f"{index}.tif", height=20, width=20, origin=(500000 + 20 * index, 5e6))
    source = {"memory": in_memory, "computed": lambda: composite(tmp_path), "mosaic": lambda: tmp_path}[
        kind
    ]()
    raster = describe(source)
    small = pinned(raster, Place.of(f"{bucket}/run"))
    assert len(pickle.dumps(small)) < 3000
    np.testing.assert_array_equal(whole(small)[0], whole(raster)[0])


def test_pinning_again_writes_nothing_again(tmp_path):
    raster = describe(in_memory())
    pinned(raster, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert pinned(raster, tmp_path) == pinned(raster, Place.of(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_store_that_was_cut_off_is_written_again(tmp_path):
    raster = describe(in_memory())
    pinned(raster, tmp_path)
    (store,) = tmp_path.iterdir()
    text = (store / "zarr.json").read_text()
    assert '"whole": true' in text
    (store / "zarr.json").write_text(text.replace('"whole": true', '"whole": false'))
    next(path for path in (store / "pixels" / "c").rglob("*") if path.is_file()).unlink()
    np.testing.assert_array_equal(whole(pinned(raster, tmp_path))[0], whole(raster)[0])


def test_a_recipe_is_loaded_once_and_only_as_it_was_written(tmp_path, monkeypatch):
    small = pinned(describe(composite(tmp_path)), tmp_path / "run")
    monkeypatch.setattr(pinned_module, "_loaded", {})
    reads = []
    read = Place.read
    monkeypatch.setattr(Place, "read", lambda self, name: reads.append(name) or read(self, name))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: whole(small)[0], range(8)))
    assert len(reads) == 1
    for each in found:
        np.testing.assert_array_equal(each, found[0])
    monkeypatch.setattr(pinned_module, "_loaded", {})
    path = tmp_path / "run" / small.array.name
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ReadError, match="is not what was written there"):
        whole(small)


def test_nodata_of_an_array_in_memory_is_kept(tmp_path):
    array = in_memory(60, 70, nodata=-1.0)
    array[:, 3, 4] = -1.0
    small = pinned(describe(array), tmp_path)
    assert whole(small)[1].sum() == 60 * 70 - 1
