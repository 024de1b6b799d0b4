"""Sources of chips for tests: a raster with features prepared as files."""

from pathlib import Path
from typing import Any

from rasterloom.pipeline.chips.sources import ChipSource
from rasterloom.pipeline.labels.prepared import prepare_features
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.raster import Raster


def bare_raster(height: int = 200, width: int = 300, cell: float = 1.0) -> Raster:
    """A raster without pixels, for plans."""
    grid = Grid("EPSG:32633", (cell, 0.0, 500000.0, 0.0, -cell, 5000000.0), height, width)
    bands = ("Red", "Green", "Blue")
    return Raster("scene.tif", "scene.tif", None, grid, grid, bands, "uint8", None, "bilinear", "etag")


def make_source(
    raster: Raster, labels: Any, folder: Path, *, extent: Window | None = None, **more: Any
) -> ChipSource:
    """A source whose features are prepared in a folder; None labels nothing."""
    features = None
    if labels is not None:
        number = len(list(folder.glob("labels-*")))
        features = prepare_features(labels, folder / f"labels-{number}.parquet", grid=raster.grid)
    area = extent or Window(0, 0, *raster.grid.shape)
    return ChipSource(raster=raster, area=area, features=features, **more)
