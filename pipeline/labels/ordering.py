"""Sort more rows than memory holds: sorted runs on disk, merged block by block."""

import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow
import pyarrow.ipc

RUN = 65_536, 64 << 20
"""Most rows, and bytes, that are sorted in memory."""

_BLOCK = 2048, 1 << 20
"""Most rows, and about as many bytes, of each run that are in memory while runs are merged."""

_MOST_RUNS = 64
"""Runs that are merged at once; more are first merged among themselves."""


class Sorter:
    """Arrow tables in, blocks of rows in ascending order of two columns out. A context manager.

    The order is total where no two rows agree in both columns, and then it does not depend on how the rows
    came in.
    """

    def __init__(self, by: tuple[str, str], folder: Path) -> None:
        """``folder`` is where runs are kept while the sorter is open, if there is more than one."""
        self._by = by
        self._where = folder
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._waiting: list[Any] = []
        self._rows = self._bytes = 0
        self._runs: list[Path] = []
        self._made = 0

    def __enter__(self) -> "Sorter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, table: Any) -> None:
        """Take some rows."""
        self._waiting.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows >= RUN[0] or self._bytes >= RUN[1]:
            self._flush()

    def blocks(self) -> Iterator[Any]:
        """All rows in order, as tables of some thousand rows."""
        if not self._runs:
            if self._waiting:
                yield self._sorted()
            return
        if self._waiting:
            self._flush()
        while len(self._runs) > _MOST_RUNS:
            first, self._runs = self._runs[:_MOST_RUNS], self._runs[_MOST_RUNS:]
            self._keep(self._merged(first))
            for path in first:
                path.unlink()
        yield from self._merged(self._runs)

    def _sorted(self) -> Any:
        table = pyarrow.concat_tables(self._waiting)
        self._waiting, self._rows, self._bytes = [], 0, 0
        first, second = (table[name].to_numpy() for name in self._by)
        return table.take(np.lexsort((second, first)))

    def _flush(self) -> None:
        table = self._sorted()
        step = max(1, min(_BLOCK[0], _BLOCK[1] * table.num_rows // max(table.nbytes, 1)))
        self._keep(table.slice(start, step) for start in range(0, table.num_rows, step))

    def _keep(self, tables: Iterator[Any]) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix=".sorting-", dir=self._where)
        path = Path(self._folder.name) / f"{self._made}.arrow"
        self._made += 1
        first = next(tables)
        with pyarrow.ipc.new_stream(path, first.schema) as writer:
            for table in chain([first], tables):
                writer.write_table(table.combine_chunks())
        self._runs.append(path)

    def _merged(self, paths: list[Path]) -> Iterator[Any]:
        runs = [_Run(path, self._by) for path in paths]
        try:
            while runs := [run for run in runs if run.ready()]:
                # rows up to here are complete: what a run has not shown yet comes after its last row
                reach = min(run.last for run in runs)
                parts = [part for run in runs if (part := run.taken(reach)).num_rows]
                table = pyarrow.concat_tables(parts)
                first, second = (table[name].to_numpy() for name in self._by)
                yield table.take(np.lexsort((second, first)))
        finally:
            for run in runs:
                run.close()


class _Run:
    """One sorted run, read from its start."""

    def __init__(self, path: Path, by: tuple[str, str]) -> None:
        self._file = pyarrow.OSFile(str(path))
        self._reader = pyarrow.ipc.open_stream(self._file)
        self._by = by
        self._table: Any = None
        self._at = 0

    def ready(self) -> bool:
        """Whether rows are left; reads on where those in memory are used up."""
        if self._table is None or self._at == self._table.num_rows:
            try:
                batch = self._reader.read_next_batch()
            except StopIteration:
                self.close()
                return False
            self._table, self._at = pyarrow.Table.from_batches([batch]), 0
            self._first, self._second = (self._table[name].to_numpy() for name in self._by)
        return True

    @property
    def last(self) -> tuple[Any, Any]:
        """Of the rows in memory."""
        return self._first[-1], self._second[-1]

    def taken(self, reach: tuple[Any, Any]) -> Any:
        """The next rows up to a place in the order, that row included."""
        begin, start = self._at, np.searchsorted(self._first, reach[0], side="left")
        stop = np.searchsorted(self._first, reach[0], side="right")
        self._at = int(start + np.searchsorted(self._second[start:stop], reach[1], side="right"))
        self._at = max(self._at, begin)
        return self._table.slice(begin, self._at - begin)

    def close(self) -> None:
        self._file.close()
