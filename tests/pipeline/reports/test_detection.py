"""Detections are judged as pycocotools judges one image, and everything is written."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pytest
import rasterio
import shapely
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rasterio.transform import from_origin

from rasterloom.models.errors import MissingInputError, OutputExistsError, SettingError
from rasterloom.pipeline import compute_accuracy_for_object_detection
from rasterloom.pipeline.reports.detection import AccuracyEstimate
from rasterloom.pipeline.reports.detection_scores import DetectionAccuracy


def _scene(seed: int = 0, rows: int = 60) -> tuple[Any, Any]:
    """True boxes of two classes, and detections near most of them and elsewhere."""
    random = np.random.default_rng(seed)
    corner, size = random.integers(0, 200, (rows, 2)), random.integers(4, 20, (rows, 2))
    true = np.concatenate([corner, corner + size], axis=1).astype(float)
    found = np.concatenate([true[: rows * 3 // 4], true[:10] + 100])
    found[:, 2:] += random.integers(0, 6, (len(found), 2))
    values = random.integers(1, 3, rows)
    labels = np.concatenate([values[: rows * 3 // 4], values[:10]])
    truth = geopandas.GeoDataFrame({"Classvalue": values}, geometry=shapely.box(*true.T), crs=32633)
    names = np.array(["", "house", "tree"], object)[labels]
    columns = {"Class": names, "ClassValue": labels, "Confidence": random.integers(1, 100, len(found)) / 1.0}
    return geopandas.GeoDataFrame(columns, geometry=shapely.box(*found.T), crs=32633), truth


def _annotations(frame: Any, field: str) -> dict[str, Any]:
    rows = zip(frame.bounds.to_numpy().tolist(), frame[field].tolist(), strict=True)
    listed = [
        {
            "id": number,
            "image_id": 1,
            "category_id": value,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": 1.0,
            "iscrowd": 0,
        }
        for number, ((x1, y1, x2, y2), value) in enumerate(rows, 1)
    ]
    for each, score in zip(listed, frame.get("Confidence", []), strict=False):
        each["score"] = score
    return {"images": [{"id": 1}], "categories": [{"id": 1}, {"id": 2}], "annotations": listed}


def _coco(found: Any, truth: Any) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        true, given = COCO(), COCO()
        true.dataset, given.dataset = _annotations(truth, "Classvalue"), _annotations(found, "ClassValue")
        true.createIndex()
        given.createIndex()
        judge = COCOeval(true, given, "bbox")
        judge.params.maxDets = [1, 10, 100_000]
        judge.evaluate()
        judge.accumulate()
    return judge


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_pycocotools(seed: int) -> None:
    found, truth = _scene(seed, rows=200)
    result = compute_accuracy_for_object_detection(found, truth)
    precision = _coco(found, truth).eval["precision"][:, :, :, 0, 2]  # (overlap, recall, class)
    assert result.coco == pytest.approx(precision.mean(), abs=1e-12)
    assert result.average_precision == pytest.approx(precision[0].mean(), abs=1e-12)
    for score, number in zip(result.per_class, (0, 1), strict=True):
        assert score.average_precision == pytest.approx(precision[0, :, number].mean(), abs=1e-12)
        np.testing.assert_allclose(result.curves[score.name], precision[0, :, number], atol=1e-12)
    strict = compute_accuracy_for_object_detection(found, truth, min_iou=0.75)
    assert strict.average_precision == pytest.approx(precision[5].mean(), abs=1e-12)


def test_counts_add_up_and_classes_go_by_name() -> None:
    found, truth = _scene()
    result = compute_accuracy_for_object_detection(found, truth)
    assert [score.name for score in result.per_class] == ["house", "tree"]
    assert result.overall.detected == len(found)
    assert result.overall.truth == len(truth)
    assert result.precision == result.overall.true_positives / len(found)
    assert result.recall == result.overall.true_positives / len(truth)
    expected = 2 * result.precision * result.recall / (result.precision + result.recall)
    assert result.f1 == pytest.approx(expected)
    assert json.loads(json.dumps(result.to_json()))["overall"]["F1"] == pytest.approx(result.f1)


def test_the_truth_found_exactly_is_perfect_in_any_crs() -> None:
    _, truth = _scene()
    same = truth.rename(columns={"Classvalue": "ClassValue"}).assign(Confidence=1.0).to_crs(32634)
    # beside its zone a box is turned a little: its outline is the same, its bounding box grows alike
    result = compute_accuracy_for_object_detection(same, truth, overlap="outlines")
    assert (result.precision, result.recall, result.coco) == (1.0, 1.0, 1.0)


def test_outputs_stand_beside_the_detections_and_agree_with_the_figures(tmp_path: Path) -> None:
    found, truth = _scene()
    found.to_parquet(tmp_path / "found.parquet")
    truth.to_crs(4326).to_file(tmp_path / "truth.gpkg")
    result = compute_accuracy_for_object_detection(
        tmp_path / "found.parquet", tmp_path / "truth.gpkg", out_accuracy_report_name=tmp_path / "report"
    )
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "found.parquet",
        "found_accuracy.csv",
        "found_accuracy_objects.parquet",
        "report.html",
        "truth.gpkg",
    ]
    table = pandas.read_csv(tmp_path / "found_accuracy.csv")
    assert table["Class"].tolist() == ["house", "tree", "All classes"]
    assert table["F1"].tolist()[-1] == pytest.approx(result.f1)
    objects = geopandas.read_parquet(result.features)
    assert objects.crs.to_epsg() == 32633
    counts = objects.groupby(["Class", "Result"]).size()
    for score in result.per_class:
        assert counts[score.name].to_dict() == {
            "true positive": score.true_positives,
            "false positive": score.false_positives,
            "miss": score.misses,
        }
    assert (objects.loc[objects["Result"] == "true positive", "IoU"] >= 0.5).all()
    assert objects.loc[objects["Result"] == "miss", "Confidence"].isna().all()
    with pytest.raises(OutputExistsError, match=r"found_accuracy\.csv exists"):
        compute_accuracy_for_object_detection(tmp_path / "found.parquet", truth)


def test_names_may_be_given_as_in_the_reference(tmp_path: Path) -> None:
    found, truth = _scene()
    result = compute_accuracy_for_object_detection(
        found,
        truth,
        detected_class_value_field="ClassValue",
        ground_truth_class_value_field="Classvalue",
        min_iou=0.5,
        out_accuracy_table_name=str(tmp_path / "table.parquet"),
        out_accuracy_report_name={"uri": str(tmp_path / "report.pdf")},
        out_features_name=tmp_path / "judged.gpkg",
    )
    assert pandas.read_parquet(result.table)["True_Positive"].tolist()[-1] == result.overall.true_positives
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert len(geopandas.read_file(result.features)) == len(found) + result.overall.misses


def test_a_mask_leaves_out_what_is_not_completely_within_it(tmp_path: Path) -> None:
    found, truth = _scene(rows=200)
    mask = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 120, 120)], crs=32633)
    masked = compute_accuracy_for_object_detection(found, truth, mask_features=mask)
    inside = truth.within(mask.geometry[0])
    assert masked.overall.truth == inside.sum()
    assert masked.not_counted[1] == (~inside).sum()
    extent = compute_accuracy_for_object_detection(found, truth, context={"extent": (0, 0, 120, 120)})
    assert extent.to_json() == masked.to_json()


def test_a_detection_over_the_masks_border_is_right_where_it_matches_and_else_uncounted() -> None:
    mask = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 10, 10)], crs=32633)
    truth = geopandas.GeoDataFrame(geometry=[shapely.box(4, 4, 10, 10), shapely.box(8, 0, 12, 3)], crs=32633)
    found = geopandas.GeoDataFrame(
        {"Confidence": [3.0, 2.0, 1.0]},
        # over the border upon a true object within; within upon one over the border; over it, upon nothing
        geometry=[shapely.box(4, 4, 11, 10), shapely.box(8, 0, 10, 3), shapely.box(9, 7, 12, 9)],
        crs=32633,
    )
    result = compute_accuracy_for_object_detection(found, truth, mask_features=mask)
    assert (result.overall.true_positives, result.overall.false_positives, result.overall.misses) == (1, 0, 0)
    assert result.not_counted == (2, 1)


def test_without_confidences_there_is_no_average_precision(tmp_path: Path) -> None:
    found, truth = _scene()
    report = tmp_path / "report.html"
    result = compute_accuracy_for_object_detection(
        found.drop(columns="Confidence"), truth, out_accuracy_report_name=report
    )
    assert np.isnan([result.average_precision, result.coco]).all()
    assert result.f1 > 0.5
    assert result.curves == {}
    assert "cannot be ranked" in report.read_text()
    named = compute_accuracy_for_object_detection(
        found.rename(columns={"Confidence": "p"}), truth, confidence_score_field="p"
    )
    assert named.coco == compute_accuracy_for_object_detection(found, truth).coco


def test_classes_of_one_side_are_named_and_counted() -> None:
    found, truth = _scene()
    with pytest.warns(UserWarning, match=r"\['2'\] are classes of the truth"):
        result = compute_accuracy_for_object_detection(found[found["ClassValue"] == 1], truth)
    tree, house = result.per_class
    assert (tree.name, tree.recall, tree.average_precision) == ("2", 0.0, 0.0)
    assert result.average_precision == house.average_precision / 2
    with pytest.warns(UserWarning, match=r"\['2'\] are detected classes"):
        result = compute_accuracy_for_object_detection(found, truth[truth["Classvalue"] == 1])
    house, tree = result.per_class
    assert tree.precision == 0
    assert np.isnan(tree.average_precision)
    assert result.average_precision == house.average_precision


def test_nothing_detected_and_nothing_true_have_figures(tmp_path: Path) -> None:
    found, truth = _scene()
    nothing = compute_accuracy_for_object_detection(
        found[:0], truth, out_accuracy_report_name=tmp_path / "a.html"
    )
    assert nothing.recall == 0
    assert np.isnan(nothing.precision)
    assert nothing.coco == 0
    empty = compute_accuracy_for_object_detection(
        found, truth[:0], out_accuracy_report_name=tmp_path / "b.pdf"
    )
    assert empty.precision == 0
    assert np.isnan(empty.coco)


def test_a_report_shows_the_ground_around_the_worst_misses(tmp_path: Path) -> None:
    found, truth = _scene()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 230, 230), np.uint8)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "height": 230, "width": 230, "crs": 32633}
    with rasterio.open(tmp_path / "a.tif", "w", transform=from_origin(0, 230, 1, 1), **profile) as target:
        target.write(pixels)
    report = tmp_path / "report.html"
    result = compute_accuracy_for_object_detection(
        found.to_crs(4326), truth, out_accuracy_report_name=report, raster=tmp_path / "a.tif"
    )
    text = report.read_text()
    shown = min(result.overall.misses, 12)
    assert 0 < text.count("The image around one") <= shown + min(result.overall.false_positives, 12)
    assert text.count('<img src="data:image/png') == text.count("<img ")
    assert 'src="http' not in text
    assert 'href="http' not in text
    assert "The worst misses" in text


def test_the_work_may_be_priced_or_done_in_the_background(tmp_path: Path) -> None:
    found, truth = _scene()
    found.to_file(tmp_path / "found.fgb")
    priced = compute_accuracy_for_object_detection(tmp_path / "found.fgb", truth, estimate=True)
    assert isinstance(priced, AccuracyEstimate)
    assert (priced.detections, priced.truth) == (len(found), len(truth))
    assert [each.name for each in tmp_path.iterdir()] == ["found.fgb"]
    job = compute_accuracy_for_object_detection(tmp_path / "found.fgb", truth, future=True)
    assert isinstance(job.result(60), DetectionAccuracy)
    assert job.progress == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"min_iou": 0}, "min_iou=0 cannot work"),
        ({"min_iou": "half"}, "min_iou='half' cannot work"),
        ({"gis": "portal"}, "gis takes only None"),
        ({"speed": 3}, "no argument 'speed'"),
        ({"overlap": "areas"}, "use 'boxes' or 'outlines'"),
        ({"context": {"extend": 1}}, "context has no key 'extend'"),
        ({"out_accuracy_table_name": "a.xls"}, r"end it in \.csv or \.parquet"),
        ({"out_accuracy_report_name": "a.doc"}, r"end it in \.html or \.pdf"),
        ({"out_accuracy_report_name": {"path": "a.pdf"}}, "names no output"),
        ({"out_features_name": "a.csv"}, r"ends in \.csv"),
    ],
)
def test_arguments_that_cannot_work_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        compute_accuracy_for_object_detection(*_scene(), **settings)


def test_a_layer_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"gone\.gpkg is not there"):
        compute_accuracy_for_object_detection(tmp_path / "gone.gpkg", _scene()[1])


def test_real_outlines_found_a_little_off_are_right_at_half_and_not_at_nine_tenths(data_folder: Path) -> None:
    (path,) = (data_folder / "buildings_banepa" / "train" / "osm").glob("*.geojson")
    truth = geopandas.read_file(path)[["geometry"]]
    west, south, east, north = truth.bounds.to_numpy().T
    moved = shapely.box(west + (east - west) / 10, south, east + (east - west) / 10, north)
    found = geopandas.GeoDataFrame({"score": np.linspace(0, 1, len(truth))}, geometry=moved, crs=truth.crs)
    # 0.9 / 1.1 of each box is shared
    assert compute_accuracy_for_object_detection(found, path).recall > 0.99
    assert compute_accuracy_for_object_detection(found, path, min_iou=0.9).recall < 0.05
