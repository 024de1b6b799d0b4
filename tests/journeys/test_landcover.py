"""Real data: land cover from eight bands of Sentinel-2 and 598 labelled pixels in 23 polygons."""

from pathlib import Path

import geopandas
import pytest
import torch
import xarray
from torchvision.transforms import v2

from rasterloom.models import ModelExtension
from rasterloom.pipeline import (
    assess_pixels,
    classify_pixels,
    export_training_data,
    open_raster,
    prepare_data,
)
from tests.support.spectral import SpectralClassifier

FLOOR = 0.95
"""Share of the pixels of polygons not trained on that get their class (seen: 0.988, 1.000 and 0.994)."""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("all_cores")
def test_land_cover_is_told_on_polygons_not_trained_on(data_folder: Path, tmp_path: Path) -> None:
    folder = data_folder / "landcover_rcr_s2"
    files = sorted((folder / "sentinel-2").glob("*.tiff"))
    stack = xarray.concat([open_raster(path) for path in files], dim="band", combine_attrs="override")
    polygons = geopandas.read_file(folder / "rcr" / "rcr_landcover.shp")
    # every other polygon of a class is judged on; the only one of its class is trained on
    turn = polygons.groupby("Classname").cumcount()
    alone = polygons.groupby("Classname")["Classname"].transform("size") == 1
    train, test = polygons[(turn % 2 == 0) | alone], polygons[(turn % 2 == 1) & ~alone]
    chips = export_training_data(
        stack,
        train,
        tile_size=16,
        stride_size=8,
        metadata_format="Classified_Tiles",
        classvalue_field="Classvalue",
        output_location=tmp_path / "chips.zarr",
        progress=False,
    )
    # lighter and darker views would be other classes here
    flips = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()])
    data = prepare_data(
        chips, batch_size=16, chip_size=16, transforms=(flips, None), seed=1, working_dir=tmp_path
    )
    assert len(data.bands) == 8
    torch.manual_seed(1)
    model = ModelExtension(data, SpectralClassifier)
    model.fit(30, lr=0.003, iters_per_epoch=50, checkpoint=False, show_progress=False)
    package = model.save(tmp_path / "cover")
    west, south, east, north = test.to_crs(stack.rio.crs).total_bounds
    class_map = classify_pixels(
        stack,
        package,
        {"tile_size": 128, "padding": 0},
        tmp_path / "cover.tif",
        {"extent": (west - 0.001, south - 0.001, east + 0.001, north + 0.001)},
        trust=True,
        progress=False,
    )
    found = assess_pixels(class_map, test, class_field="Classvalue", background=False, progress=False)
    print(f"[accuracy {found.overall:.3f}]", end=" ")
    assert found.overall >= FLOOR
