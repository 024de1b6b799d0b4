"""The options of ``rasterloom train``, and what they mean."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rasterloom.pipeline.cli.options import RESULT, RUN, WORK

DATA = "What it learns from"
MODEL = "Which model"
TRAINING = "How it learns"


class Processor(StrEnum):
    """What the training runs on."""

    CPU = "CPU"
    GPU = "GPU"


ChipsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="CHIPS...",
        help="A chip store, or a folder of chips as export-training-data and other software write it; or "
        "several of one kind.",
    ),
]
OutputOption = Annotated[
    Path,
    typer.Option("--output", "-o", help="The model package to write (.dlpk).", rich_help_panel=RESULT),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model-type",
        "--model",
        help="UNET, PSPNET, DEEPLABV3, FASTERRCNN, MASKRCNN, RETINANET, SSD, YOLOV3, FEATURE_CLASSIFIER, "
        "CHANGEDETECTOR, HED_EDGEDETECTOR, BDCN_EDGEDETECTOR, MULTITASK_ROADEXTRACTOR, CONNECTNET, "
        "or the name of a class.",
        rich_help_panel=MODEL,
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option("--backbone", help="Feature extractor. Default: the model's.", rich_help_panel=MODEL),
]
Pretrained = Annotated[
    bool,
    typer.Option(
        "--pretrained/--no-pretrained",
        help="Start from ImageNet weights (needs the internet).",
        rich_help_panel=MODEL,
    ),
]
PretrainedModel = Annotated[
    str | None,
    typer.Option(
        "--pretrained-model",
        metavar="MODEL",
        help="Start from this saved or installed model of the same class, bands and classes.",
        rich_help_panel=MODEL,
    ),
]
Freeze = Annotated[
    bool,
    typer.Option("--freeze/--no-freeze", help="Leave a pretrained backbone as it is.", rich_help_panel=MODEL),
]
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Code in that model may be run.", rich_help_panel=MODEL),
]
Epochs = Annotated[
    int, typer.Option("--epochs", min=1, help="Passes over the training chips.", rich_help_panel=TRAINING)
]
Rate = Annotated[
    float | None,
    typer.Option("--lr", help="Learning rate. Default: found by a sweep.", rich_help_panel=TRAINING),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=2, help="Chips in a step.", rich_help_panel=TRAINING)
]
EarlyStopping = Annotated[
    bool,
    typer.Option("--early-stopping", help="Stop when it stops improving.", rich_help_panel=TRAINING),
]
ClassBalancing = Annotated[
    bool,
    typer.Option("--class-balancing", help="Weigh rare classes up in the loss.", rich_help_panel=TRAINING),
]
Dice = Annotated[float, typer.Option("--dice", help="Share of dice loss, 0..1.", rich_help_panel=TRAINING)]
Argument = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other setting of the model, the data or the training, as --set focal_loss=true. "
        "Repeatable.",
        rich_help_panel=TRAINING,
    ),
]
ChipSize = Annotated[
    int, typer.Option("--chip-size", help="Crop chips to this side, in pixels.", rich_help_panel=DATA)
]
ValShare = Annotated[
    float,
    typer.Option("--val-share", help="Share of chips kept for validation.", rich_help_panel=DATA),
]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, help="Same seed, same split and weights.", rich_help_panel=RUN),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        "-w",
        min=0,
        help="Worker processes of this machine that train together; 0 trains in this process.",
        rich_help_panel=WORK,
    ),
]
ProcessorOption = Annotated[
    Processor | None,
    typer.Option(
        "--processor",
        case_sensitive=False,
        help="Default: a GPU where there is one.",
        rich_help_panel=WORK,
    ),
]
