"""``rasterloom train``: a model from a chip store."""

from pathlib import Path
from typing import Annotated

import typer

from rasterloom.pipeline.cli.options import Overwrite


def train(
    chips: Annotated[Path, typer.Argument(help="A chip store, as export-training-data writes it.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The model package to write (.dlpk).")
    ] = Path("model.dlpk"),
    model: Annotated[str, typer.Option("--model", help="Which class of model.")] = "UnetClassifier",
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Feature extractor. Default: resnet34.")
    ] = None,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training chips.")] = 10,
    lr: Annotated[
        float | None, typer.Option("--lr", help="Learning rate. Default: found by a sweep.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=2, help="Chips in a step.")] = 16,
    chip_size: Annotated[int, typer.Option("--chip-size", help="Crop chips to this side, in pixels.")] = 224,
    val_share: Annotated[
        float, typer.Option("--val-share", help="Share of chips kept for validation.")
    ] = 0.1,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained/--no-pretrained", help="Start from ImageNet weights (needs the internet)."
        ),
    ] = True,
    class_balancing: Annotated[
        bool, typer.Option("--class-balancing", help="Weigh rare classes up in the loss.")
    ] = False,
    dice: Annotated[float, typer.Option("--dice", help="Share of dice loss, 0..1.")] = 0.0,
    early_stopping: Annotated[
        bool, typer.Option("--early-stopping", help="Stop when it stops improving.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same split and weights.")] = 42,
    overwrite: Overwrite = False,
) -> None:
    """Train a model on chips and save it as a package."""
    from rasterloom.models.catalog import find_adapter
    from rasterloom.pipeline.datasets.prepare import prepare_data
    from rasterloom.pipeline.outputs.cog import check_free
    from rasterloom.pipeline.packages.save import save_package

    check_free(output, overwrite=overwrite)
    data = prepare_data(
        str(chips), chip_size=chip_size, val_split_pct=val_share, batch_size=batch_size, seed=seed
    )
    learner = find_adapter(model).load()(
        data,
        backbone=backbone,
        pretrained=pretrained,
        class_balancing=class_balancing,
        dice_loss_fraction=dice,
    )
    learner.fit(epochs, lr=lr, early_stopping=early_stopping)
    path = save_package(learner, output, overwrite=overwrite)
    typer.echo(str(path))
    typer.echo(f"next: rasterloom classify-pixels RASTER {path} -o classes.tif", err=True)
