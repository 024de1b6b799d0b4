"""A tiny scene to classify on any cluster, and what comes of it without one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.packages.save import save_package
from tests.support.models import random_model
from tests.support.rasters import write_raster


@dataclass(frozen=True)
class TinyScene:
    """A raster of 96 x 96 pixels and a model, in one folder."""

    folder: Path

    @classmethod
    def write(cls, folder: Path) -> "TinyScene":
        write_raster(folder / "scene.tif", height=96, width=96)
        save_package(random_model(), folder / "unet", compute_metrics=False)
        return cls(folder)

    def classify(self, name: str, client: Any = None) -> bytes:
        """Bytes of the classified raster."""
        output = self.folder / f"{name}.tif"
        classify_pixels(
            self.folder / "scene.tif",
            self.folder / "unet",
            {"tile_size": 64, "padding": 16, "batch_size": 3},
            output,
            cell_size=32,
            client=client,
            progress=False,
        )
        return output.read_bytes()
