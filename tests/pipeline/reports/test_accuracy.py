"""A class map counted against labels."""

import json
import math
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.features import rasterize
from shapely.geometry import box

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import LabelError, RasterError
from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.reports import counting
from rasterloom.pipeline.reports.accuracy import PixelAccuracy, assess_pixels
from tests.support.labels import square_labels
from tests.support.rasters import write_pixels

WEST, NORTH = 500000.0, 5000000.0


def class_map(path: Path, values: np.ndarray, *, nodata: int | None = 255, classes: Any = None) -> Path:
    write_pixels(path, values[None].astype("uint8"), nodata=nodata)
    if classes is not None:
        with rasterio.open(path, "r+") as target:
            target.update_tags(CLASSES=json.dumps(classes))
    return path


def burned(labels: geopandas.GeoDataFrame, shape: tuple[int, int]) -> np.ndarray:
    """The naive truth: all features at once, with rasterio itself."""
    pairs = zip(labels.geometry, labels.classvalue, strict=True)
    affine = rasterio.Affine(1, 0, WEST, 0, -1, NORTH)
    return rasterize(pairs, out_shape=shape, transform=affine, dtype="uint8")


def random_map(shape: tuple[int, int], seed: int = 1, most: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, most + 1, shape).astype("uint8")


def land(*patches: tuple[int, int, int, int, int]) -> geopandas.GeoDataFrame:
    """Rectangles (value, row, col, row_stop, col_stop)."""
    shapes = [box(WEST + c, NORTH - r2, WEST + c2, NORTH - r) for _, r, c, r2, c2 in patches]
    return geopandas.GeoDataFrame({"classvalue": [p[0] for p in patches]}, geometry=shapes, crs="EPSG:32633")


def assess(class_map: Any, labels: Any, **settings: Any) -> PixelAccuracy:
    return assess_pixels(class_map, labels, progress=False, **settings)


def test_counts_equal_those_of_the_whole_map_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "SIDE", 37)
    labels = square_labels(height=150, width=110)
    given = random_map((150, 110))
    given[:9] = 255
    found = assess(class_map(tmp_path / "map.tif", given), labels, background=True)
    truth, valid = burned(labels, given.shape), given != 255
    assert found.confusion == Confusion.of(truth[valid], given[valid], (0, 1, 2, 3))


def test_the_cluster_counts_the_same(tmp_path: Path, client: Any) -> None:
    labels, given = square_labels(height=80, width=90), random_map((80, 90))
    path = class_map(tmp_path / "map.tif", given)
    assert assess(path, labels, client=client) == assess(path, labels)
    assert [p.name for p in tmp_path.iterdir()] == ["map.tif"], "what was needed meanwhile is removed"


def test_labels_in_another_crs_count_the_same(tmp_path: Path) -> None:
    labels, given = square_labels(height=80, width=90), random_map((80, 90))
    path = class_map(tmp_path / "map.tif", given)
    moved = assess(path, labels.to_crs("EPSG:4326")).confusion.counts
    assert np.abs(moved - assess(path, labels).confusion.counts).sum() < 0.01 * given.size


def test_a_class_raster_serves_as_labels_and_its_nodata_does_not_count(tmp_path: Path) -> None:
    truth, given = random_map((60, 50), seed=2), random_map((60, 50), seed=3)
    truth[:, :20] = 200
    write_pixels(tmp_path / "truth.tif", truth[None], nodata=200)
    found = assess(class_map(tmp_path / "map.tif", given), tmp_path / "truth.tif", background=True)
    valid = truth != 200
    assert found.confusion == Confusion.of(truth[valid], given[valid], (0, 1, 2, 3))


def test_only_the_extent_counts(tmp_path: Path) -> None:
    labels, given = square_labels(height=60, width=60), random_map((60, 60))
    extent = (WEST + 10, NORTH - 50, WEST + 40, NORTH - 20)
    found = assess(class_map(tmp_path / "map.tif", given), labels, extent=extent, background=True)
    part = (slice(20, 50), slice(10, 40))
    assert found.confusion == Confusion.of(burned(labels, given.shape)[part], given[part], (0, 1, 2, 3))


def test_a_perfect_map_scores_one(tmp_path: Path) -> None:
    labels = square_labels(height=60, width=60)
    found = assess(class_map(tmp_path / "map.tif", burned(labels, (60, 60))), labels)
    assert found.mean_iou == found.mean_f1 == found.overall == 1.0
    assert math.fsum(score.share for score in found.per_class) == pytest.approx(1.0)


