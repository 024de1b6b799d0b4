"""``rasterloom train``: a model from chips."""

from pathlib import Path
from typing import Any

import typer

from rasterloom.pipeline.cli.options import Cluster, Overwrite, Quiet, check_there, client_of
from rasterloom.pipeline.cli.train_options import (
    Argument,
    Backbone,
    BatchSize,
    ChipsArgument,
    ChipSize,
    ClassBalancing,
    Dice,
    EarlyStopping,
    Epochs,
    Freeze,
    ModelOption,
    OutputOption,
    Pretrained,
    PretrainedModel,
    ProcessorOption,
    Rate,
    Seed,
    Trust,
    ValShare,
    Workers,
)


def train(
    chips: ChipsArgument,
    output: OutputOption = Path("model.dlpk"),
    model: ModelOption = "UNET",
    backbone: Backbone = None,
    pretrained: Pretrained = True,
    pretrained_model: PretrainedModel = None,
    freeze: Freeze = True,
    trust: Trust = False,
    epochs: Epochs = 10,
    lr: Rate = None,
    batch_size: BatchSize = 16,
    early_stopping: EarlyStopping = False,
    class_balancing: ClassBalancing = False,
    dice: Dice = 0.0,
    setting: Argument = None,
    chip_size: ChipSize = 224,
    val_share: ValShare = 0.1,
    workers: Workers = 0,
    cluster: Cluster = None,
    processor: ProcessorOption = None,
    seed: Seed = 42,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Train a model on chips and save it as a package."""
    from rasterloom.pipeline.training import train_model

    for path in chips:
        check_there("chips", str(path))
    plain: dict[str, Any] = {"chip_size": chip_size, "class_balancing": class_balancing or None}
    plain["dice_loss_fraction"] = dice or None
    arguments = {name: value for name, value in plain.items() if value is not None} | _pairs(setting)
    with client_of(workers, cluster) as client:
        path = train_model.train_model(
            [str(path) for path in chips],
            model,
            arguments,
            batch_size=batch_size,
            max_epochs=epochs,
            learning_rate=lr,
            backbone_model=backbone,
            validation_percent=round(100 * val_share, 9),
            pretrained_model=pretrained_model,
            stop_training=early_stopping,
            freeze_model=freeze,
            overwrite_model=overwrite,
            output_name=output.absolute(),
            context={} if processor is None else {"processorType": processor.value},
            client=client,
            pretrained=pretrained,
            progress=not quiet,
            seed=seed,
            trust=trust,
        )
    typer.echo(path)
    if not quiet:
        typer.echo(f"next: {_next(model, path)}", err=True)


def _next(model: str, path: Any) -> str:
    from rasterloom.models.contract import Task
    from rasterloom.pipeline.training.model_types import find_model_type

    task = find_model_type(model, started=True).task
    if task is Task.OBJECTS:
        return f"rasterloom detect-objects RASTER {path} -o found.parquet"
    if task is Task.SCENES:
        return f"rasterloom classify-objects RASTER {path} -f FEATURES -o labels.parquet"
    if task is Task.CHANGE:
        return f"rasterloom detect-change FROM TO {path} -o change.tif"
    return f"rasterloom classify-pixels RASTER {path} -o classes.tif"


def _pairs(settings: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in settings or ():
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            from rasterloom.models.errors import SettingError

            raise SettingError(f"--set {text} cannot be read: write a name, =, and a value: focal_loss=true.")
        pairs[name.strip()] = value.strip()
    return pairs
