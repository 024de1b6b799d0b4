"""What the five detectors learn on a few cores without pretrained weights, against untrained ones."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from defusedxml.ElementTree import parse
from PIL import Image
from shapely.geometry import box

from rasterloom.models.objects.faster_rcnn import FasterRCNN
from rasterloom.models.objects.mask_rcnn import MaskRCNN
from rasterloom.models.objects.retina_net import RetinaNet
from rasterloom.models.objects.ssd import SingleShotDetector
from rasterloom.models.objects.yolo import YOLOv3
from rasterloom.pipeline import export_training_data, prepare_data
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.demo.settings import DemoSettings, split_rows
from rasterloom.pipeline.landscape.classes import BUILDING
from rasterloom.pipeline.landscape.write import generate_landscape
from rasterloom.pipeline.rasters.context import target_grid
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.training.evaluate import evaluate

TILE = 128
RANDOM: dict[str, Any] = {"backbone": "resnet18", "pretrained": False}
DETECTORS = {kind.__name__: kind for kind in (FasterRCNN, RetinaNet, MaskRCNN, SingleShotDetector, YOLOv3)}
_REGIONS = {
    "box_batch_size_per_image": 64,
    "rpn_pre_nms_top_n_train": 1000,
    "rpn_post_nms_top_n_train": 300,
    "rpn_post_nms_top_n_test": 200,
}
SMALLER: dict[str, dict[str, Any]] = {
    "FasterRCNN": _REGIONS,
    "MaskRCNN": {**_REGIONS, "mask_channels": 64},
    # buildings and crowns are 20 to 30 pixels wide here, which are three cells of its usual finest map
    "RetinaNet": {"finest_stride": 4, "pyramid_channels": 128},
    "YOLOv3": {"head_channels": [64, 128, 256]},
}
"""Settings beside the backbone, where the usual ones take long without a GPU."""
EPOCHS, GENERATED_EPOCHS = 12, 24
"""Rounds of 25 batches, on real imagery and on the generated scene."""
GENERATED_LEAST = 0.85
"""Average precision at half overlap that is asked of FasterRCNN and MaskRCNN on generated buildings."""
MARGIN = 0.1
"""What training must add to the average precision at half overlap on real imagery."""
TREE_CELL = 0.1
"""Metres a pixel of the NEON imagery."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.usefixtures("all_cores"),
]


@dataclasses.dataclass(frozen=True)
class Place:
    """A raster, its things, and the grid they are looked at on."""

    name: str
    raster: Path
    things: Any
    context: dict[str, Any]


@pytest.fixture
def minutes(timing: bool) -> None:
    """For what is no test without its figures."""
    if not timing:
        pytest.skip("learning takes minutes: set RASTERLOOM_TIMING=1")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory, timing: bool) -> Place:
    size = 3072 if timing else 768
    scene = generate_landscape(tmp_path_factory.mktemp("scene"), size=size, seed=3, cell_size=0.5)
    features = geopandas.read_parquet(scene.labels)
    buildings = features[features["classvalue"] == BUILDING][["classvalue", "geometry"]]
    return Place("generated buildings", scene.raster, buildings, {})


@pytest.fixture
def banepa(data_folder: Path, minutes: None) -> Place:
    source = data_folder / "buildings_banepa" / "train"
    labels = next((source / "osm").glob("*.geojson"))
    return Place("Banepa", source / "oam", labels, {"cellSize": 0.4, "outSR": "EPSG:32645"})


