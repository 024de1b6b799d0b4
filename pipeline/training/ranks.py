"""Training on the workers of a Dask cluster, seen from the process that asks for it."""

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasterloom.cluster.failures import CrewLost
from rasterloom.cluster.gang import RankRefused, run_gang
from rasterloom.cluster.seats import check_client, check_shared, seats_for
from rasterloom.models import errors
from rasterloom.models.errors import ClusterError, OutputError, RunInterrupted, SettingError
from rasterloom.models.history import History
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.training.checkpoints import BEST, LAST, NOTES, read_checkpoint, restore_weights
from rasterloom.pipeline.training.fit import folder_of
from rasterloom.pipeline.training.learning import judge_for
from rasterloom.pipeline.training.moments import keep_moments
from rasterloom.pipeline.training.relay import Listener, Relay
from rasterloom.pipeline.training.settings import FitSettings
from rasterloom.pipeline.training.table import training_table

if TYPE_CHECKING:
    from distributed import Client

_RANK = "rasterloom.pipeline.training.rank"
_LEAST = 2
"""Chips of a batch for each rank: batch statistics need two."""


def fit_on_ranks(
    model: ImageryModel, data: ImageryData, settings: FitSettings, *, client: "Client", ranks: int | None
) -> History:
    """Do on a cluster what :func:`~rasterloom.pipeline.training.fit.fit` says.

    Parameters
    ----------
    ranks
        Number of processes, each beside a worker of its own; None takes all workers.
    """
    check_client(client)
    seats = seats_for(client, ranks)
    _check_batch(data.batch_size, len(seats))
    folder = folder_of(model, data, settings).absolute()
    run = _Run(folder, settings.resume, _stamp(folder / LAST))
    table = training_table(judge_for(model).columns, epochs=settings.epochs, show=settings.show_progress)
    with _relay(folder) as relay, _told(model, run, settings):
        check_shared(client, seats, relay.folder)
        # Workers have current folders of their own.
        rooted = dataclasses.replace(data, working_dir=data.working_dir.absolute())
        digest = relay.put_job((model, rooted, settings))
        listener = Listener(relay, table)

        def command(attempt: int) -> Sequence[str]:
            start = run.last or run.resume
            return ["-m", _RANK, str(relay.folder), digest, str(start.absolute()) if start else ""]

        try:
            run_gang(client, command, seats, meanwhile=listener.listen)
            listener.listen()
        finally:
            table.close()
        result = relay.result()
    model.network.load_state_dict(result.weights)
    keep_moments(model, result.optimizer)
    return result.history


@dataclasses.dataclass(frozen=True)
class _Run:
    """Where a run keeps its checkpoints."""

    folder: Path
    resume: Path | None
    """What it goes on from."""
    before: tuple[int, int] | None
    """Mark of the last checkpoint that was there before."""

    @property
    def last(self) -> Path | None:
        """The last checkpoint that this run wrote."""
        path = self.folder / LAST
        return path if _stamp(path) not in (None, self.before) else None


@contextmanager
def _relay(folder: Path) -> Iterator[Relay]:
    """A folder for what is told, beside the checkpoints and gone afterwards."""
    relay = Relay(folder / "ranks")
    try:
        shutil.rmtree(relay.folder, ignore_errors=True)  # of a run whose process was killed
        relay.folder.mkdir(parents=True)
        yield relay
    except OSError as error:
        if isinstance(error, errors.RasterloomError):
            raise
        raise OutputError(
            f"{relay.folder} cannot be used ({error}): give prepare_data another working_dir."
        ) from error
    finally:
        shutil.rmtree(relay.folder, ignore_errors=True)
        with suppress(OSError):  # it holds checkpoints
            folder.rmdir()


@contextmanager
def _told(model: ImageryModel, run: _Run, settings: FitSettings) -> Iterator[None]:
    """Inside, failures of ranks become errors of fit, and the model gets the weights that remain."""
    try:
        yield
    except (KeyboardInterrupt, CrewLost) as cause:
        why = "was stopped" if isinstance(cause, KeyboardInterrupt) else f"cannot go on: {cause}"
        if run.last is not None:
            restore_weights(run.last, model.network)
        raise RunInterrupted(f"training {why}; {_how_to_go_on(run)}") from None
    except RankRefused as refusal:
        error = _refused(str(refusal))
        if isinstance(error, SettingError) and settings.checkpoint and run.last is not None:
            restore_weights(run.folder / BEST, model.network)
        raise error from None
    except ClusterError as error:
        raise ClusterError(f"{error}\nTo go on: {_how_to_go_on(run)}") from None


def _how_to_go_on(run: _Run) -> str:
    last = run.last or run.resume
    if last is None:
        return "no epoch was written to disk, so calling fit again starts a new run."
    done = len(read_checkpoint(last)[NOTES]["history"]["rows"])
    return f"the same call with resume='{last}' goes on after epoch {done}."


def _refused(said: str) -> Exception:
    """The error that a rank has told of."""
    name, message = json.loads(said)
    kind: Any = getattr(errors, name)
    error: Exception = kind(message)
    return error


def _check_batch(batch_size: int, ranks: int) -> None:
    if ranks > 1 and batch_size < _LEAST * ranks:
        most = batch_size // _LEAST
        fewer = f"use ranks={most}, or " if most else ""
        raise SettingError(
            f"batch_size={batch_size} leaves less than {_LEAST} chips of a batch for each of {ranks} ranks: "
            f"{fewer}prepare_data(batch_size={_LEAST * ranks}) or more."
        )


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns
