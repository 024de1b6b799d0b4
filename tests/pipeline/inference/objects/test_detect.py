"""detect_objects on rasters and settings of all kinds, and after it was cut off."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from torch import nn

from rasterloom.models import from_torch
from rasterloom.models.errors import (
    ModelMismatchError,
    OutputExistsError,
    PackageError,
    SettingError,
)
from rasterloom.pipeline import classify_pixels, detect_objects
from rasterloom.pipeline.inference.estimate import Estimate
from tests.support.detectors import UTM, colour_model, found_boxes, painted, write_scene
from tests.support.functions import BOXES, pack, write_function
from tests.support.models import random_model

SCENE = [(2, 3, 14, 9), (20, 20, 36, 33), (40, 5, 47, 18), (52, 30, 61, 44), (10, 40, 11, 41)]
SHAPE = (50, 66)


class Fixed(nn.Module):
    """Finds the same things in every image."""

    def __init__(self, boxes: Any, scores: Any, labels: Any = None) -> None:
        super().__init__()
        self.boxes, self.scores = torch.tensor(boxes).float().reshape(-1, 4), torch.tensor(scores)
        self.labels = torch.tensor(labels or [1] * len(scores)).long()

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        return [{"boxes": self.boxes, "scores": self.scores, "labels": self.labels} for _ in images]


def _fixed(boxes: Any, scores: Any, labels: Any = None) -> Any:
    return from_torch(Fixed(boxes, scores, labels), task="objects", classes=["a", "b"], bands=1, tile_size=32)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "scene.tif", painted(SHAPE, SCENE))


def _find(scene: Any, model: Any, output: Path, arguments: Any = None, **changes: Any) -> Any:
    given = {"padding": 8} | (arguments or {})
    return geopandas.read_parquet(detect_objects(scene, model, given, output, progress=False, **changes))


def test_the_name_of_the_layer_is_made_of_the_rasters(scene: Path) -> None:
    assert detect_objects(scene, colour_model(), progress=False) == str(
        scene.with_name("scene_objects.parquet")
    )
    assert not list(scene.parent.glob("_run/*/tiles")), "nothing is left but the layer and the story"
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        detect_objects(scene, colour_model(), progress=False)


def test_a_layer_tells_class_and_confidence(scene: Path, tmp_path: Path) -> None:
    found = _find(scene, colour_model(classes={3: "odd", 7: "even"}), tmp_path / "o.parquet")
    assert {*found.columns} >= {"OID", "Class", "ClassValue", "Confidence", "Cut"}
    assert sorted(found["OID"]) == [1, 2, 3, 4, 5]
    assert set(zip(found["Class"], found["ClassValue"], strict=True)) == {("odd", 3), ("even", 7)}
    assert sorted(found["Confidence"]) == pytest.approx([51, 52, 53, 54, 55])
    assert found.crs.to_epsg() == 32633


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (Affine.translation(5e5, 5e6) * Affine.rotation(30) * Affine.scale(2, -2), "EPSG:32633"),
        (Affine(1e-5, 0, 15.0, 0, -1e-5, 48.0), "EPSG:4326"),
        (Affine(2, 0, 5e5, 0, 2, 5e6), "EPSG:32633"),  # north is down
    ],
)
def test_outlines_follow_the_grid_wherever_it_lies(tmp_path: Path, transform: Affine, crs: str) -> None:
    path = write_scene(tmp_path / "s.tif", painted(SHAPE, SCENE), transform=transform, crs=crs)
    found = _find(path, colour_model(), tmp_path / "o.parquet")
    assert found.crs == crs
    back = ~transform
    matrix = [back.a, back.b, back.d, back.e, back.c, back.f]
    pixels = found.geometry.affine_transform(matrix)
    wanted = sorted(SCENE)
    assert sorted(tuple(box) for box in pixels.bounds.round(3).to_numpy().tolist()) == wanted
    assert shapely.area(pixels.to_numpy()).sum() == pytest.approx(
        sum((c - a) * (d - b) for a, b, c, d in SCENE)
    )
    assert all(shape.exterior.is_ccw for shape in found.geometry)


@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".geojson", ".fgb", ".shp"])
def test_without_findings_there_is_an_empty_layer_with_all_fields(tmp_path: Path, suffix: str) -> None:
    path = write_scene(tmp_path / "s.tif", painted(SHAPE, []))
    output = detect_objects(path, colour_model(), None, tmp_path / f"o{suffix}", progress=False)
    found = geopandas.read_parquet(output) if suffix == ".parquet" else geopandas.read_file(output)
    assert len(found) == 0
    if suffix != ".geojson":  # it names fields with features only
        assert {"Class", "ClassValue", "Confidence", "Cut"} <= set(found.columns)


def test_scores_that_are_no_numbers_are_counted_and_left_out(scene: Path, tmp_path: Path) -> None:
    model = _fixed([[4, 4, 9, 9], [10, 10, 14, 14], [15, 5, 15, 9]], [float("nan"), 0.9, 0.9])
    with pytest.warns(UserWarning, match="40 detections were left out: their score"):
        found = _find(scene, model, tmp_path / "o.parquet", {"exclude_pad_detections": False})
    assert (found["Confidence"] > 80).all()


def test_scores_that_are_no_shares_are_refused(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelMismatchError, match=r"scores from 0.9 to 7.3, .* sigmoid or softmax"):
        _find(scene, _fixed([[4, 4, 9, 9], [1, 1, 3, 3]], [0.9, 7.3]), tmp_path / "o.parquet")


def test_boxes_of_any_size_end_with_the_raster(scene: Path, tmp_path: Path) -> None:
    found = _find(scene, _fixed([[-1e9, -1e9, 1e9, 1e9]], [0.9]), tmp_path / "o.parquet")
    assert found_boxes(found) == [(0, 0, SHAPE[1], SHAPE[0])]
    assert not found["Cut"].any()


def test_nodata_holds_nothing(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "s.tif", painted(SHAPE, SCENE))
    with rasterio.open(path, "r+") as file:
        file.nodata = 2  # the second box
    found = _find(path, colour_model(), tmp_path / "o.parquet")
    assert sorted(found_boxes(found)) == sorted(SCENE[:1] + SCENE[2:])


def test_an_extent_and_a_mask_hold_what_has_its_centre_there(scene: Path, tmp_path: Path) -> None:
    def inside(box: tuple[int, ...], window: tuple[float, ...]) -> bool:
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        return window[0] <= x < window[2] and window[1] <= y < window[3]

    window = (0.0, 0.0, 43.0, 29.0)
    (west, north), (east, south) = UTM @ window[:2], UTM @ window[2:]
    wanted = sorted(box for box in SCENE if inside(box, window))
    assert 0 < len(wanted) < len(SCENE)
    extent = {"extent": (west, south, east, north)}
    area = geopandas.GeoDataFrame(geometry=[shapely.box(west, south, east, north)], crs="EPSG:32633")
    for number, context in enumerate([extent, {"mask": area}]):
        found = _find(scene, colour_model(), tmp_path / f"{number}.parquet", context=context)
        assert sorted(found_boxes(found)) == wanted


def test_turning_the_chips_changes_nothing_for_a_detector_that_makes_no_mistakes(
    scene: Path, tmp_path: Path
) -> None:
    for policy in ("mean", "max", "min"):
        arguments = {"test_time_augmentation": "true", "merge_policy": policy}
        found = _find(scene, colour_model(masks=True), tmp_path / f"{policy}.parquet", arguments)
        assert sorted(found_boxes(found)) == sorted(SCENE)


def test_suppression_at_the_end_takes_what_the_seams_left(scene: Path, tmp_path: Path) -> None:
    # two classes: only suppression over all things can tell that one is in the other's place
    model = _fixed([[8, 8, 24, 24], [8, 8, 24, 22]], [0.9, 0.8], [1, 2])
    plain = _find(scene, model, tmp_path / "a.parquet")
    assert set(plain["Class"]) == {"a", "b"}
    kept = _find(scene, model, tmp_path / "b.parquet", run_nms=True, class_value_field="Cut")
    assert set(kept["Class"]) == {"a"}
    same = _find(scene, model, tmp_path / "c.parquet", run_nms=True, max_overlap_ratio=0.5)
    assert len(same) == len(plain)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_arguments": {"threshold": 2}}, "threshold=2"),
        ({"model_arguments": {"paddding": 2}}, "takes tile_size, padding, batch_size, threshold"),
        ({"model_arguments": {"padding": 16}}, "padding=16 leaves nothing"),
        ({"model_arguments": {"merge_policy": "sum"}}, "use mean, max, min"),
        ({"max_overlap_ratio": 0.5}, "pass run_nms=True"),
        ({"class_value_field": "Class"}, "pass run_nms=True"),
        ({"run_nms": True, "confidence_score_field": "Class"}, "use 'Confidence'"),
        ({"run_nms": True, "class_value_field": "kind"}, "it has Class, ClassValue, Confidence, Cut"),
        ({"run_nms": True, "max_overlap_ratio": 2}, "max_overlap_ratio=2"),
        ({"context": {"masks": 1}}, "context has no key 'masks'"),
        ({"output_name": "found.tif"}, "no vector format"),
        ({"gis": object()}, "no portal"),
        ({"speed": 1}, "detect_objects has no argument 'speed'"),
        ({"estimate": True, "process_all_raster_items": True}, "prices one raster"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(
    scene: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    output = tmp_path / changes.pop("output_name", "o.parquet")
    with pytest.raises(SettingError, match=message):
        detect_objects(scene, colour_model(), output_name=output, progress=False, **changes)
    assert not (tmp_path / "_run").exists()


def test_a_model_for_pixels_is_refused_and_a_detector_classifies_no_pixels(
    scene: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelMismatchError, match="a model for pixels, and this tool finds objects"):
        detect_objects(scene, random_model(), None, tmp_path / "o.parquet", progress=False)
    with pytest.raises(ModelMismatchError, match="a model for objects, and this tool classifies pixels"):
        classify_pixels(scene, colour_model(), None, tmp_path / "o.tif", progress=False)


def test_every_raster_of_a_folder_has_a_layer_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, boxes in (("a", SCENE[:2]), ("b", SCENE[2:])):
        write_scene(tmp_path / "in" / f"{name}.tif", painted(SHAPE, boxes))
    given: dict[str, Any] = {"process_all_raster_items": True, "progress": False}
    paths = detect_objects(tmp_path / "in", colour_model(), {"padding": 8}, tmp_path / "out", **given)
    assert [Path(path).name for path in paths] == ["a_objects.parquet", "b_objects.parquet"]
    assert [len(geopandas.read_parquet(path)) for path in paths] == [2, 3]
    assert detect_objects(tmp_path / "in", colour_model(), {"padding": 8}, tmp_path / "out", **given) == paths


def test_a_future_tells_how_far_it_is_and_an_estimate_writes_nothing(scene: Path, tmp_path: Path) -> None:
    price = detect_objects(scene, colour_model(), {"padding": 8}, tmp_path / "o.parquet", estimate=True)
    assert isinstance(price, Estimate)
    assert (price.chips, price.pixels, price.bytes_written) == (4 * 5, SHAPE[0] * SHAPE[1], 0)
    assert not (tmp_path / "o.parquet").exists()
    job = detect_objects(scene, colour_model(), {"padding": 8}, tmp_path / "o.parquet", future=True)
    assert len(geopandas.read_parquet(job.result(60))) == len(SCENE)


def test_an_inference_function_of_another_author_finds_things_across_tiles(tmp_path: Path) -> None:
    boxes = [(12, 12, 20, 20), (20, 80, 30, 90), (60, 20, 70, 34)]  # two lie on seams
    image = (painted((90, 100), boxes) > 0) * np.uint8(250)
    path = write_scene(tmp_path / "s.tif", image)
    classes = [{"Value": 4, "Name": "bright", "Color": [1, 2, 3]}]
    package = pack(write_function(tmp_path / "f", "Boxes", BOXES, Classes=classes))
    with pytest.raises(PackageError, match="trust=True"):
        detect_objects(path, package, None, tmp_path / "o.parquet", progress=False)
    with pytest.raises(PackageError, match="trust=True"):
        detect_objects(path, package, estimate=True)
    price = detect_objects(path, package, estimate=True, trust=True)
    assert (price.pixels, price.bytes_written) == (90 * 100, 0)
    assert price.chips == 3 * 4, "tiles of 32 pixels"
    assert price.seconds > 0
    contents = set()
    for cell in (None, 32):
        output = tmp_path / f"{cell}.parquet"
        detect_objects(path, package, None, output, progress=False, trust=True, cell_size=cell)
        contents.add(output.read_bytes())
    assert len(contents) == 1
    found = geopandas.read_parquet(output)
    assert sorted(found_boxes(found)) == boxes
    assert set(found["ClassValue"]) == {4}
    assert set(found["Confidence"]) == {87.5}


_SLOW_RUN = """
import sys, time
from rasterloom.pipeline.inference.objects import batch
from rasterloom.pipeline.inference.objects.detect import detect_objects
write = batch.ObjectCells.write
def slowly(*args):
    time.sleep(0.1)
    write(*args)