@pytest.fixture
def trees(data_folder: Path, tmp_path: Path, minutes: None) -> Place:
    """The larger crop, put somewhere on the ground: it says nothing of where it lies."""
    stem = data_folder / "trees_neon" / "2019_YELL_2_541000_4977000_image_crop"
    with Image.open(stem.with_suffix(".png")) as picture:
        pixels = np.moveaxis(np.asarray(picture.convert("RGB")), 2, 0)
    at = rasterio.Affine(TREE_CELL, 0, 541000, 0, -TREE_CELL, 4977000)
    kind = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": "EPSG:32612", "transform": at}
    raster = tmp_path / "trees.tif"
    with rasterio.open(raster, "w", height=pixels.shape[1], width=pixels.shape[2], **kind) as target:
        target.write(pixels)
    bounds = [
        [float(found.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax")]
        for found in parse(stem.with_suffix(".xml")).iter("bndbox")
    ]
    crowns = [box(*(at @ (x1, y2)), *(at @ (x2, y1))) for x1, y1, x2, y2 in bounds]
    return Place(
        "trees", raster, geopandas.GeoDataFrame(geometry=crowns, crs="EPSG:32612"), {"cellSize": 0.2}
    )


@pytest.mark.parametrize("name", ["FasterRCNN", "MaskRCNN"])
def test_generated_buildings_are_found(
    name: str, generated: Place, tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    _, after = _learnt(name, generated, tmp_path, timing, capsys)
    assert not timing or after >= GENERATED_LEAST


@pytest.mark.parametrize("name", DETECTORS)
def test_buildings_of_banepa_are_found_better_after_training(
    name: str, banepa: Place, tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = _learnt(name, banepa, tmp_path, timing, capsys)
    assert not timing or after >= before + MARGIN


@pytest.mark.parametrize("name", DETECTORS)
def test_trees_are_found_better_after_training(
    name: str, trees: Place, tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = _learnt(name, trees, tmp_path, timing, capsys)
    assert not timing or after >= before + MARGIN


def _learnt(
    name: str, place: Place, folder: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> tuple[float, float]:
    """Average precision at half overlap on rows that were not trained on, before training and after."""
    data, judged = _chips(place, folder)
    torch.manual_seed(0)
    model = DETECTORS[name](data, **RANDOM, **SMALLER.get(name, {}))
    before = _precision(model, judged)
    rounds = GENERATED_EPOCHS if place.name.startswith("generated") else EPOCHS
    epochs, batches = (rounds, 25) if timing else (1, 2)
    began, worked = time.perf_counter(), time.process_time()
    model.fit(epochs, lr=1e-3, checkpoint=False, iters_per_epoch=batches, show_progress=False)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    after = _precision(model, judged)
    with capsys.disabled():
        print(
            f"\n{place.name}, {name}, {epochs} epochs of {batches} batches: AP50 {before:.3f} untrained, "
            f"{after:.3f} trained; {seconds:.0f} s and {worked:.0f} CPU s to train, {len(data.train)} chips, "
            f"{len(judged.valid)} judged"
        )
    return before, after


def _chips(place: Place, folder: Path) -> tuple[ImageryData, ImageryData]:
    """Chips of the upper rows to train on, and the same with those of the lower rows to validate with."""
    grid = target_grid(describe(place.raster), place.context).grid
    parts = split_rows(grid, DemoSettings(raster=place.raster, labels=place.things, tile_size=TILE))
    prepared = []
    for part, window, stride in (("train", parts.train, TILE // 2), ("test", parts.test, TILE)):
        chips = export_training_data(
            place.raster,
            place.things,
            tile_size=TILE,
            stride_size=stride,
            metadata_format="RCNN_Masks",
            output_location=folder / f"{part}.zarr",
            context={**place.context, "extent": grid.window_bounds(window), "exportAllTiles": True},
            progress=False,
        )
        prepared.append(
            prepare_data(chips, chip_size=TILE, batch_size=8, seed=0, working_dir=folder, val_split_pct=0.03)
        )
    data, test = prepared
    every = dataclasses.replace(test.valid, indices=np.arange(len(test.valid.source)))
    return data, dataclasses.replace(data, valid=every)


def _precision(model: Any, data: ImageryData) -> float:
    found: Any = evaluate(model, data, show_progress=False, threshold=0.05, iou=0.5)
    return float(found.mean_average_precision())
