"""Draw the pictures of these pages: ``python docs/pictures.py``. All that they show is generated."""

import io
import tempfile
from pathlib import Path
from typing import Any

import geopandas
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from rasterloom.models import from_torch
from rasterloom.pipeline import (
    classify_pixels,
    export_training_data,
    generate_landscape,
    open_raster,
    prepare_data,
)

IMAGES = Path(__file__).parent / "images"
SHOWN = 264
"""Side of the picture's scene, in pixels."""
BORDERS = (
    ("padding=0", {"padding": 0}, "crop"),
    ('padding=12, blend="crop"', {"padding": 12}, "crop"),
    ('padding=12, blend="gaussian"', {"padding": 12}, "gaussian"),
)


class Surroundings(nn.Module):
    """Says "dark" where it is dark for 24 pixels around; beyond its tile it believes that all is black."""

    def __init__(self) -> None:
        super().__init__()
        mean = nn.Conv2d(1, 1, 17, padding=8, bias=False)
        mean.weight.data.fill_(1 / 17**2)
        self.means = nn.Sequential(mean, mean, mean)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (90.0 - self.means(images)) / 12


def draw_borders(folder: Path) -> Figure:
    """The same network over the same scene, with borders of tiles kept, cut off, and blended."""
    scene = generate_landscape(folder, size=SHOWN, seed=3)
    model = from_torch(Surroundings(), classes=["dark"], bands=["red"], tile_size=96)
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    for axes, (title, arguments, blend) in zip(figure.subplots(1, len(BORDERS)), BORDERS, strict=True):
        shares: Any = classify_pixels(
            scene.raster,
            model,
            {**arguments, "return_probability_raster": True},
            folder / f"{blend}_{arguments['padding']}.tif",
            blend=blend,
            progress=False,
        )
        axes.imshow(open_raster(shares)[1] / 254, vmin=0, vmax=1, cmap="cividis")
        axes.set_title(title, family="monospace", fontsize=9)
        axes.set_axis_off()
    return figure


def draw_chips(folder: Path) -> Image.Image:
    """The same ground as class maps, boxes and outlines, one kind below the other."""
    scene = generate_landscape(folder, size=1024, seed=3)
    features = geopandas.read_parquet(scene.labels)
    buildings = features[features.classname == "Building"]
    layers = {"Classified_Tiles": scene.labels, "PASCAL_VOC_rectangles": buildings, "RCNN_Masks": buildings}
    rows = []
    for name, labels in layers.items():
        chips = export_training_data(
            scene.raster,
            labels,
            tile_size=128,
            metadata_format=name,
            output_location=folder / name,
            input_mask_polygons=buildings.dissolve().buffer(120).to_frame("geometry"),
            progress=False,
        )
        drawn = io.BytesIO()
        prepare_data(chips, chip_size=112, class_mapping={6: "Building"}).show_batch(1).savefig(drawn, dpi=80)
        rows.append(Image.open(drawn).convert("RGB"))
    picture = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    for number, row in enumerate(rows):
        picture.paste(row, (0, sum(above.height for above in rows[:number])))
    return picture


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        draw_borders(Path(name, "borders")).savefig(IMAGES / "borders.png", dpi=90)
        draw_chips(Path(name, "chips")).quantize(200).save(IMAGES / "chips.png", optimize=True)
