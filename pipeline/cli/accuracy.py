"""``rasterloom accuracy``: detected objects against ground truth."""

import math
from typing import Annotated, Any

import typer

from rasterloom.pipeline.cli.options import PLACE, READING, RESULT, Extent, Overwrite, check_there


def accuracy(
    detected: Annotated[
        str, typer.Argument(metavar="DETECTED", help="Detected objects, as detect-objects writes them.")
    ],
    truth: Annotated[str, typer.Argument(metavar="TRUTH", help="True objects: a vector file, in any CRS.")],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="The table to write, .csv or .parquet. Default: beside DETECTED.",
            rich_help_panel=RESULT,
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(
            "--report", help="A report to write, .html or .pdf: curves, worst misses.", rich_help_panel=RESULT
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            "--features",
            help="Where to write what is right, wrong and missed. Default: beside the table.",
            rich_help_panel=RESULT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    raster: Annotated[
        str | None,
        typer.Option(
            "--raster",
            help="What the objects were detected on, for pictures in the report.",
            rich_help_panel=READING,
        ),
    ] = None,
    detected_field: Annotated[
        str | None,
        typer.Option("--detected-field", help="Class field of DETECTED.", rich_help_panel=READING),
    ] = None,
    truth_field: Annotated[
        str | None, typer.Option("--truth-field", help="Class field of TRUTH.", rich_help_panel=READING)
    ] = None,
    confidence_field: Annotated[
        str | None,
        typer.Option(
            "--confidence-field",
            help="Field of confidences. Default: Confidence or Score.",
            rich_help_panel=READING,
        ),
    ] = None,
    min_iou: Annotated[
        float, typer.Option("--min-iou", help="Least overlap of a match, above 0 and at most 1.")
    ] = 0.5,
    outlines: Annotated[
        bool, typer.Option("--outlines", help="Compare the polygons themselves, not their bounding boxes.")
    ] = False,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask", help="Polygons: only what lies completely within them counts.", rich_help_panel=PLACE
        ),
    ] = None,
    extent: Extent = None,
) -> None:
    """Say how well detected objects agree with ground truth."""
    for what, path in (("detected objects", detected), ("ground truth", truth), ("mask", mask)):
        check_there(what, path)
    from rasterloom.pipeline.reports.detection import compute_accuracy_for_object_detection

    result = compute_accuracy_for_object_detection(
        detected,
        truth,
        detected_field,
        truth_field,
        min_iou,
        mask,
        output,
        report,
        None if extent is None else {"extent": extent},
        raster=raster,
        confidence_score_field=confidence_field,
        out_features_name=features,
        overlap="outlines" if outlines else "boxes",
        overwrite=overwrite,
    )
    _show(result)
    for path in (result.table, result.features, result.report):
        if path is not None:
            typer.echo(path)


def _show(result: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"overlap of {result.min_iou:g} or more", title_justify="left", box=None)
    table.add_column("class")
    for head in ("precision", "recall", "F1", "AP", "mAP", "right", "wrong", "missed"):
        table.add_column(head, justify="right", no_wrap=True)
    for score in (*result.per_class, result.overall):
        if score is result.overall:
            table.add_section()
        shares = (score.precision, score.recall, score.f1, score.average_precision, score.coco)
        counts = (score.true_positives, score.false_positives, score.misses)
        table.add_row(score.name, *(_share(share) for share in shares), *(f"{count:,}" for count in counts))
    Console().print(table)


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
