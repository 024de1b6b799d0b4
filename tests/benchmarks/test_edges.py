"""How well the two models for edges find the borders of generated parcels, trained on a few cores."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import torch
from rasterio.features import rasterize

from rasterloom.models.edges.bdcn import BDCNEdgeDetector
from rasterloom.models.edges.hed import HEDEdgeDetector
from rasterloom.pipeline import export_training_data, prepare_data
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.landscape.classes import BUILDING, FIELD, FOREST, GRASSLAND, ROAD, WATER
from rasterloom.pipeline.landscape.write import generate_landscape

TILE = 128
DETECTORS = {kind.__name__: kind for kind in (HEDEdgeDetector, BDCNEdgeDetector)}
RANDOM: dict[str, Any] = {"backbone": "resnet18", "pretrained": False}
EPOCHS = 20
"""Rounds of 25 batches."""
LEAST = 0.80
"""ODS F that is asked of both on scenes that were not trained on."""
SEEDS = {"train": 3, "test": 4}
"""Which landscapes are trained on and judged."""
PARCELS = (FIELD, GRASSLAND)
LAND = (*PARCELS, FOREST, WATER)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.usefixtures("all_cores"),
]


@pytest.mark.parametrize("name", DETECTORS)
def test_borders_of_parcels_are_found(
    name: str, scenes: dict[str, Path], tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    data, judged = (_chips(scenes[part], tmp_path / part) for part in SEEDS)
    every = dataclasses.replace(judged.valid, indices=np.arange(len(judged.valid.source)))
    torch.manual_seed(0)
    model = DETECTORS[name](data, **RANDOM)
    epochs, batches = (EPOCHS, 25) if timing else (1, 2)
    began, worked = time.perf_counter(), time.process_time()
    model.fit(epochs, lr=1e-3, checkpoint=False, iters_per_epoch=batches, show_progress=False)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    after = _figures(model, dataclasses.replace(data, valid=every))
    with capsys.disabled():
        print(
            f"\nparcels, {name}, {epochs} epochs of {batches} batches: ODS F {after['ods_f1']:.3f} at "
            f"{after['ods_threshold']:.2f}, precision {after['ods_precision']:.3f}, recall "
            f"{after['ods_recall']:.3f}, OIS F {after['ois_f1']:.3f}; "
            f"{seconds:.0f} s and {worked:.0f} CPU s to train, {len(data.train)} chips, {len(every)} judged"
        )
    assert not math.isnan(after["ods_f1"])
    assert not timing or after["ods_f1"] >= LEAST


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, timing: bool) -> dict[str, Path]:
    """Folders with a scene of each landscape and a class raster of its borders."""
    folders = {part: tmp_path_factory.mktemp(part) for part in SEEDS}
    for part, folder in folders.items():
        write_borders(folder, size=2048 if timing else 256, seed=SEEDS[part])
    return folders


def write_borders(folder: Path, *, size: int, seed: int) -> None:
    """Write a scene and, as edges.tif, 1 on the borders that can be seen between two pieces of land.

    Roads and buildings hide borders, and so do woods and waters that grow into each other.
    """
    scene = generate_landscape(folder, size=size, seed=seed)
    features = geopandas.read_parquet(scene.labels)
    with rasterio.open(scene.raster) as source:
        profile, transform = source.profile, source.transform
    shapes = zip(features.geometry, range(1, len(features) + 1), strict=True)
    shown = rasterize(shapes, out_shape=(size, size), transform=transform, dtype="int32")
    kinds = np.concatenate([[0], features["classvalue"].to_numpy()])[shown]
    land = np.isin(kinds, LAND)
    assert not np.isin(kinds[~land], LAND).any()
    assert set(np.unique(kinds)) <= {*LAND, ROAD, BUILDING}
    edges = np.zeros((size, size), np.uint8)
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        differ = (shown[here] != shown[there]) & land[here] & land[there]
        differ &= (kinds[here] != kinds[there]) | np.isin(kinds[here], PARCELS)
        edges[here] |= differ
        edges[there] |= differ
    profile.update(count=1, dtype="uint8", nodata=None)
    with rasterio.open(folder / "edges.tif", "w", **profile) as target:
        target.write(edges, 1)


def _chips(folder: Path, output: Path) -> ImageryData:
    scene = folder / "scene.tif"
    chips = export_training_data(
        scene,
        folder / "edges.tif",
        tile_size=TILE,
        stride_size=TILE,
        metadata_format="Classified_Tiles",
        output_location=output / "chips.zarr",
        context={"exportAllTiles": True},
        progress=False,
    )
    return prepare_data(chips, chip_size=TILE, batch_size=8, seed=0, working_dir=output, val_split_pct=0.05)


def _figures(model: Any, data: ImageryData) -> dict[str, float]:
    trained_on, model.data = model.data, data
    try:
        return dict(model.compute_ods_ois(show_progress=False))
    finally:
        model.data = trained_on
