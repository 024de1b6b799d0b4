"""``rasterloom convert``: chips from one format into another."""

from pathlib import Path
from typing import Annotated

import typer

from rasterloom.pipeline.cli.export_options import ChipFormatOption, MetadataFormatOption
from rasterloom.pipeline.cli.options import Cluster, Overwrite, Quiet, Workers, check_there, client_of


def convert(
    chips: Annotated[
        Path, typer.Argument(metavar="CHIPS", help="A chip store, or a folder of chips, of whatever origin.")
    ],
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The store or folder to write.")],
    chip_format: ChipFormatOption = None,
    metadata_format: MetadataFormatOption = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    cluster: Cluster = None,
    quiet: Quiet = False,
) -> None:
    """Write chips in another format, as far as they hold what it needs."""
    from rasterloom.pipeline.chips import convert as conversion

    check_there("chips", str(chips))
    with client_of(workers, cluster) as client:
        written = conversion.convert(
            chips,
            output,
            metadata_format=None if metadata_format is None else metadata_format.value,
            chip_format=None if chip_format is None else chip_format.value,
            client=client,
            overwrite=overwrite,
            progress=not quiet,
        )
    typer.echo(written)
