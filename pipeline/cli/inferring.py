"""What the commands of all inference tools have in common."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import typer

from rasterloom.pipeline.cli.options import check_named, check_there


def check_together(
    raster: str,
    output: str | None,
    reading: Mapping[str, Any],
    *,
    each: bool,
    estimate: bool,
    example: str,
) -> None:
    """Refuse words that cannot go together. Raises SettingError; ``example`` is a name for a result."""
    from rasterloom.models.errors import SettingError

    if each and reading:
        option = next(iter(reading))
        raise SettingError(f"--{option} says how parts become one raster, and --each keeps them apart.")
    if each and estimate:
        raise SettingError("--estimate prices one raster: give a file of the folder instead of --each.")
    if output is None and reading and not estimate:
        raise SettingError(
            f"--output is missing: with --{next(iter(reading))} there may be several results of "
            f"one source. Say what to write: -o {example}."
        )
    if not estimate:
        check_named(raster, output, example)


def source_of(raster: str, reading: Mapping[str, Any]) -> Any:
    """The raster as it was named, or described where words say how to read it."""
    if not reading:
        return raster
    from rasterloom.pipeline.rasters.open import describe

    return describe(raster, **reading)


def check_model(model: str) -> None:
    """Refuse what is no package here and no installed model, before anything large is loaded."""
    from rasterloom.pipeline.packages.registry import Registry

    if not Registry.of(None).holds(model):
        check_there("model", model, ".dlpk", ".emd")


def word(choice: StrEnum | None) -> str | None:
    """A choice as a plain word; None where there is none."""
    # a plan is hashed and pickled with what it is given: plain words, as from Python
    return None if choice is None else choice.value


def print_estimate(estimate: Any) -> None:
    """Print what a run would take, a line for each figure that is known."""
    rows = {
        "tiles": f"{estimate.chips:,}",
        "pixels": f"{estimate.pixels:,}",
        "tasks": f"{estimate.batches:,}",
        "reads": _bytes(estimate.bytes_read),
        "writes": f"{_bytes(estimate.bytes_written)} before compression" if estimate.bytes_written else "",
        "memory": f"{_bytes(estimate.peak_memory)} for each process, at most",
        "time": _time(estimate.seconds),
    }
    for name, value in rows.items():
        if value:
            typer.echo(f"{name:8} {value}")


def _bytes(number: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:,.3g} TB"


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s in the network"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min in the network" if hours else f"{minutes} min in the network"
