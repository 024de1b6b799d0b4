"""A landscape in a folder."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize

from rasterloom.models.errors import CrsError, OutputError, OutputExistsError, SettingError
from rasterloom.pipeline.landscape import write
from rasterloom.pipeline.landscape.classes import LANDSCAPE_CLASSES
from rasterloom.pipeline.landscape.write import generate_landscape

SIZE = 1100
NAMES = ["labels.parquet", "labels_wgs84.parquet", "scene.tif", "truth.tif"]


@pytest.fixture(scope="module")
def landscape(tmp_path_factory):
    return generate_landscape(tmp_path_factory.mktemp("landscape"), size=SIZE)


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def digests(landscape):
    paths = (landscape.raster, landscape.labels, landscape.labels_wgs84, landscape.truth)
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def burned_whole(labels, like):
    frame = geopandas.read_parquet(labels)
    pairs = zip(frame.geometry, frame["classvalue"], strict=True)
    return rasterize(pairs, out_shape=like.shape, transform=like.transform, dtype="uint8")


def test_the_folder_holds_four_files_and_the_value_names_them(landscape):
    assert files_in(landscape.raster.parent) == NAMES
    assert landscape.classes == LANDSCAPE_CLASSES
    assert landscape.size == SIZE
    with rasterio.open(landscape.raster) as scene:
        assert scene.shape == (SIZE, SIZE)
        assert scene.dtypes == ("uint8",) * 4


def test_burning_the_outlines_in_file_order_gives_the_truth(landscape):
    with rasterio.open(landscape.truth) as truth:
        assert np.array_equal(burned_whole(landscape.labels, truth), truth.read(1))


@pytest.mark.parametrize(("cell_size", "size"), [(0.5, 700), (2.0, 900)])
def test_burning_gives_the_truth_for_other_cell_sizes_too(tmp_path, cell_size, size):
    landscape = generate_landscape(tmp_path, size=size, cell_size=cell_size, seed=5)
    with rasterio.open(landscape.truth) as truth:
        assert truth.res == (cell_size, cell_size)
        assert np.array_equal(burned_whole(landscape.labels, truth), truth.read(1))


def test_every_pixel_has_a_class_and_all_classes_occur(landscape):
    with rasterio.open(landscape.truth) as truth:
        shares = np.bincount(truth.read(1).ravel(), minlength=7) / SIZE**2
    assert shares[0] == 0
    assert shares[1:].min() > 0.01


def test_features_overlap(landscape):
    frame = geopandas.read_parquet(landscape.labels)
    assert frame.area.sum() > 1.2 * frame.union_all().area


def test_a_smaller_scene_is_the_upper_left_corner_of_a_larger_one(landscape, tmp_path):
    small = generate_landscape(tmp_path, size=600)
    for one, other in ((small.raster, landscape.raster), (small.truth, landscape.truth)):
        with rasterio.open(one) as part, rasterio.open(other) as whole:
            assert part.transform == whole.transform
            assert np.array_equal(part.read(), whole.read()[:, :600, :600])


def test_the_same_call_gives_the_same_bytes(tmp_path):
    first = generate_landscape(tmp_path / "a", size=600, seed=9)
    second = generate_landscape(tmp_path / "b", size=600, seed=9)
    other = generate_landscape(tmp_path / "c", size=100, seed=10)
    assert digests(first) == digests(second)
    assert not set(digests(first)) & set(digests(other))


def test_workers_of_a_cluster_give_the_same_bytes_as_threads(client, tmp_path):
    alone = generate_landscape(tmp_path / "a", size=600, seed=9)
    together = generate_landscape(tmp_path / "b", size=600, seed=9, client=client)
    assert digests(alone) == digests(together)


def test_progress_counts_blocks(tmp_path):
    seen = []
    generate_landscape(tmp_path, size=600, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_only_a_few_blocks_are_under_way_at_a_time():
    count = Counter()

    class Counting(ThreadPoolExecutor):
        def submit(self, *args):
            count["submitted"] += 1
            count["most"] = max(count["most"], count["submitted"] - count["taken"])
            return super().submit(*args)

    windows = list(write.windows_of(40 * 512))
    with Counting(2) as pool:
        places = write._in_order(pool, 4, lambda *place: place, 0, 1.0, windows)
        for place, window in zip(places, windows, strict=True):
            assert place == (0, 1.0, window.row // 512, window.col // 512)
            count["taken"] += 1
    assert count["submitted"] == 1600
    assert count["most"] <= 5


def test_files_are_replaced_only_on_demand_and_others_stay(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    first = digests(generate_landscape(tmp_path, size=200, seed=1))
    with pytest.raises(OutputExistsError, match=r"already holds scene\.tif.*overwrite=True"):
        generate_landscape(tmp_path, size=200, seed=2)
    landscape = generate_landscape(tmp_path, size=200, seed=2, overwrite=True)
    assert digests(landscape) != first
    assert files_in(tmp_path) == sorted([*NAMES, "mine.txt"])


def test_a_failed_write_leaves_the_old_files_and_nothing_half_written(tmp_path, monkeypatch):
    before = digests(generate_landscape(tmp_path, size=200))

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "write_outlines", fail)
    with pytest.raises(OutputError, match=r"needs about .* MB there.*No space left"):
        generate_landscape(tmp_path, size=300, overwrite=True)
    assert files_in(tmp_path) == NAMES
    with rasterio.open(tmp_path / "scene.tif") as scene:
        assert scene.shape == (200, 200)
    assert len(before) == 4


def test_a_full_disk_is_noticed_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(write.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10_000_000))
    with pytest.raises(OutputError, match=r"needs about 59 MB there: too little space is free"):
        generate_landscape(tmp_path, size=4096)
    assert files_in(tmp_path) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "here").write_text("")
    with pytest.raises(OutputError, match="Give a folder with room"):
        generate_landscape(tmp_path / "here", size=100)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size=0 cannot work"),
        ({"seed": -1}, "seed=-1 cannot work"),
        ({"cell_size": 30.0}, r"use 0\.1 to 5\.0 metres"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path, settings, message):
    with pytest.raises(SettingError, match=message):
        generate_landscape(tmp_path, **settings)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:2263"])
def test_a_crs_that_is_not_in_metres_is_refused(tmp_path, crs):
    with pytest.raises(CrsError, match="does not measure in metres"):
        generate_landscape(tmp_path, size=100, crs=crs)


def test_a_scene_lies_where_its_crs_is_made_for(tmp_path):
    landscape = generate_landscape(tmp_path, size=100, crs="EPSG:25832")
    degrees = geopandas.read_parquet(landscape.labels_wgs84).total_bounds
    assert 6 < degrees[0] < degrees[2] < 16
    assert 38 < degrees[1] < degrees[3] < 84
