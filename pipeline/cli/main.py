"""The ``rasterloom`` command. Imports nothing heavy, so that help comes at once."""

import sys
import warnings
from collections.abc import Callable

import typer
from rich.console import Console

from rasterloom.models.errors import RasterloomError, RunInterrupted, TooManyFailures
from rasterloom.pipeline.cli.accuracy import accuracy
from rasterloom.pipeline.cli.classify import classify_pixels
from rasterloom.pipeline.cli.classify_objects import classify_objects
from rasterloom.pipeline.cli.cluster import cluster
from rasterloom.pipeline.cli.convert import convert
from rasterloom.pipeline.cli.demo import demo
from rasterloom.pipeline.cli.detect import detect_objects
from rasterloom.pipeline.cli.detect_change import detect_change
from rasterloom.pipeline.cli.doctor import doctor
from rasterloom.pipeline.cli.export import export_training_data
from rasterloom.pipeline.cli.info import info
from rasterloom.pipeline.cli.lines import extract_lines
from rasterloom.pipeline.cli.models import models
from rasterloom.pipeline.cli.polygonize import polygonize
from rasterloom.pipeline.cli.suppress import suppress
from rasterloom.pipeline.cli.train import train

EXIT_ERROR = 1
"""Something given cannot work, or an output could not be written."""
EXIT_TOO_MANY_FAILURES = 3
"""A run finished with more failed cells than allowed."""
EXIT_INTERRUPTED = 130
"""A run was cut off; the same command goes on from there."""

_STEPS = """Deep learning over rasters of any size, on Dask.

[bold]From labels to a map in three steps:[/bold]

1. cut chips       [cyan]rasterloom export-training-data scene.tif labels.parquet -o chips.zarr[/cyan]

2. train           [cyan]rasterloom train chips.zarr -o model.dlpk[/cyan]

3. map             [cyan]rasterloom classify-pixels scene.tif model.dlpk -o classes.tif[/cyan]

   or find things  [cyan]rasterloom detect-objects scene.tif model.dlpk -o found.parquet[/cyan]

[bold]Never seen it work?[/bold] [cyan]rasterloom demo[/cyan] does all three on a generated scene in minutes.
"""

app = typer.Typer(
    help=_STEPS,
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_EXAMPLES: dict[str, tuple[str, ...]] = {
    "export-training-data": (
        "rasterloom export-training-data scene.tif labels.parquet --tile-size 128",
        "rasterloom export-training-data photos/ labels.gpkg --class-field crop -o chips.zarr",
        "rasterloom export-training-data scene.tif trees.gpkg --metadata-format YOLO --chip-format PNG "
        "--buffer-radius 3 -o trees --split 80/10/10",
    ),
    "convert": (
        "rasterloom convert chips.zarr coco --metadata-format COCO --chip-format PNG",
        "rasterloom convert exported_elsewhere chips.zarr --chip-format ZARR",
    ),
    "train": ("rasterloom train chips.zarr -o model.dlpk --epochs 10 --backbone resnet34",),
    "classify-pixels": (
        "rasterloom classify-pixels scene.tif model.dlpk -o classes.tif --padding 64",
        "rasterloom classify-pixels scene.tif model.dlpk --estimate",
        "rasterloom classify-pixels photos/ model.dlpk -o classes.tif --mask county.gpkg --threshold 0.6",
        "rasterloom classify-pixels scene.tif model.dlpk -o shares.tif --probabilities --blend gaussian",
        "rasterloom classify-pixels photos/ model.dlpk -o maps/ --each",
        "rasterloom classify-pixels item.json model.dlpk -o s3://bucket/classes.tif --assets red,green,blue",
    ),
    "detect-objects": (
        "rasterloom detect-objects scene.tif model.dlpk -o found.parquet --padding 64",
        "rasterloom detect-objects scene.tif model.dlpk -o found.gpkg --threshold 0.7 --tta",
        "rasterloom detect-objects photos/ model.dlpk -o found.parquet --mask county.gpkg --nms",
        "rasterloom detect-objects photos/ model.dlpk -o found/ --each",
    ),
    "detect-change": (
        "rasterloom detect-change 2019.tif 2024.tif model.dlpk -o change.tif --polygons changed.parquet",
        "rasterloom detect-change before/ after/ model.dlpk -o change.tif --cell-size 0.5 --resampling cubic",
    ),
    "classify-objects": (
        "rasterloom classify-objects scene.tif model.dlpk --features roofs.gpkg -o kinds.parquet",
        "rasterloom classify-objects scene.tif model.dlpk -f trees.gpkg -o kinds.gpkg --label-field kind",
        "rasterloom classify-objects photos/ model.dlpk -o photos.parquet",
    ),
    "polygonize": (
        "rasterloom polygonize classes.tif -o areas.parquet --minimum-area 100 --simplify 5",
        "rasterloom polygonize classes.tif -o buildings.gpkg --classes 3 --regularize",
    ),
    "suppress": (
        "rasterloom suppress found.parquet -o kept.parquet --max-overlap 0.3",
        "rasterloom suppress trees.gpkg --score-field score --class-field species --across-classes",
    ),
    "extract-lines": (
        "rasterloom extract-lines roads.tif -o roads.parquet --minimum-length 20",
        "rasterloom extract-lines classes.tif -o roads.gpkg --class-value 5 --minimum-area 200 --smooth",
    ),
    "accuracy": (
        "rasterloom accuracy found.parquet truth.gpkg",
        "rasterloom accuracy found.parquet truth.gpkg --report report.html --raster scene.tif",
        "rasterloom accuracy found.parquet truth.gpkg -o figures.csv --mask area.gpkg --min-iou 0.4",
    ),
    "info": ("rasterloom info model.dlpk", "rasterloom info https://example.org/scene.tif"),
    "demo": (
        "rasterloom demo",
        "rasterloom demo --raster scene.tif --labels labels.geojson --class-field kind",
    ),
    "doctor": ("rasterloom doctor", "rasterloom doctor --cluster tls://10.0.0.5:8786 --tls keys/client"),
}

_COMMANDS: dict[str, Callable[..., None]] = {
    "export-training-data": export_training_data,
    "convert": convert,
    "train": train,
    "classify-pixels": classify_pixels,
    "detect-objects": detect_objects,
    "classify-objects": classify_objects,
    "detect-change": detect_change,
    "polygonize": polygonize,
    "suppress": suppress,
    "extract-lines": extract_lines,
    "accuracy": accuracy,
    "info": info,
    "demo": demo,
    "doctor": doctor,
}
for _name, _command in _COMMANDS.items():
    _lines = ["[bold]Examples[/bold]", *(f"[cyan]{line}[/cyan]" for line in _EXAMPLES[_name])]
    app.command(_name, epilog="\n\n".join(_lines))(_command)
app.add_typer(models, name="models")
app.add_typer(cluster, name="cluster")


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and end.", is_eager=True),
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"rasterloom {installed('rasterloom')}")
        raise typer.Exit


_version.__doc__ = _STEPS


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code.

    0 all is done; 1 something given cannot work; 2 the words cannot be parsed; 3 too many cells failed;
    130 interrupted.
    """
    warnings.showwarning = _note
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        app(args=arguments, prog_name="rasterloom")
    except SystemExit as end:  # how typer ends, after it has explained wrong words
        return int(end.code or 0)
    except (RunInterrupted, KeyboardInterrupt) as error:
        return _say(str(error) or "interrupted", EXIT_INTERRUPTED)
    except TooManyFailures as error:
        return _say(str(error), EXIT_TOO_MANY_FAILURES)
    except RasterloomError as error:
        return _say(str(error), EXIT_ERROR)
    return 0


def _say(message: str, code: int) -> int:
    # errors speak Python, and this is what a repeated command meets most
    _tell("[bold red]rasterloom:[/bold red]", _worded(message))
    return code


def _worded(message: str) -> str:
    for argument in ("overwrite=True", "overwrite_model=True"):
        message = message.replace(argument, "--overwrite")
    return message


def _note(message: Warning | str, *_where: object, **_more: object) -> None:
    """A warning as a sentence: which line of which file gave it helps nobody at a terminal."""
    _tell("[bold yellow]note:[/bold yellow]", str(message))


def _tell(head: str, message: str) -> None:
    console = Console(stderr=True, highlight=False)
    console.print(head, end=" ")
    console.print(message, markup=False, soft_wrap=True)
