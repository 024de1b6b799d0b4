"""What FeatureClassifier learns of built-up ground on a core without pretrained weights."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from rasterio.features import rasterize

from rasterloom.models.scenes.classifier import FeatureClassifier
from rasterloom.pipeline import export_training_data, prepare_data
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.demo.settings import DemoSettings, split_rows
from rasterloom.pipeline.rasters.context import target_grid
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.training.evaluate import evaluate

TILE = 32
"""Side of a chip: 12.8 m at 0.4 m a pixel."""
CELL, CRS = 0.4, "EPSG:32645"
BUILT, OPEN = 1, 2
NAMES = {BUILT: "built-up", OPEN: "open"}
EPOCHS = 10
MARGIN = 0.10
"""Accuracy that is asked above that of always saying the more frequent class."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@dataclasses.dataclass(frozen=True)
class Place:
    """A raster, the map of what is built up, and the grid that both are looked at on."""

    raster: Path
    classes: Path
    context: dict[str, Any]


@pytest.fixture
def banepa(data_folder: Path, tmp_path: Path, timing: bool) -> Place:
    """The footprints as a map of two classes: a chip is of the one that covers most of it."""
    if not timing:
        pytest.skip("learning takes minutes: set RASTERLOOM_TIMING=1")
    source = data_folder / "buildings_banepa" / "train"
    context = {"cellSize": CELL, "outSR": CRS}
    grid = target_grid(describe(source / "oam"), context).grid
    footprints = geopandas.read_file(next((source / "osm").glob("*.geojson"))).to_crs(CRS)
    burned = rasterize(
        footprints.geometry.make_valid(), grid.shape, OPEN, transform=grid.transform, default_value=BUILT
    )
    path = tmp_path / "built.tif"
    kind = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": CRS, "transform": grid.transform}
    with rasterio.open(path, "w", height=grid.height, width=grid.width, **kind) as target:
        target.write(burned.astype(np.uint8), 1)
    return Place(source / "oam", path, context)


def test_built_up_chips_of_banepa_are_told_from_others(
    banepa: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, test = _chips(banepa, tmp_path)
    torch.manual_seed(0)
    model = FeatureClassifier(data, backbone="resnet18", pretrained=False)
    began, worked = time.perf_counter(), time.process_time()
    model.fit(EPOCHS, lr=1e-3, checkpoint=False, show_progress=False)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    scores: Any = evaluate(model, test, show_progress=False)
    usual = max(scores.counts.sum(axis=1)) / scores.total
    with capsys.disabled():
        print(
            f"\nBanepa, built-up or not, {EPOCHS} epochs of {len(data.train)} chips of {TILE} px: accuracy "
            f"{scores.accuracy:.3f}, always the more frequent class {usual:.3f}; {scores.total} judged; "
            f"{seconds:.0f} s, {worked:.0f} CPU s to train\n{scores.counts.tolist()}"
        )
    assert scores.accuracy >= usual + MARGIN


def _chips(place: Place, folder: Path) -> tuple[ImageryData, ImageryData]:
    """Chips of the upper rows to train on, and the same with those of the lower rows to judge by."""
    grid = target_grid(describe(place.raster), place.context).grid
    parts = split_rows(grid, DemoSettings(raster=place.raster, labels=place.classes, tile_size=2 * TILE))
    prepared = []
    for part, window, stride in (("train", parts.train, TILE // 2), ("test", parts.test, TILE)):
        chips = export_training_data(
            place.raster,
            place.classes,
            tile_size=TILE,
            stride_size=stride,
            metadata_format="Labeled_Tiles",
            output_location=folder / f"{part}.zarr",
            context={**place.context, "extent": grid.window_bounds(window)},
            progress=False,
        )
        prepared.append(
            prepare_data(chips, NAMES, TILE, val_split_pct=0.03, batch_size=32, seed=0, working_dir=folder)
        )
    data, test = prepared
    every = dataclasses.replace(test.valid, indices=np.arange(len(test.valid.source)))
    return data, dataclasses.replace(data, valid=every)
