"""What ChangeDetector learns of generated scenes at two dates on one core, without pretrained weights."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rasterloom.models.change.detector import ChangeDetector
from rasterloom.pipeline import export_training_data, prepare_data
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.demo.settings import DemoSettings, split_rows
from rasterloom.pipeline.landscape.change import ChangedLandscape, generate_change
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.training.evaluate import evaluate

TILE = 64
EPOCHS, STEPS = 13, 30
"""Rounds of 16 pairs of 64 pixels."""
LEAST = 0.75
"""Intersection over union of the changed pixels that is asked of rows that were not trained on."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory, timing: bool) -> ChangedLandscape:
    return generate_change(tmp_path_factory.mktemp("dates"), size=3072 if timing else 512, seed=5)


@pytest.mark.parametrize("attention", ["PAM", "BAM"])
def test_changed_buildings_of_held_out_rows_are_found(
    attention: str,
    generated: ChangedLandscape,
    tmp_path: Path,
    timing: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, judged = _chips(generated, tmp_path)
    torch.manual_seed(0)
    # buildings are 12 to 30 pixels wide here, three cells of its usual finest map
    model = ChangeDetector(data, "resnet18", attention, pretrained=False, finest_stride=2)
    epochs, steps = (EPOCHS, STEPS) if timing else (1, 2)
    began, worked = time.perf_counter(), time.process_time()
    model.fit(epochs, lr=1e-3, checkpoint=False, iters_per_epoch=steps, show_progress=False)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    scores: Any = evaluate(model, judged, show_progress=False)
    with capsys.disabled():
        print(
            f"\ngenerated change, {attention}, {epochs} epochs of {steps} batches: IoU {scores.iou:.3f}, "
            f"precision {scores.precision:.3f}, recall {scores.recall:.3f}; {seconds:.0f} s and "
            f"{worked:.0f} CPU s to train, {len(data.train)} chips, {len(judged.valid)} judged"
        )
    assert not timing or scores.iou >= LEAST


def _chips(scene: ChangedLandscape, folder: Path) -> tuple[ImageryData, ImageryData]:
    """Chips of the upper rows to train on, and the same with those of the lower rows to validate with."""
    grid = describe(scene.before).grid
    parts = split_rows(grid, DemoSettings(raster=scene.before, labels=scene.labels, tile_size=TILE))
    prepared = []
    # chips to train on hold some change; those to judge by cover all of their ground
    for part, window, stride in (("train", parts.train, TILE // 2), ("test", parts.test, TILE)):
        chips = export_training_data(
            scene.before,
            scene.labels,
            additional_input_raster=scene.after,
            tile_size=TILE,
            stride_size=stride,
            metadata_format="Classified_Tiles",
            classvalue_field="classvalue",
            output_location=folder / f"{part}.zarr",
            context={"extent": grid.window_bounds(window), "exportAllTiles": part == "test"},
            progress=False,
        )
        prepared.append(
            prepare_data(
                chips,
                {1: "Change"},
                chip_size=TILE,
                batch_size=16,
                seed=0,
                working_dir=folder,
                val_split_pct=0.03,
                remap_classes={2: 1},
            )
        )
    data, test = prepared
    every = dataclasses.replace(test.valid, indices=np.arange(len(test.valid.source)))
    # the scaling is that of the chips which were trained on
    return data, dataclasses.replace(data, valid=every)
