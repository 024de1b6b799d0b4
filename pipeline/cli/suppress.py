"""``rasterloom suppress``: of objects found more than once, keep the best."""

from typing import Annotated

import typer

from rasterloom.pipeline.cli.options import (
    READING,
    Cluster,
    Output,
    Overwrite,
    Quiet,
    check_named,
    check_there,
    client_of,
)

_RULE = "What is too much"


def suppress(
    features: Annotated[
        str, typer.Argument(metavar="FEATURES", help="A vector layer, such as detect-objects writes.")
    ],
    output: Output = None,
    score_field: Annotated[
        str, typer.Option("--score-field", help="Field with the scores.", rich_help_panel=READING)
    ] = "Confidence",
    class_field: Annotated[
        str | None,
        typer.Option(
            "--class-field",
            help="Field with the classes. Default: ClassValue or Value, where there is one.",
            rich_help_panel=READING,
        ),
    ] = None,
    max_overlap: Annotated[
        float,
        typer.Option(
            "--max-overlap",
            min=0,
            max=1,
            help="Shared area over common area, above which the lower score is dropped.",
            rich_help_panel=_RULE,
        ),
    ] = 0.0,
    across_classes: Annotated[
        bool,
        typer.Option(
            "--across-classes",
            help="Let features of different classes suppress each other, too.",
            rich_help_panel=_RULE,
        ),
    ] = False,
    overwrite: Overwrite = False,
    cluster: Cluster = None,
    quiet: Quiet = False,
) -> None:
    """Keep, of features that overlap too much, the one with the highest score.

    The layer is treated as a whole, however large it is.
    """
    check_there("layer", features)
    check_named(features, output, "kept.parquet")
    from rasterloom.pipeline.inference.suppress import non_maximum_suppression

    with client_of(0, cluster) as client:
        written = non_maximum_suppression(
            features,
            score_field,
            output,
            class_field,
            max_overlap,
            across_classes=across_classes,
            client=client,
            overwrite=overwrite,
            progress=not quiet,
        )
    typer.echo(written)
    if not quiet:
        typer.echo(f"next: rasterloom info {written}", err=True)
