"""The folder of a run: which batches are complete, what they reported, and how the run ended."""

import json
import os
import platform
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rasterloom.cluster.failures import free_bytes, megabytes
from rasterloom.cluster.jobs import Batch, BatchResult, CellFailure, RunReport
from rasterloom.models.errors import OutputError, SettingError

SUMMARY_BYTES = 10_000
"""Most that the summary of one batch may take as JSON."""

_VERSIONS = ("rasterloom", "dask", "distributed", "numpy", "torch", "rasterio")


class RunFolder:
    """Completion markers and the report of one run.

    ``done/<batch>.json`` stands when a batch and all its outputs are complete; it holds the batch's result.
    ``failed/<batch>.json`` holds the result of a batch that gave up some of its cells: it counts as reported,
    and a later run tries it again. ``split/<batch>.json`` names the halves that a batch was cut into. Folders
    are listed once, on the first question, so a run asks about a million batches without touching the disk.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._done: set[str] | None = None
        self._split: set[str] = set()

    @property
    def tiles(self) -> Path:
        """Where the batches of a run may keep what they write until it is put together."""
        return self.path / "tiles"

    def prepare(self) -> None:
        """Make the folders.

        Raises
        ------
        OutputError
            If they cannot be made.
        """
        for name in ("done", "failed", "split"):
            _guarded(self.path, lambda name=name: (self.path / name).mkdir(parents=True, exist_ok=True))

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
            (self.path / "failed" / f"{result.batch}.json").unlink(missing_ok=True)
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
        (self.path / "failed" / f"{batch.id}.json").unlink(missing_ok=True)

    def result(self, batch: Batch) -> BatchResult | None:
        """What ``batch`` reported when it was completed, or None. Reads one file."""
        try:
            return _read_result(self.path / "done" / f"{batch.id}.json")
        except FileNotFoundError:
            return None

    def results(self) -> Iterator[BatchResult]:
        """What all complete or partly failed batches reported, in the order of their ids.

        Every cell is reported once: parts of a batch that is complete as a whole are left out.
        """
        done, failed = self._listed("done"), self._listed("failed")
        hidden = self._parts_of_complete(done)
        for name in sorted((done | failed) - hidden):
            yield _read_result(self.path / ("done" if name in done else "failed") / f"{name}.json")

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
        _guarded(self.path, lambda: self._write_failed(report.failed))

    def forget_batches(self) -> None:
        """Remove the markers of a run whose output stands; ``run.json`` and ``failed.parquet`` stay."""
        for name in ("done", "failed", "split"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        self._done, self._split = None, set()

    def clear(self) -> None:
        """Forget every batch, split and report of the run. Outputs are left alone."""
        self.forget_batches()
        for name in ("run.json", "failed.parquet"):
            (self.path / name).unlink(missing_ok=True)

    def _load(self) -> None:
        self._done, self._split = self._listed("done"), self._listed("split")

    def _listed(self, folder: str) -> set[str]:
        try:
            names = os.listdir(self.path / folder)  # noqa: PTH208 - Path objects for 1e6 names cost seconds
        except FileNotFoundError:
            return set()
        return {name[:-5] for name in names if name.endswith(".json") and not name.startswith(".")}

    def _parts_of_complete(self, done: set[str]) -> set[str]:
        parts = {
            name: json.loads((self.path / "split" / f"{name}.json").read_text("utf-8"))
            for name in self._listed("split")
        }
        hidden: set[str] = set()
        waiting = [half for name in parts if name in done for half in parts[name]]
        while waiting:
            name = waiting.pop()
            hidden.add(name)
            waiting.extend(parts.get(name, ()))
        return hidden

    def _write(self, name: str, text: str) -> None:
        path = self.path / name
        _guarded(self.path, lambda: _write_whole(path, text.encode()))

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
        _write_whole(self.path / "failed.parquet", buffer.getvalue().to_pybytes())


def _guarded(folder: Path, write: Any) -> None:
    try:
        write()
    except OSError as error:
        free = free_bytes(folder)
        space = "" if free is None else f" {megabytes(free)} are free there."
        raise OutputError(
            f"The run's folder {folder} cannot be written ({error.strerror or error}).{space} "
            "Free some space, make it writable for all workers, or choose another output."
        ) from error


def _write_whole(path: Path, content: bytes) -> None:
    """Put ``content`` under ``path`` so that it is there whole or not at all."""
    # Two attempts at one batch may run at once after a network cut: each has a name of its own.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        try:
            temporary.write_bytes(content)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _result_text(result: BatchResult) -> str:
    size = len(json.dumps(dict(result.summary)))
    if size > SUMMARY_BYTES:
        raise SettingError(
            f"The summary of batch {result.batch} takes {size} bytes: use {SUMMARY_BYTES} or less, "
            "and keep arrays in the outputs of the batch."
        )
    return json.dumps(asdict(result) | {"summary": dict(result.summary)})


def _read_result(path: Path) -> BatchResult:
    values = json.loads(path.read_text("utf-8"))
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
