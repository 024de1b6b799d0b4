"""What pixel classifiers learn from real imagery on two cores, without pretrained weights."""

import time
from pathlib import Path
from typing import Any

import pytest

from rasterloom.models import UnetClassifier
from rasterloom.pipeline import assess_pixels, classify_pixels, export_training_data, prepare_data
from rasterloom.pipeline.demo.settings import DemoSettings, split_rows
from rasterloom.pipeline.rasters.context import target_grid
from rasterloom.pipeline.rasters.open import describe

GRID = {"cellSize": 0.4, "outSR": "EPSG:32645"}
TILE = 128
LOSSES: dict[str, dict[str, Any]] = {
    "cross-entropy": {},
    "class_balancing": {"class_balancing": True},
    "dice": {"dice_loss_fraction": 0.3, "dice_loss_average": "macro"},
}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("all_cores")
@pytest.mark.parametrize("name", LOSSES)
def test_buildings_in_banepa_on_rows_not_trained_on(
    name: str, data_folder: Path, tmp_path: Path, timing: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    source = data_folder / "buildings_banepa" / "train"
    raster, labels = source / "oam", next((source / "osm").glob("*.geojson"))
    grid = target_grid(describe(raster), GRID).grid
    parts = split_rows(grid, DemoSettings(raster=raster, labels=labels, tile_size=TILE))
    began = time.perf_counter()
    chips = export_training_data(
        raster,
        labels,
        tile_size=TILE,
        stride_size=TILE // 2,
        output_location=tmp_path / "chips.zarr",
        context={**GRID, "extent": grid.window_bounds(parts.train), "exportAllTiles": True},
        progress=False,
    )
    data = prepare_data(chips, chip_size=TILE, batch_size=8, seed=0, working_dir=tmp_path)
    model = UnetClassifier(
        data, "resnet18", pretrained=False, decoder_channels=[128, 64, 48, 32, 16], **LOSSES[name]
    )
    epochs, batches = (30, 25) if timing else (1, 2)
    model.fit(epochs, lr=0.004, checkpoint=False, iters_per_epoch=batches, show_progress=False)
    trained = time.perf_counter() - began
    test = grid.window_bounds(parts.test)
    class_map = classify_pixels(
        raster,
        model,
        output_name=tmp_path / "map.tif",
        model_arguments={"tile_size": 2 * TILE, "padding": TILE // 4},
        context={**GRID, "extent": test},
        progress=False,
    )
    found = assess_pixels(class_map, labels, extent=test, background=True, progress=False)
    (building,) = [score for score in found.per_class if score.value == 1]
    with capsys.disabled():
        print(
            f"\nBanepa, {name}, {epochs} epochs: building IoU {building.iou:.3f}, precision "
            f"{building.precision:.3f}, recall {building.recall:.3f}; {trained:.0f} s to train, "
            f"{time.perf_counter() - began:.0f} s in all"
        )
    assert not timing or name == "class_balancing" or building.iou >= 0.70
