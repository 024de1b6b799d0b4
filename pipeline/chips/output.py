"""Where chips go: the name they get, what may stand there, and how they come to stand there whole."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.errors import OutputError, OutputExistsError, SettingError, StoreError
from rasterloom.pipeline.chips.settings import ExportSettings
from rasterloom.pipeline.chips.sinks import chips_at
from rasterloom.pipeline.store.chips import ChipReader
from rasterloom.pipeline.store.read import ChipStore


def output_path(location: str | Path | None, input_raster: Any, *, store: bool) -> Path:
    """Where chips are written: at ``location``, by default beside the raster.

    Raises
    ------
    SettingError
        If that is no local folder, or there is no place beside the raster.
    """
    if location is None:
        if not isinstance(input_raster, str | Path) or "://" in str(input_raster):
            raise SettingError("output_location is missing: it has a default only beside a file or folder.")
        path = Path(input_raster)
        return path.with_name(f"{path.stem}_chips{'.zarr' if store else ''}").absolute()
    if "://" in str(location):
        raise SettingError(f"output_location={location!r} is no local folder: write there and copy it.")
    return Path(location).absolute()


def claim(output: Path, settings: ExportSettings, *, overwrite: bool) -> ChipReader | None:
    """The chips that are appended to, or None where the place is free, or may be written over.

    Raises
    ------
    OutputExistsError
        If something stands there that is not to be replaced.
    StoreError
        If chips cannot be appended to what stands there.
    """
    _mend(output)
    if not output.exists() or _is_empty(output):
        return None
    there = chips_at(output)
    if overwrite:
        if there is None:
            raise OutputExistsError(f"{output} is no chip store and is not replaced: choose another name.")
        return None
    if there is None or not settings.start_index:
        raise OutputExistsError(
            f"{output} exists: choose another name, or replace it with overwrite=True. To append to chips, "
            'give context={"startIndex": N}.'
        )
    _check_appendable(there, settings)
    return there


def _check_appendable(there: ChipReader, settings: ExportSettings) -> None:
    free = int(np.max(there.numbers)) + 1 if len(there) else 0
    if settings.start_index < free:
        raise SettingError(
            f"startIndex={settings.start_index} would number chips like those in {there.path}: "
            f"use {free} or more."
        )
    if isinstance(there, ChipStore) != settings.is_store:
        kind = ("a store", "a folder of files") if settings.is_store else ("a folder of files", "a store")
        raise StoreError(
            f"{there.path} is {kind[1]} and not {kind[0]}: append with the chip_format that it was written "
            "with, or write to another place."
        )


@contextmanager
def staging(output: Path) -> Iterator[Path]:
    """A folder for what is prepared before it is known which run it belongs to, near the output."""
    near = next((p for p in output.parents if p.is_dir()), Path.cwd())
    try:
        # beside the output and not in the system's folder, which may be memory
        folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".labels", dir=near))
    except OSError as error:
        raise OutputError(f"{near} cannot be written: {error}. Choose a writable folder.") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_in_place(partial: Path, output: Path) -> None:
    """Give finished chips their name; what stood there goes once they have it.

    Raises
    ------
    OutputError
        If they cannot be moved.
    """
    replaced = _replaced(output)
    try:
        if output.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            output.rename(replaced)
        partial.rename(output)
    except OSError as error:
        if replaced.exists() and not output.exists():
            replaced.rename(output)
        raise OutputError(f"the finished chips cannot be moved to {output}: {error}.") from error
    shutil.rmtree(replaced, ignore_errors=True)


def _mend(output: Path) -> None:
    """Bring back what a run that was killed between two renames has put aside."""
    replaced = _replaced(output)
    if replaced.exists() and not output.exists():
        with suppress(OSError):
            replaced.rename(output)


def _replaced(output: Path) -> Path:
    return output.with_name(f".{output.name}.replaced")


def _is_empty(output: Path) -> bool:
    return output.is_dir() and not any(output.iterdir())
