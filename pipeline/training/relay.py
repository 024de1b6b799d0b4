"""What the ranks of a run and the one who waits for them tell each other, through a folder that all see."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.history import EpochRow, History
from rasterloom.pipeline.training.table import TrainingTable

_EVERY = 0.5
"""Seconds between two notes of how far an epoch is."""


@dataclass(frozen=True)
class Result:
    """What a run ends with."""

    weights: dict[str, torch.Tensor]
    history: History
    optimizer: dict[str, Any] | None


@dataclass(frozen=True)
class Relay:
    """The folder."""

    folder: Path

    @property
    def events(self) -> Path:
        """The training table so far, one event a line."""
        return self.folder / "events.jsonl"

    def put_job(self, job: Any) -> str:
        """Leave what the ranks need, and return its digest, which has to reach them another way."""
        content = cloudpickle.dumps(job)  # by value where a class is of the caller's script
        (self.folder / "job.pickle").write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    def job(self, digest: str) -> Any:
        """What was left.

        Raises
        ------
        SettingError
            If it is not what was left: it would be executed.
        """
        content = (self.folder / "job.pickle").read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise SettingError(
                f"{self.folder / 'job.pickle'} is not what this run has put there: use a working_dir that "
                "no other program writes to."
            )
        return cloudpickle.loads(content)

    def put_result(self, result: Result) -> None:
        """Leave what the run ends with; it is there whole or not at all."""
        content = {
            "weights": result.weights,
            "history": result.history.to_json(),
            "optimizer": result.optimizer,
        }
        fresh = self.folder / ".result.pt"
        torch.save(content, fresh)
        fresh.replace(self.folder / "result.pt")

    def result(self) -> Result:
        """What the run ended with; nothing in it is executed."""
        content = torch.load(self.folder / "result.pt", map_location="cpu", weights_only=True)
        return Result(content["weights"], History.from_json(content["history"]), content["optimizer"])


class Teller:
    """A training table that is written down for :class:`Listener`."""

    def __init__(self, relay: Relay) -> None:
        self._path = relay.events
        self._done, self._told_at = 0, time.monotonic()

    def begin(self, epoch: int, batches: int) -> None:
        self._tell({"begin": [epoch, batches]})

    def advance(self) -> None:
        self._done += 1
        if time.monotonic() - self._told_at > _EVERY:
            self._tell_done()

    def add(self, row: EpochRow, *, best: bool) -> None:
        self._tell_done()
        self._tell({"rows": History((row,)).to_json(), "best": best})

    def close(self) -> None: ...

    def _tell_done(self) -> None:
        self._tell({"advance": self._done})
        self._done, self._told_at = 0, time.monotonic()

    def _tell(self, event: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


class Listener:
    """Shows in a table what :class:`Teller` writes down; an epoch that is done again is shown once."""

    def __init__(self, relay: Relay, table: TrainingTable) -> None:
        self._path, self._table = relay.events, table
        self._read = self._shown = 0

    def listen(self) -> None:
        """Show what is new."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]  # the last line may still be on its way
        self._read += len(whole)
        for line in whole.splitlines():
            self._show(json.loads(line))

    def _show(self, event: dict[str, Any]) -> None:
        if "begin" in event:
            self._table.begin(*event["begin"])
        for _ in range(event.get("advance", 0)):
            self._table.advance()
        if "rows" in event:
            (row,) = History.from_json(event["rows"]).rows
            if row.epoch > self._shown:
                self._shown = row.epoch
                self._table.add(row, best=event["best"])
