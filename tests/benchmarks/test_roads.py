"""What the models for roads learn of a generated scene on one core, without pretrained weights."""

import time
from pathlib import Path
from typing import Any

import geopandas
import pytest
import torch

from rasterloom.models import ConnectNet, MultiTaskRoadExtractor
from rasterloom.pipeline import (
    apls,
    classify_pixels,
    export_training_data,
    extract_lines,
    generate_landscape,
    line_quality,
    prepare_data,
)
from rasterloom.pipeline.landscape.classes import ROAD
from rasterloom.pipeline.landscape.write import Landscape
from tests.support.roads import true_lines

SIDES, TILE = (2048, 1536), 128
SEEDS = (3, 11)
"""Of the scene that is learnt from and of the one that is judged: other places, roads and light."""
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "linknet": (MultiTaskRoadExtractor, {"backbone": "resnet18", "pretrained": False, "encoder_depth": 4}),
    "hourglass": (ConnectNet, {"hourglass_channels": 48}),
}
"""Class and settings for each network; the hourglass is narrower than usual."""
EPOCHS, BATCHES = 16, 25
LEAST_QUALITY, LEAST_APLS = 0.80, 0.70
BUFFER = 4.0
"""Metres that a found line may lie beside the true one, whose road is 8 to 12 m wide."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory, timing: bool) -> list[Landscape]:
    if not timing:
        pytest.skip("learning takes minutes: set RASTERLOOM_TIMING=1")
    folders = [tmp_path_factory.mktemp(f"scene{seed}") for seed in SEEDS]
    return [
        generate_landscape(folder, size=size, seed=seed)
        for folder, size, seed in zip(folders, SIDES, SEEDS, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("design", MODELS)
def test_roads_of_a_scene_not_trained_on_become_a_network(
    design: str, scenes: list[Landscape], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learnt, judged = scenes
    features = geopandas.read_parquet(learnt.labels)
    chips = export_training_data(
        learnt.raster,
        features[features["classvalue"] == ROAD][["classvalue", "geometry"]],
        tile_size=TILE,
        stride_size=TILE // 2,
        output_location=tmp_path / "chips.zarr",
        progress=False,
    )
    data = prepare_data(chips, chip_size=TILE, batch_size=8, seed=0, working_dir=tmp_path)
    kind, settings = MODELS[design]
    torch.manual_seed(0)
    model = kind(data, mtl_model=design, **settings)
    began, worked = time.perf_counter(), time.process_time()
    model.fit(EPOCHS, lr=2e-3, checkpoint=False, iters_per_epoch=BATCHES, show_progress=False)
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    shares = classify_pixels(
        judged.raster,
        model,
        output_name=tmp_path / "shares.tif",
        model_arguments={"return_probability_raster": True, "tile_size": 2 * TILE, "padding": TILE // 4},
        progress=False,
    )
    found = extract_lines(
        shares,
        tmp_path / "roads.parquet",
        band=2,
        minimum_length=20,
        minimum_area=100,
        smooth=True,
        progress=False,
    )
    true = true_lines(judged, SEEDS[1])
    quality, ways = line_quality(true, found, BUFFER), apls(true, found, tolerance=2 * BUFFER)
    with capsys.disabled():
        print(
            f"\nGenerated roads, {design}, {EPOCHS} epochs of {BATCHES} batches: quality "
            f"{quality.quality:.3f}, completeness {quality.completeness:.3f}, correctness "
            f"{quality.correctness:.3f}, APLS {ways.apls:.3f}; {seconds:.0f} s and {worked:.0f} CPU s to "
            f"train, {len(data.train)} chips, {true.length.sum() / 1000:.1f} km judged"
        )
    assert quality.quality >= LEAST_QUALITY
    assert ways.apls >= LEAST_APLS
