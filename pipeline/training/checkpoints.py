"""What a run leaves on disk so that it can be gone back to and gone on with."""

import os
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import nn

from rasterloom.models.errors import OutputError, SettingError
from rasterloom.models.history import History

LAST, BEST = "last.ckpt", "best.ckpt"
NOTES = "rasterloom"
"""Key of our own part of a checkpoint: the training table and the plan of the run."""


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` after every epoch and ``best.ckpt`` after the best one; all epochs on demand.

    A file under one of these names is whole: it is written under another name first.
    """

    def __init__(self, folder: Path, *, monitor: str, keep_all: bool) -> None:
        self.folder, self._monitor, self._keep_all = folder, monitor, keep_all

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        history: History = pl_module.history
        row, best = history.rows[-1], history.best(self._monitor)
        names = [BEST] if row is best else []
        names += [f"epoch-{row.epoch:03d}.ckpt"] if self._keep_all else []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = self.folder / f".{LAST}"
            trainer.save_checkpoint(fresh)  # all ranks call it, and the first one writes
            if not trainer.is_global_zero:
                return
            for name in names:
                _linked(fresh, self.folder / name)
            fresh.replace(self.folder / LAST)
        except (OSError, RuntimeError) as error:
            (self.folder / f".{LAST}").unlink(missing_ok=True)
            raise OutputError(
                f"the checkpoint of epoch {row.epoch} could not be written to {self.folder} ({error}): make "
                "room there, give prepare_data another working_dir, or use checkpoint=False."
            ) from error


def new_folder(working_dir: Path, model_name: str) -> Path:
    """A folder for a run that does not exist yet: ``checkpoints/<model>-<date>-<time>``. It is not made."""
    name = f"{model_name}-{time.strftime('%Y%m%d-%H%M%S')}"
    parent, number = working_dir / "checkpoints", 1
    folder = parent / name
    while folder.exists():
        number += 1
        folder = parent / f"{name}-{number}"
    return folder


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content; nothing in it is executed.

    Raises
    ------
    SettingError
        If the file is no checkpoint of ours.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise SettingError(
            f"{path} is not a checkpoint that fit wrote ({error}): give a run's last.ckpt."
        ) from error
    if not isinstance(content, dict) or NOTES not in content:
        raise SettingError(f"{path} is not a checkpoint that fit wrote: give a run's last.ckpt.")
    return content


def restore_weights(path: Path, network: nn.Module) -> None:
    """Give a network the weights of a checkpoint."""
    state = read_checkpoint(path)["state_dict"]
    network.load_state_dict({name.removeprefix("network."): value for name, value in state.items()})


def optimizer_state(path: Path) -> dict[str, Any] | None:
    """The state of the optimiser in a checkpoint, if it has one."""
    states = read_checkpoint(path).get("optimizer_states") or [None]
    state: dict[str, Any] | None = states[0]
    return state


def _linked(source: Path, target: Path) -> None:
    """The same content under a second name, without a second copy where the file system can."""
    fresh = target.with_name(f".{target.name}")
    fresh.unlink(missing_ok=True)
    try:
        os.link(source, fresh)
    except OSError:
        shutil.copyfile(source, fresh)
    fresh.replace(target)