def test_ground_around_buildings_is_background(tmp_path: Path) -> None:
    given = np.zeros((50, 50))
    given[10:20, 10:20] = 1
    found = assess(class_map(tmp_path / "map.tif", given), land((1, 10, 10, 20, 30)))
    assert found.background
    assert [score.value for score in found.per_class] == [0, 1]
    assert {s.value: s.iou for s in found.per_class} == pytest.approx({0: 2300 / 2400, 1: 0.5})


def test_where_labels_all_but_cover_the_ground_what_is_bare_is_unknown(tmp_path: Path) -> None:
    given = np.ones((50, 50))
    given[:, 25:] = 2
    given[0, 30:35] = 0
    labels = land((1, 0, 0, 50, 25), (2, 0, 25, 50, 50)).iloc[:2]
    labels.geometry = labels.geometry.difference(
        box(WEST, NORTH - 50, WEST + 10, NORTH - 49)
    )  # 10 of 2500 pixels
    found = assess(class_map(tmp_path / "map.tif", given), labels)
    assert not found.background
    assert [score.value for score in found.per_class] == [1, 2]
    assert found.confusion.total == 2490
    assert found.per_class[1].recall == pytest.approx(1245 / 1250), "a pixel called background is missed"
    assert found.mean_iou == pytest.approx((1 + 1245 / 1250) / 2), "class 0 itself is not scored"


def test_the_caller_decides_about_background(tmp_path: Path) -> None:
    given = np.ones((50, 50))
    path, labels = class_map(tmp_path / "map.tif", given), land((1, 0, 0, 25, 50))
    assert assess(path, labels, background=False).mean_iou == 1.0
    assert assess(path, labels, background=True).mean_iou == pytest.approx(0.25)


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    given = np.full((20, 20), 7)
    given[:, 10:] = 9
    known = [
        {"value": 7, "name": "road", "color": [1, 2, 3]},
        {"value": 9, "name": "water", "color": [0, 0, 9]},
    ]
    path = class_map(tmp_path / "map.tif", given, classes=known)
    labels = land((0, 0, 0, 20, 10), (0, 0, 10, 20, 20)).assign(kind=["road", "water"])
    found = assess(path, labels, class_field="kind")
    assert [(s.value, s.name, s.color, s.iou) for s in found.per_class] == [
        (7, "road", (1, 2, 3), 1.0),
        (9, "water", (0, 0, 9), 1.0),
    ]


def test_names_and_values_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    known = [{"value": 2, "name": "road", "color": [1, 2, 3]}]
    path = class_map(tmp_path / "map.tif", np.full((20, 20), 2), classes=known)
    labels = land((0, 0, 0, 20, 10), (0, 0, 10, 20, 20)).assign(kind=["road", "water"])
    with pytest.raises(LabelError, match="name them alike"):
        assess(path, labels, class_field="kind")


def test_the_caller_names_classes(tmp_path: Path) -> None:
    path = class_map(tmp_path / "map.tif", np.ones((20, 20)))
    named = assess(path, land((1, 0, 0, 20, 20)), classes=[ClassInfo(1, "roof", (9, 9, 9))])
    assert [score.name for score in named.per_class] == ["roof"]


def test_figures_go_to_json_and_those_that_are_none_become_null(tmp_path: Path) -> None:
    known = [{"value": v, "name": n, "color": [0, 0, 0]} for v, n in ((1, "road"), (2, "water"))]
    path = class_map(tmp_path / "map.tif", np.ones((20, 20)), classes=known)
    plain = json.loads(json.dumps(assess(path, land((1, 0, 0, 20, 20))).to_json(), allow_nan=False))
    assert plain["mean_iou"] == 1.0
    assert plain["per_class"]["road"]["iou"] == 1.0
    assert plain["per_class"]["water"]["iou"] is None


def test_a_map_of_decimals_is_refused(tmp_path: Path) -> None:
    path = write_pixels(tmp_path / "map.tif", np.ones((1, 20, 20), "float32"))
    with pytest.raises(RasterError, match="whole"):
        assess(path, land((1, 0, 0, 20, 20)))


def test_nothing_to_count_is_an_error(tmp_path: Path) -> None:
    path = class_map(tmp_path / "map.tif", np.full((20, 20), 255))
    with pytest.raises(LabelError, match="no pixel"):
        assess(path, land((1, 0, 0, 20, 20)))
