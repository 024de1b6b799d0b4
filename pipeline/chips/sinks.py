"""What chips are written to and read from: a store, or a folder of files."""

from pathlib import Path
from typing import Any

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.chips.settings import STORE
from rasterloom.pipeline.store.append import check_append
from rasterloom.pipeline.store.chips import ChipReader
from rasterloom.pipeline.store.layout import StoreSpec
from rasterloom.pipeline.store.read import ChipStore, is_chip_store
from rasterloom.pipeline.store.write import ChipWriter


def create_sink(path: Path, spec: StoreSpec, chip_format: str, base: ChipReader | None = None) -> Any:
    """An empty store or folder, or one that begins with the chips of another of its kind.

    Raises
    ------
    SettingError, StoreError
        If the format cannot hold such chips, or ``base`` does not agree.
    OutputError
        If it cannot be written.
    """
    if base is not None:
        check_append(base.spec, spec)
    if chip_format == STORE:
        assert base is None or isinstance(base, ChipStore), "a store is appended to a store"
        return ChipWriter.create(path, spec, base=base)
    from rasterloom.pipeline.formats.sink import FolderSink

    return FolderSink.create(path, spec, chip_format=chip_format, base=base)


def open_sink(path: str, chip_format: str) -> Any:
    """What :func:`create_sink` laid out, in another process."""
    if chip_format == STORE:
        return ChipWriter.open(path)
    from rasterloom.pipeline.formats.sink import FolderSink

    return FolderSink.open(path)


def open_chips(path: str | Path) -> ChipReader:
    """The chips of a store or folder.

    Raises
    ------
    StoreError
        If there are none.
    """
    if is_chip_store(path):
        return ChipStore(path)
    from rasterloom.pipeline.formats.opening import open_chip_reader

    return open_chip_reader(path)


def chips_at(path: Path) -> ChipReader | None:
    """The chips at a place, or None where there are none that can be read."""
    try:
        reader = open_chips(path)
        return reader if reader.spec else None
    except StoreError:
        return None
