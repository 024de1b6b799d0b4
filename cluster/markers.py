"""The folder of a run: which batches are complete, what they reported, and how the run ended."""

import json
import platform
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from rasterloom.cluster.failures import megabytes
from rasterloom.cluster.jobs import Batch, BatchResult, CellFailure, RunReport
from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError, SettingError

SUMMARY_BYTES = 10_000
"""Most that the summary of one batch may take as JSON."""

_READERS = 16
"""Markers read at once from a store that answers slowly."""

_VERSIONS = ("rasterloom", "dask", "distributed", "numpy", "torch", "rasterio")


class RunFolder:
    """Completion markers and the report of one run.

    ``done/<batch>.json`` stands when a batch and all its outputs are complete; it holds the batch's result.
    ``failed/<batch>.json`` holds the result of a batch that gave up some of its cells: it counts as reported,
    and a later run tries it again. ``split/<batch>.json`` names the halves that a batch was cut into. Folders
    are listed once, on the first question, so a run asks about a million batches without touching the disk.
    All of it may stand in an object store: ``RunFolder("s3://bucket/run")``.
    """

    def __init__(self, path: str | Path | Place) -> None:
        self.place = Place.of(path)
        self._done: set[str] | None = None
        self._split: set[str] = set()

    @property
    def path(self) -> Path:
        """The folder itself.

        Raises
        ------
        SettingError
            If it stands in an object store.
        """
        return self.place.path

    @property
    def tiles(self) -> Place:
        """Where the batches of a run may keep what they write until it is put together."""
        return self.place / "tiles"

    @property
    def inputs(self) -> Place:
        """What the tasks read besides the files that every worker sees."""
        return self.place / "inputs"

    def prepare(self) -> None:
        """Make the folders, where there is such a thing as an empty folder.

        Raises
        ------
        OutputError
            If they cannot be made.
        """
        if self.place.is_local:
            for name in ("done", "failed", "split"):
                _guarded(self.place, lambda name=name: (self.path / name).mkdir(parents=True, exist_ok=True))

    def done(self, batch: Batch) -> bool:
        """Whether all cells of ``batch`` are complete: by its own marker, or by those of both halves."""
        if self._done is None:
            self._load()
        assert self._done is not None, "just loaded"
        if batch.id in self._done:
            return True
        if batch.id not in self._split:
            return False
        halves = batch.halves()
        return halves is not None and all(self.done(half) for half in halves)

    def missing(self, batch: Batch) -> Iterator[Batch]:
        """The parts of ``batch`` that are still to be computed: itself, or what is left of its halves."""
        if self.done(batch):
            return
        halves = batch.halves() if batch.id in self._split else None
        if halves is None:
            yield batch
            return
        for half in halves:
            yield from self.missing(half)

    def mark(self, result: BatchResult) -> None:
        """Record that a batch is complete. The marker appears whole or not at all.

        Raises
        ------
        OutputError
            If the marker cannot be written.
        SettingError
            If the summary is larger than SUMMARY_BYTES.
        """
        folder = "failed" if result.failed else "done"
        self._write(f"{folder}/{result.batch}.json", _result_text(result))
        if not result.failed:
            (self.place / "failed").remove(f"{result.batch}.json")
            if self._done is not None:
                self._done.add(result.batch)

    def split(self, batch: Batch) -> None:
        """Record that ``batch`` is computed in halves from now on. Nothing happens where it cannot be cut."""
        halves = batch.halves()
        if halves is None or batch.id in self._split:
            return
        self._write(f"split/{batch.id}.json", json.dumps([half.id for half in halves]))
        self._split.add(batch.id)
        # From now on its halves report its cells.
        (self.place / "failed").remove(f"{batch.id}.json")

    def result(self, batch: Batch) -> BatchResult | None:
        """What ``batch`` reported when it was completed, or None. Reads one file."""
        try:
            return _read_result(self.place, f"done/{batch.id}.json")
        except FileNotFoundError:
            return None

    def results(self) -> Iterator[BatchResult]:
        """What all complete or partly failed batches reported, in the order of their ids.

        Every cell is reported once: parts of a batch that is complete as a whole are left out.
        """
        done, failed = self._listed("done"), self._listed("failed")
        hidden = self._parts_of_complete(done)
        names = sorted((done | failed) - hidden)
        markers = (f"{'done' if name in done else 'failed'}/{name}.json" for name in names)
        yield from self._read_all(markers)

    def write_report(self, report: RunReport, *, state: str = "finished") -> None:
        """Write ``run.json`` and ``failed.parquet``.

        Parameters
        ----------
        report
            What came of the run.
        state
            How it ended: "finished", "interrupted" or "stopped".

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        self._write("run.json", json.dumps(_report_values(report, state), indent=2))
        _guarded(self.place, lambda: self._write_failed(report.failed))

    def forget_batches(self) -> None:
        """Remove the markers of a run whose output stands; ``run.json`` and ``failed.parquet`` stay."""
        for name in ("done", "failed", "split"):
            with suppress(OSError):  # a straggler may still write here, and nobody reads it any more
                (self.place / name).remove_all()
        self._done, self._split = None, set()

    def clear(self) -> None:
        """Forget every batch, split and report of the run. Outputs are left alone."""
        self.forget_batches()
        for name in ("run.json", "failed.parquet"):
            self.place.remove(name)

    def _load(self) -> None:
        self._done, self._split = self._listed("done"), self._listed("split")

    def _listed(self, folder: str) -> set[str]:
        return {name[:-5] for name in (self.place / folder).names() if name.endswith(".json")}

    def _parts_of_complete(self, done: set[str]) -> set[str]:
        parts = {name: json.loads(self.place.read(f"split/{name}.json")) for name in self._listed("split")}
        hidden: set[str] = set()
        waiting = [half for name in parts if name in done for half in parts[name]]
        while waiting:
            name = waiting.pop()
            hidden.add(name)
            waiting.extend(parts.get(name, ()))
        return hidden

    def _read_all(self, markers: Iterable[str]) -> Iterator[BatchResult]:
        """The results in the order of ``markers``, a few at a time where each takes a round trip."""
        if self.place.is_local:
            yield from (_read_result(self.place, name) for name in markers)
            return
        waiting = iter(markers)
        with ThreadPoolExecutor(_READERS, thread_name_prefix="rasterloom-markers") as pool:
            while some := list(islice(waiting, 16 * _READERS)):
                yield from pool.map(lambda name: _read_result(self.place, name), some)

    def _write(self, name: str, text: str) -> None:
        _guarded(self.place, lambda: self.place.write(name, text.encode()))

    def _write_failed(self, failed: tuple[CellFailure, ...]) -> None:
        # Workers import this file, and none of them writes Parquet.
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table(
            {
                "cell": pa.array([failure.cell for failure in failed], pa.string()),
                "reason": pa.array([failure.reason for failure in failed], pa.string()),
                "attempts": pa.array([failure.attempts for failure in failed], pa.int32()),
            }
        )
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        self.place.write("failed.parquet", buffer.getvalue().to_pybytes())


def _guarded(folder: Place, write: Any) -> None:
    try:
        write()
    except OSError as error:
        free = folder.free_bytes()
        space = "" if free is None else f" {megabytes(free)} are free there."
        raise OutputError(
            f"The run's folder {folder} cannot be written ({error.strerror or error}).{space} "
            "Free some space, make it writable for all workers, or choose another output."
        ) from error


def _result_text(result: BatchResult) -> str:
    size = len(json.dumps(dict(result.summary)))
    if size > SUMMARY_BYTES:
        raise SettingError(
            f"The summary of batch {result.batch} takes {size} bytes: use {SUMMARY_BYTES} or less, "
            "and keep arrays in the outputs of the batch."
        )
    return json.dumps(asdict(result) | {"summary": dict(result.summary)})


def _read_result(place: Place, name: str) -> BatchResult:
    values = json.loads(place.read(name))
    values["failed"] = tuple(CellFailure(**failure) for failure in values["failed"])
    return BatchResult(**values)


def _report_values(report: RunReport, state: str) -> dict[str, Any]:
    values = asdict(report)
    values["failed"] = len(report.failed)
    return {
        "state": state,
        **values,
        "pixels_per_second": report.pixels / report.seconds if report.seconds else 0.0,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # optional, or run from a folder that was never installed
            continue
    return found
