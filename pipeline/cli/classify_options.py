"""The options of ``rasterloom classify-pixels``, and what they mean."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rasterloom.pipeline.cli.options import PLACE, READING, RESULT, RUN, WORK

TILES = "How the network looks"
DECISION = "What a pixel gets"


class Blend(StrEnum):
    """What becomes of the borders of tiles."""

    CROP = "crop"
    LINEAR = "linear"
    GAUSSIAN = "gaussian"


class MergePolicy(StrEnum):
    """How what is seen in flips and rotations is merged."""

    MEAN = "mean"
    MAX = "max"
    MIN = "min"


class ProbabilityType(StrEnum):
    """Pixel types of probabilities."""

    UINT8 = "uint8"
    FLOAT32 = "float32"


class Processor(StrEnum):
    """What a network is computed on."""

    CPU = "CPU"
    GPU = "GPU"


class Precision(StrEnum):
    """What a network computes in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


RasterArgument = Annotated[
    str,
    typer.Argument(
        metavar="RASTER",
        help="A file, a folder of files that make one mosaic, an address (https://, s3://, ...), the "
        "JSON of STAC items, or a Zarr store.",
    ),
]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A model package: the path of a .dlpk or .emd, or the address of a .dlpk."
    ),
]
MapOutput = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="The GeoTIFF to write: a path, or an address such as s3://bucket/classes.tif. Default: "
        "RASTER_classified.tif beside the raster.",
        rich_help_panel=RESULT,
    ),
]
Probabilities = Annotated[
    bool,
    typer.Option(
        "--probabilities/--no-probabilities",
        help="Write how probable each class is, one band for each, instead of the map.",
        rich_help_panel=RESULT,
    ),
]
ProbabilityTypeOption = Annotated[
    ProbabilityType,
    typer.Option(
        "--probability-type",
        help="Of probabilities: whole numbers 0..254 for 0..1, or as they are.",
        rich_help_panel=RESULT,
    ),
]
MaxCogSize = Annotated[
    int,
    typer.Option(
        "--max-cog-size",
        help="Above this side, in pixels, a grid of GeoTIFFs is written and a VRT that joins them.",
        rich_help_panel=RESULT,
    ),
]
Each = Annotated[
    bool,
    typer.Option(
        "--each",
        help="Every file of the folder is a raster of its own; --output is then a folder.",
        rich_help_panel=READING,
    ),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run the network of a package that holds it as a program. It can do whatever its author "
        "wants: say so only where you know where it is from.",
        rich_help_panel=READING,
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        "--mask",
        help="Nothing is written outside of these polygons, or where this raster is 0.",
        rich_help_panel=PLACE,
    ),
]
SnapRaster = Annotated[
    str | None,
    typer.Option("--snap-raster", help="A raster whose cell edges the output shares.", rich_help_panel=PLACE),
]
TileSize = Annotated[
    int | None,
    typer.Option(
        "--tile-size",
        help="What the network sees at once, in pixels. Default: as it was trained.",
        rich_help_panel=TILES,
    ),
]
Padding = Annotated[
    int | None,
    typer.Option(
        "--padding",
        help="Border of a tile, in pixels, that is dropped or blended. Default: a quarter of the tile.",
        rich_help_panel=TILES,
    ),
]
BlendOption = Annotated[
    Blend,
    typer.Option(
        "--blend",
        help="What becomes of the borders: crop drops them, linear and gaussian weigh tiles over each other, "
        "which softens what is left of seams and takes somewhat longer.",
        rich_help_panel=TILES,
    ),
]
Tta = Annotated[
    bool,
    typer.Option(
        "--tta/--no-tta",
        help="Look at each tile in its eight flips and rotations and merge what is seen: eight times the "
        "network's time.",
        rich_help_panel=TILES,
    ),
]
MergeOption = Annotated[
    MergePolicy | None,
    typer.Option(
        "--merge-policy",
        help="With --tta: how the eight looks are merged. Default: mean.",
        rich_help_panel=TILES,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        help="Tiles in a forward pass. Default: 4 on a CPU, 32 on a GPU. Does not change the result.",
        rich_help_panel=TILES,
    ),
]
Background = Annotated[
    bool,
    typer.Option(
        "--background/--no-background",
        help="Whether pixels may be background, class 0.",
        rich_help_panel=DECISION,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        help="How probable a class must be, 0..1; background where none is. Default: the most probable "
        "class wins.",
        rich_help_panel=DECISION,
    ),
]
Thinning = Annotated[
    bool | None,
    typer.Option(
        "--thinning/--no-thinning",
        help="Models with one class: thin what is found to lines one pixel wide. Default: those for "
        "edges do.",
        rich_help_panel=DECISION,
    ),
]
Cores = Annotated[
    str | None,
    typer.Option(
        "--cores",
        help="How many cores compute at once: a number, or a share such as 80%. Default: all.",
        rich_help_panel=WORK,
    ),
]
ProcessorOption = Annotated[
    Processor | None,
    typer.Option(
        "--processor",
        case_sensitive=False,
        help="Default: GPU where every worker has one.",
        rich_help_panel=WORK,
    ),
]
PrecisionOption = Annotated[
    Precision | None,
    typer.Option(
        "--precision",
        help="The network's arithmetic. Default: float32 on a CPU, 16 bits on a GPU.",
        rich_help_panel=WORK,
    ),
]
Compiled = Annotated[
    bool,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the network first: minutes, then faster on most GPUs.",
        rich_help_panel=WORK,
    ),
]
TaskSize = Annotated[
    int | None,
    typer.Option(
        "--task-size",
        help="Side, in pixels, of what one task computes: smaller takes less memory. Does not change "
        "the result.",
        rich_help_panel=WORK,
    ),
]
Estimate = Annotated[
    bool,
    typer.Option(
        "--estimate",
        help="Write nothing, only say what it would take: tiles, memory, seconds.",
        rich_help_panel=RUN,
    ),
]
MaxFailed = Annotated[
    float,
    typer.Option(
        "--max-failed",
        help="Share of the raster, 0..1, that may be unreadable; more ends in an error.",
        rich_help_panel=RUN,
    ),
]
RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed",
        help="Compute only what failed in an earlier run of the same command, and mend its output.",
        rich_help_panel=RUN,
    ),
]
PerformanceReport = Annotated[
    Path | None,
    typer.Option(
        "--performance-report",
        help="Keep what Dask's dashboard showed as this HTML page.",
        rich_help_panel=RUN,
    ),
]
