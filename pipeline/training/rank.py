"""The process of one rank: trains its share of a run, and ends with the worker that started it."""

import dataclasses
import json
import multiprocessing
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from rasterloom.cluster.child import die_with_parent
from rasterloom.models.errors import RasterloomError

if TYPE_CHECKING:
    from rasterloom.pipeline.training.team import Team

REFUSED, LOST_PEER = 64, 65
"""Exit statuses, in the words of :mod:`rasterloom.cluster.gang`."""

_LOST_WORDS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset", "Broken pipe")
"""What messages of a rank whose peer has gone hold."""


def run(folder: Path, digest: str, resume: Path | None) -> tuple[int, str]:
    """Train as one of the ranks: the exit status of the process, and its answer.

    Parameters
    ----------
    folder
        The relay's.
    digest
        Of the job.
    resume
        The checkpoint to go on from.
    """
    try:
        _train(folder, digest, resume)
    except RasterloomError as error:
        traceback.print_exc()
        return REFUSED, json.dumps([type(error).__name__, str(error)])
    except RuntimeError as error:
        traceback.print_exc()
        return (LOST_PEER if any(words in str(error) for words in _LOST_WORDS) else 1), ""
    return 0, ""


def _train(folder: Path, digest: str, resume: Path | None) -> None:
    # only now: the parent is watched from the first moment on, and the GPU has to be chosen before
    from rasterloom.pipeline.training.team import joined_team, leave_team, take_own_gpu

    take_own_gpu()
    team = joined_team()
    from rasterloom.pipeline.training.fit import train
    from rasterloom.pipeline.training.relay import Relay, Result, Teller
    from rasterloom.pipeline.training.table import NoTable

    relay = Relay(folder)
    model, data, settings = relay.job(digest)
    settings = dataclasses.replace(settings, resume=resume)
    _check_same_start(resume, team)
    # Loader processes are forked from one that has imported what they need, not each on its own.
    multiprocessing.set_forkserver_preload(["rasterloom.pipeline.datasets.samples"])
    table = Teller(relay) if team.is_first else NoTable()
    history = train(model, data, settings, folder=folder.parent, table=table, team=team)
    if team.is_first:
        relay.put_result(Result(model.network.state_dict(), history, model.optimizer_state))
    leave_team()


def _check_same_start(resume: Path | None, team: "Team") -> None:
    """A shared folder may show one machine an older file than the other."""
    from rasterloom.pipeline.training.checkpoints import NOTES, read_checkpoint

    done = len(read_checkpoint(resume)[NOTES]["history"]["rows"]) if resume else 0
    if len(set(seen := team.gathered(done))) > 1:
        raise RuntimeError(f"the ranks see checkpoints of different epochs ({seen}) at {resume}")


def _main(folder: str, digest: str, resume: str) -> None:
    die_with_parent()
    channel = os.dup(1)
    os.dup2(2, 1)  # what the caller's code prints is no answer
    status, answer = run(Path(folder), digest, Path(resume) if resume else None)
    os.write(channel, answer.encode())
    sys.stderr.flush()
    if status:
        os._exit(status)  # threads that wait for a lost rank would hold up the exit


if __name__ == "__main__":
    _main(*sys.argv[1:4])
