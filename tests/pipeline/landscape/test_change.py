"""A landscape at two dates in a folder."""

import hashlib

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize

from rasterloom.models.errors import OutputExistsError, SettingError
from rasterloom.pipeline import generate_change
from rasterloom.pipeline.landscape.classes import BANDS, CHANGE_CLASSES

SIZE = 700
NAMES = ["after.tif", "before.tif", "change.tif", "changes.parquet"]


@pytest.fixture(scope="module")
def dates(tmp_path_factory):
    return generate_change(tmp_path_factory.mktemp("dates"), size=SIZE, seed=3)


def digests(dates):
    paths = (dates.before, dates.after, dates.labels, dates.truth)
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def test_the_folder_holds_both_dates_and_what_changed(dates):
    assert sorted(path.name for path in dates.before.parent.iterdir()) == NAMES
    assert dates.classes == CHANGE_CLASSES
    assert dates.size == SIZE
    with rasterio.open(dates.before) as before, rasterio.open(dates.after) as after:
        assert before.shape == after.shape == (SIZE, SIZE)
        assert before.transform == after.transform
        assert before.crs == after.crs
        assert before.descriptions == after.descriptions == BANDS
        assert (before.read() != after.read()).mean() > 0.8


def test_burning_the_outlines_in_file_order_gives_the_truth(dates):
    frame = geopandas.read_parquet(dates.labels)
    with rasterio.open(dates.truth) as truth:
        pairs = zip(frame.geometry, frame["classvalue"], strict=True)
        burned = rasterize(pairs, out_shape=truth.shape, transform=truth.transform, dtype="uint8")
        assert np.array_equal(burned, truth.read(1))
        assert set(np.unique(burned)) == {0, 1, 2}
        assert truth.colormap(1)[1] == (*CHANGE_CLASSES[0].color, 255)
    assert set(zip(frame["classvalue"], frame["classname"], strict=True)) == {(1, "Built"), (2, "Gone")}


def test_the_same_call_gives_the_same_files_and_files_are_replaced_on_demand(dates, tmp_path):
    again = generate_change(tmp_path, size=SIZE, seed=3)
    assert digests(again) == digests(dates)
    with pytest.raises(OutputExistsError, match=r"already holds before\.tif.*overwrite=True"):
        generate_change(tmp_path, size=100)
    assert generate_change(tmp_path, size=100, overwrite=True).size == 100
    assert sorted(path.name for path in tmp_path.iterdir()) == NAMES


def test_a_larger_scene_holds_a_smaller_one(dates, tmp_path):
    smaller = generate_change(tmp_path, size=200, seed=3)
    for name in ("before", "after", "truth"):
        with rasterio.open(getattr(smaller, name)) as part, rasterio.open(getattr(dates, name)) as whole:
            assert np.array_equal(part.read(), whole.read()[:, :200, :200])


def test_progress_counts_blocks_and_numbers_out_of_range_are_refused(tmp_path):
    seen = []
    generate_change(tmp_path, size=600, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(SettingError, match="size=0"):
        generate_change(tmp_path / "none", size=0)
