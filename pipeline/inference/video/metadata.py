"""The table of a video's metadata: one row for each frame, its objects in a column of their own."""

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rasterloom.models.errors import MissingInputError, ReadError
from rasterloom.pipeline.inference.video.telemetry import plain
from rasterloom.pipeline.inference.video.vmti import FrameTargets, read_vmti

COLUMN = "vmtilocaldataset"
"""Name of the column with the objects: VMTI local sets in hexadecimal digits, empty where nothing is."""
TIMES = ("precisiontimestamp", "unixtimestamp", "precisiontimestampmicroseconds", "timestamp")
"""Names of the column with times, without spaces, signs and capitals."""

_NEW = ("Precision Time Stamp", COLUMN)


class MetadataTable:
    """A table that gains the objects of a video, row by row; whole under its name when it is closed.

    Row k belongs to frame k. Rows that are there keep what they hold, and frames beyond the last row get rows
    of their own. Nothing but the row at hand is kept in memory.
    """

    def __init__(self, path: Path) -> None:
        """Begin a table, or go on with the one that is there.

        Raises
        ------
        MissingInputError
            If its folder is not there.
        ReadError
            If what is there is no table with a header.
        """
        if not path.parent.is_dir():
            raise MissingInputError(f"there is no folder {path.parent} for the metadata: make it first.")
        self.path = path
        self._temporary = path.with_name(f".{path.name}.part")
        self._old = _open_table(path)
        try:
            self._rows, columns, delimiter = _begin(path, self._old)
        except BaseException:
            self._close_old()
            raise
        self._wide = len(columns)
        self.header = columns if COLUMN in columns else [*columns, COLUMN]
        self._time = next((k for k, name in enumerate(self.header) if plain(name) in TIMES), None)
        self._column = self.header.index(COLUMN)
        self._file = self._temporary.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, delimiter=delimiter, lineterminator="\n")
        self._writer.writerow(self.header)
        self._waiting: list[str] | None = None
        self._number = 0

    def time_of(self, since_start: int) -> int:
        """When the next frame was taken: as its row says, else the microseconds since the video began."""
        self._waiting = self._waiting or self._next_row()
        text = self._waiting[self._time] if self._time is not None and self._waiting else ""
        try:
            return max(int(float(text)), 0)
        except ValueError:
            return since_start

    @property
    def waiting(self) -> dict[str, str]:
        """The texts of the next frame's row, by the plain names of their columns; empty where it has none."""
        self._waiting = self._waiting or self._next_row()
        return {plain(name): text for name, text in zip(self.header, self._waiting or [], strict=False)}

    def append(self, objects: bytes, time: int) -> None:
        """Put the objects of the next frame into its row; empty bytes say that there are none."""
        row = self._waiting or self._next_row()
        self._waiting = None
        if row is None:
            row = [""] * len(self.header)
            if self._time is not None:
                row[self._time] = str(time)
        row[self._column] = objects.hex()
        self._writer.writerow(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._close_old()
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        while (row := self._waiting or self._next_row()) is not None:
            self._waiting = None
            row[self._column] = ""
            self._writer.writerow(row)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._temporary.replace(self.path)

    def _next_row(self) -> list[str] | None:
        row = next(self._rows, None)
        if row is None:
            return None
        self._number += 1
        if len(row) > self._wide:
            raise ReadError(
                f"row {self._number} of {self.path} has {len(row)} fields and the header {self._wide}: "
                "put texts with the delimiter into quotes."
            )
        return row + [""] * (len(self.header) - len(row))

    def _close_old(self) -> None:
        if self._old is not None:
            self._old.close()


def read_targets(path: str | Path) -> Iterator[FrameTargets | None]:
    """The objects of each row of a metadata table; None where the column is empty.

    Raises
    ------
    MissingInputError
        If there is no such file.
    ReadError
        If it has no such column, or a field cannot be read.
    """
    path = Path(path)
    file = _open_table(path)
    if file is None:
        raise MissingInputError(f"there is no metadata file {path}.")
    with file:
        rows, header, _ = _begin(path, file, wanted=True)
        column = header.index(COLUMN)
        for number, row in enumerate(rows):
            text = row[column] if column < len(row) else ""
            try:
                yield read_vmti(bytes.fromhex(text)) if text else None
            except ValueError as error:
                raise ReadError(
                    f"row {number} of {path} holds no hexadecimal digits in {COLUMN}: {text[:20]!r}."
                ) from error


def _open_table(path: Path) -> TextIO | None:
    if not path.exists() or path.stat().st_size == 0:
        return None
    return path.open(newline="", encoding="utf-8-sig")


def _begin(
    path: Path, file: TextIO | None, *, wanted: bool = False
) -> tuple[Iterator[list[str]], list[str], str]:
    """The rows of a table, its header, and its delimiter."""
    if file is None:
        return iter(()), list(_NEW), ","
    try:
        delimiter = _delimiter(file.readline())
        file.seek(0)
        rows = csv.reader(file, delimiter=delimiter)
        header = next(rows)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReadError(
            f"{path} is no table of text: {error}. Give a csv file, or the name of a new one."
        ) from error
    if wanted and COLUMN not in header:
        raise ReadError(f"{path} has no column {COLUMN}: it has {', '.join(header)}.")
    return rows, header, delimiter


def _delimiter(line: str) -> str:
    counts: Mapping[str, int] = {sign: line.count(sign) for sign in ",;\t"}
    return max(counts, key=lambda sign: counts[sign])
