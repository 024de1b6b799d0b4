"""The options of ``rasterloom export-training-data`` and ``rasterloom convert``, and what they mean."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rasterloom.pipeline.cli.options import PLACE, READING, RESULT, RUN

CHIPS = "Which chips"
LABELS = "What they show"


class ChipFormat(StrEnum):
    """A store, or a folder of files."""

    ZARR = "ZARR"
    TIFF = "TIFF"
    PNG = "PNG"
    JPEG = "JPEG"
    MRF = "MRF"


class MetadataFormat(StrEnum):
    """What is kept beside each image."""

    KITTI_RECTANGLES = "KITTI_rectangles"
    PASCAL_VOC_RECTANGLES = "PASCAL_VOC_rectangles"
    CLASSIFIED_TILES = "Classified_Tiles"
    RCNN_MASKS = "RCNN_Masks"
    LABELED_TILES = "Labeled_Tiles"
    MULTILABELED_TILES = "MultiLabeled_Tiles"
    EXPORT_TILES = "Export_Tiles"
    CYCLE_GAN = "CycleGAN"
    IMAGENET = "Imagenet"
    PANOPTIC_SEGMENTATION = "Panoptic_Segmentation"
    COCO = "COCO"
    YOLO = "YOLO"


class ReferenceSystem(StrEnum):
    """How the image is seen."""

    MAP_SPACE = "MAP_SPACE"
    IMAGE_SPACE = "IMAGE_SPACE"
    PIXEL_SPACE = "PIXEL_SPACE"


RasterArgument = Annotated[
    str,
    typer.Argument(
        metavar="RASTER",
        help="A file, a folder of files that make one mosaic, an address (https://, s3://, ...), the "
        "JSON of STAC items, or a Zarr store.",
    ),
]
LabelsArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="LABELS",
        help="Labelled features (GeoParquet, GeoPackage, GeoJSON, ...) or a class raster. Without them "
        "all chips are written, as Export_Tiles.",
    ),
]
ChipFormatOption = Annotated[
    ChipFormat | None,
    typer.Option(
        "--chip-format",
        case_sensitive=False,
        help="A store for training (ZARR), or a folder of such files. Default: ZARR.",
        rich_help_panel=RESULT,
    ),
]
MetadataFormatOption = Annotated[
    MetadataFormat | None,
    typer.Option(
        "--metadata-format",
        case_sensitive=False,
        help="What is kept beside each image. Default: a class for each pixel (Classified_Tiles).",
        rich_help_panel=RESULT,
    ),
]
StartIndex = Annotated[
    int | None,
    typer.Option(
        "--start-index",
        min=0,
        help="Number of the first chip; appends to the chips that stand under the output's name.",
        rich_help_panel=RESULT,
    ),
]
ReferenceSystemOption = Annotated[
    ReferenceSystem,
    typer.Option(
        "--reference-system",
        case_sensitive=False,
        help="Noted in the result: training mirrors and turns chips by it.",
        rich_help_panel=RESULT,
    ),
]
Each = Annotated[
    bool,
    typer.Option("--each", help="Every file of the folder is cut by itself.", rich_help_panel=READING),
]
AdditionalRaster = Annotated[
    str | None,
    typer.Option(
        "--additional-raster",
        help="A second raster of the same ground, for pairs of images; for CycleGAN that of side B.",
        rich_help_panel=READING,
    ),
]
Instances = Annotated[
    Path | None,
    typer.Option(
        "--instances",
        help="Panoptic_Segmentation: features, or a raster of numbered objects.",
        rich_help_panel=READING,
    ),
]
TileSize = Annotated[
    int, typer.Option("--tile-size", help="Side of a chip, in pixels.", rich_help_panel=CHIPS)
]
Stride = Annotated[
    int | None,
    typer.Option(
        "--stride", help="Step between chips, in pixels. Default: the tile size.", rich_help_panel=CHIPS
    ),
]
AllTiles = Annotated[
    bool, typer.Option("--all-tiles", help="Chips without labels too.", rich_help_panel=CHIPS)
]
Rotation = Annotated[
    float,
    typer.Option(
        "--rotation-angle",
        help="Degrees: each chip also turned by this, twice this, and so on. 0 turns none.",
        rich_help_panel=CHIPS,
    ),
]
FixChipSize = Annotated[
    bool,
    typer.Option(
        "--fix-chip-size/--crop-to-feature",
        help="Labeled_Tiles and Imagenet: whole chips around features, or only their bounding boxes.",
        rich_help_panel=CHIPS,
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="TRAIN/VAL/TEST",
        help="Give blocks of ground to training, validation and test, as 80/10/10.",
        rich_help_panel=CHIPS,
    ),
]
SplitBlock = Annotated[
    int | None,
    typer.Option(
        "--split-block", help="Side of these blocks, in pixels. Default: 8 chips.", rich_help_panel=CHIPS
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Decides which block is whose.", rich_help_panel=CHIPS)
]
Mask = Annotated[
    Path | None,
    typer.Option("--mask", help="Only chips that lie inside these polygons.", rich_help_panel=PLACE),
]
ClassField = Annotated[
    str | None,
    typer.Option(
        "--class-field",
        help="Field with the class. Default: classvalue or value.",
        rich_help_panel=LABELS,
    ),
]
InstanceField = Annotated[
    str | None,
    typer.Option("--instance-field", help="The same of the instances.", rich_help_panel=LABELS),
]
BufferRadius = Annotated[
    float | None,
    typer.Option(
        "--buffer-radius",
        help="Radius that points and lines are given, in units of their layer's CRS.",
        rich_help_panel=LABELS,
    ),
]
MinOverlap = Annotated[
    float,
    typer.Option(
        "--min-overlap",
        min=0.0,
        max=1.0,
        help="Least share of a feature that must lie in a chip.",
        rich_help_panel=LABELS,
    ),
]
Blacken = Annotated[
    bool,
    typer.Option(
        "--blacken",
        help="Labeled_Tiles and Imagenet: set the pixels around the feature to 0.",
        rich_help_panel=LABELS,
    ),
]
Estimate = Annotated[
    bool,
    typer.Option(
        "--estimate",
        help="Write nothing, only say what it would take: chips, memory, seconds.",
        rich_help_panel=RUN,
    ),
]