batch.ObjectCells.write = slowly
detect_objects(sys.argv[1], sys.argv[2], {"padding": 8}, sys.argv[3], cell_size=16, progress=False,
               trust=True)
"""


def test_a_killed_run_goes_on_where_it_stopped_and_ends_the_same(tmp_path: Path) -> None:
    boxes = [(x, y, x + 7, y + 9) for x in range(0, 100, 11) for y in range(0, 120, 13)]
    path = write_scene(tmp_path / "s.tif", painted((130, 110), boxes))
    package = colour_model().save(tmp_path / "colours", pickled=True)
    given: dict[str, Any] = {"cell_size": 16, "progress": False, "trust": True}
    (tmp_path / "whole").mkdir()
    whole = Path(detect_objects(path, package, {"padding": 8}, tmp_path / "whole" / "o.parquet", **given))
    words = [sys.executable, "-c", _SLOW_RUN, str(path), str(package), str(tmp_path / "o.parquet")]
    process = subprocess.Popen(
        words, cwd=Path(__file__).parents[4], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    while len(list(tmp_path.glob("_run/*/done/*.json"))) < 5 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it should not have ended by itself"
    assert not (tmp_path / "o.parquet").exists()
    done = len(list(tmp_path.glob("_run/*/done/*.json")))
    assert done >= 5
    again = Path(detect_objects(path, package, {"padding": 8}, tmp_path / "o.parquet", **given))
    assert again.read_bytes() == whole.read_bytes()
    (story,) = tmp_path.glob("_run/*/run.json")
    assert f'"resumed": {done}' in story.read_text()
