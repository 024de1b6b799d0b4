"""The options of ``rasterloom detect-objects`` that other commands lack, and what they mean."""

from typing import Annotated

import typer

from rasterloom.pipeline.cli.classify_options import TILES, MergePolicy
from rasterloom.pipeline.cli.options import PLACE, RESULT

THINGS = "What counts as found"

LayerOutput = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="The layer to write: a path, or an address such as s3://bucket/found.parquet. The suffix is the "
        "format: .parquet, .gpkg, .fgb, .geojson, .shp. Default: RASTER_objects.parquet beside the raster.",
        rich_help_panel=RESULT,
    ),
]
ThingMask = Annotated[
    str | None,
    typer.Option(
        "--mask",
        help="Things with their centre outside of these polygons, or where this raster is 0, are left out.",
        rich_help_panel=PLACE,
    ),
]
ThingPadding = Annotated[
    int | None,
    typer.Option(
        "--padding",
        help="Border of a tile, in pixels, that its neighbours own: half of the longest thing's side. "
        "Default: a quarter of the tile.",
        rich_help_panel=TILES,
    ),
]
ThingMerge = Annotated[
    MergePolicy | None,
    typer.Option(
        "--merge-policy",
        help="With --tta: mean keeps what half of the eight looks show, max what any shows, min what all "
        "show. Default: mean.",
        rich_help_panel=TILES,
    ),
]
Score = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        help="How certain the network must be of a thing, 0..1. Default: 0.5.",
        rich_help_panel=THINGS,
    ),
]
NmsOverlap = Annotated[
    float | None,
    typer.Option(
        "--nms-overlap",
        help="Of two things of a class that share more than this of their common area, 0..1, the less "
        "certain one is dropped. Default: 0.1.",
        rich_help_panel=THINGS,
    ),
]
PadDetections = Annotated[
    bool,
    typer.Option(
        "--exclude-pad-detections/--keep-pad-detections",
        help="Whether to drop what only a tile has seen that does not own its centre.",
        rich_help_panel=THINGS,
    ),
]
RunNms = Annotated[
    bool,
    typer.Option(
        "--nms/--no-nms",
        help="Run rasterloom suppress over the layer at the end.",
        rich_help_panel=THINGS,
    ),
]
MaxOverlap = Annotated[
    float,
    typer.Option(
        "--max-overlap",
        help="With --nms: most that two things may share of their common area, 0..1.",
        rich_help_panel=THINGS,
    ),
]
