"""Train a model on its data."""

import copy
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import nn

from rasterloom.models.errors import RunInterrupted, SettingError
from rasterloom.models.history import LOWER_IS_BETTER, EpochRow, History
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.training.checkpoints import (
    BEST,
    LAST,
    NOTES,
    Checkpoints,
    new_folder,
    optimizer_state,
    read_checkpoint,
    restore_weights,
)
from rasterloom.pipeline.training.evaluate import fastest_device, placed
from rasterloom.pipeline.training.learning import judge_for
from rasterloom.pipeline.training.logs import quiet_lightning, tensorboard_logger
from rasterloom.pipeline.training.module import Plan, TrainingModule
from rasterloom.pipeline.training.moments import keep_moments
from rasterloom.pipeline.training.rates import find_rate
from rasterloom.pipeline.training.settings import FitSettings, spread_rates
from rasterloom.pipeline.training.table import Progression, TrainingTable, training_table
from rasterloom.pipeline.training.team import ALONE, Team

if TYPE_CHECKING:
    from distributed import Client

_PATIENCE = 5
_MIN_DELTA = 0.001


def fit(
    model: ImageryModel,
    data: ImageryData,
    *,
    epochs: int = 10,
    lr: float | slice | None = None,
    one_cycle: bool = True,
    early_stopping: bool = False,
    checkpoint: Literal[True, False, "all"] = True,
    tensorboard: bool = False,
    monitor: str = "valid_loss",
    **kwargs: Any,
) -> History:
    """Leave the trained weights in ``model.network``, on the CPU, and return the training table.

    With a client the workers of a Dask cluster train together, each on its part of every batch, so that the
    run is that of one process with the same settings but for rounding and batch statistics. If one of them
    dies, all are started again from the last checkpoint, twice at most.

    On the CPU the same settings, seed and data give the same weights, and a resumed run gives those of an
    undisturbed one. A run that fails because the loss is no number leaves the best weights of the run so far,
    or those from before it.

    Parameters
    ----------
    epochs
        Passes over the training chips, 1 or more; with ``resume`` those of the whole run.
    lr
        Highest learning rate. ``slice(a, b)`` spreads it geometrically from the earliest to the latest
        layers, ``slice(b)`` gives all but the latest a tenth. None looks for one, see ``find_rate``.
    one_cycle
        Whether the rate rises and falls once over the run; otherwise it stays.
    early_stopping
        Whether to stop when ``monitor`` has not got better by 0.001 for 5 epochs.
    checkpoint
        True keeps the best epoch and the last one below ``<working_dir>/checkpoints``, ``'all'`` keeps each
        one; at the end the model gets the best epoch's weights. False keeps nothing and ends with the last.
    tensorboard
        Whether to write ``<working_dir>/training_log``.
    monitor
        What decides which epoch is best: ``valid_loss``, ``train_loss``, ``accuracy``, ``miou`` or ``dice``.
    kwargs
        ``accumulate`` (1): batches whose gradients make one step.
        ``client`` (None): the Dask cluster to train on. The chips and the data's ``working_dir`` must be
        there for every worker, under the same path.
        ``gradient_clip`` (None): largest norm of the gradient.
        ``iters_per_epoch`` (None): batches in an epoch, None is one pass over the chips.
        ``precision`` ('32-true'): or '16-mixed', 'bf16-mixed'.
        ``ranks`` (None): processes that train together on the cluster, each beside a worker of its own; None
        is all workers. A batch must have two chips or more for each.
        ``resume`` (None): the ``last.ckpt`` of a run with the same settings that was cut off.
        ``seed`` (the data's): decides the order of chips, their random views, dropout and mixing.
        ``show_progress`` (True): whether to show the training table.
        ``weight_decay`` (0.01).

    Returns
    -------
    History
        One row for each epoch; of a resumed run also the rows from before.

    Raises
    ------
    SettingError
        If a setting cannot work, or the loss is no number any more.
    MissingInputError
        If the checkpoint to resume from is not there.
    MissingExtraError
        If ``tensorboard`` is asked for and not installed.
    OutputError
        If a checkpoint cannot be written.
    ClusterError
        If the cluster has no workers, one of them cannot reach the folder, or ranks have failed three times.
    RunInterrupted
        If the user stops it. The model keeps the weights reached, on a cluster those of the last checkpoint;
        the message says how to go on.
    """
    client: Client | None = kwargs.pop("client", None)
    ranks: int | None = kwargs.pop("ranks", None)
    settings = FitSettings.checked(
        epochs=epochs,
        lr=lr,
        one_cycle=one_cycle,
        early_stopping=early_stopping,
        checkpoint=checkpoint,
        tensorboard=tensorboard,
        monitor=monitor,
        seed=data.seed,
        columns=judge_for(model).columns,
        extras=kwargs,
    )
    if client is not None:
        # Importing distributed takes half a second, and a run in this process does not need it.
        from rasterloom.pipeline.training.ranks import fit_on_ranks

        return fit_on_ranks(model, data, settings, client=client, ranks=ranks)
    if ranks not in (None, 1):
        raise SettingError(
            f"ranks={ranks!r} needs a cluster to put them on: give client=rasterloom.cluster.connect(), or "
            "leave out ranks."
        )
    table = training_table(judge_for(model).columns, epochs=settings.epochs, show=settings.show_progress)
    return train(model, data, settings, folder=folder_of(model, data, settings), table=table)


def folder_of(model: ImageryModel, data: ImageryData, settings: FitSettings) -> Path:
    """Where the run's checkpoints are: beside the one it goes on from, or in a folder that does not exist."""
    return settings.resume.parent if settings.resume else new_folder(data.working_dir, model.spec.model)


@dataclass(frozen=True)
class _Run:
    """Everything a run needs, made before its first step."""

    settings: FitSettings
    module: TrainingModule
    trainer: Trainer
    folder: Path
    device: torch.device


def train(
    model: ImageryModel,
    data: ImageryData,
    settings: FitSettings,
    *,
    folder: Path,
    table: TrainingTable,
    team: Team = ALONE,
) -> History:
    """Do in this process what :func:`fit` says, alone or as one of a team that all do the same.

    Parameters
    ----------
    folder
        Takes the checkpoints, which the first of the team writes.
    table
        Shows the rows.
    """
    notes = read_checkpoint(settings.resume)[NOTES] if settings.resume else None
    # Made first: a missing extra must not come after minutes of looking for a rate.
    logged = settings.tensorboard and team.is_first
    logger = tensorboard_logger(data.working_dir, folder.name) if logged else False
    device = fastest_device()
    loader = data.train_loader(
        device=device, seed=settings.seed, iterations=settings.iters_per_epoch, share=team.share
    )
    plan = _plan(model, data, settings, batches=len(loader), notes=notes, team=team)
    module = TrainingModule(model, plan, on_row=_adding(table), monitor=settings.monitor, team=team)
    with quiet_lightning(), _weights_kept(model.network, folder, settings), _random_state_kept(device):
        try:
            trainer = _trainer(settings, folder, device, [Progression(table)], logger, team)
            run = _Run(settings, module, trainer, folder, device)
            _train(run, loader, data.valid_loader(device=device, share=team.share))
        finally:
            table.close()
            placed(model.network, torch.device("cpu"), torch.contiguous_format)
    if settings.checkpoint and (folder / BEST).exists():
        restore_weights(folder / BEST, model.network)
        keep_moments(model, optimizer_state(folder / BEST))
    else:
        keep_moments(model, trainer.optimizers[0].state_dict())
    return module.history


def _plan(
    model: ImageryModel,
    data: ImageryData,
    settings: FitSettings,
    *,
    batches: int,
    notes: dict[str, Any] | None,
    team: Team,
) -> Plan:
    groups = model.param_groups()
    if notes is not None:
        rates = tuple(float(rate) for rate in notes["plan"]["rates"])
    elif settings.lr is None:
        found = find_rate(model, data).best if team.is_first else None
        rates = (team.gathered(found)[0],) * len(groups)
    else:
        rates = tuple(spread_rates(settings.lr, len(groups)))
    plan = Plan(
        rates=rates,
        steps=settings.epochs * math.ceil(batches / settings.accumulate),
        one_cycle=settings.one_cycle,
        weight_decay=settings.weight_decay,
        seed=settings.seed,
    )
    if notes is not None:
        _check_resumed(plan, notes, settings, groups=len(groups))
    return plan


def _check_resumed(plan: Plan, notes: dict[str, Any], settings: FitSettings, *, groups: int) -> None:
    done = len(notes["history"]["rows"])
    if done >= settings.epochs:
        raise SettingError(
            f"{settings.resume} holds {done} epochs already, and epochs={settings.epochs}: give those of "
            "the whole run, or start a new run without resume."
        )
    differing = [
        f"{name} was {notes['plan'][name]} and is {now}"
        for name, now in plan.to_json().items()
        if notes["plan"][name] != now and (name != "steps" or settings.one_cycle)
    ]
    if len(plan.rates) != groups:
        differing.append(f"the model had {len(plan.rates)} groups of layers and has {groups}")
    if differing:
        raise SettingError(
            f"{settings.resume} belongs to a run with other settings ({'; '.join(differing)}): resume with "
            "the same epochs, data, batch size and seed, or start a new run without resume."
        )


def _trainer(
    settings: FitSettings,
    folder: Path,
    device: torch.device,
    callbacks: list[Callback],
    logger: Any,
    team: Team,
) -> Trainer:
    if settings.early_stopping:
        callbacks = [*callbacks, _early_stopping(settings.monitor)]
    if settings.checkpoint:
        kept = Checkpoints(folder, monitor=settings.monitor, keep_all=settings.checkpoint == "all")
        callbacks = [*callbacks, kept]
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        precision=settings.precision,
        max_epochs=settings.epochs,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.gradient_clip,
        callbacks=callbacks,
        logger=logger,
        log_every_n_steps=1,
        default_root_dir=folder,
        enable_checkpointing=bool(settings.checkpoint),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **team.trainer_settings(device),
    )


def _early_stopping(monitor: str) -> EarlyStopping:
    return EarlyStopping(
        monitor,
        min_delta=_MIN_DELTA,
        patience=_PATIENCE,
        mode="min" if monitor in LOWER_IS_BETTER else "max",
        check_finite=False,
        check_on_train_epoch_end=True,
    )


def _train(run: _Run, train_loader: Any, valid_loader: Any) -> None:
    run.module.to(memory_format=torch.channels_last)
    resume = str(run.settings.resume) if run.settings.resume else None
    with _interrupt_handler_kept():
        try:
            run.trainer.fit(run.module, train_loader, valid_loader, ckpt_path=resume, weights_only=True)
        except SystemExit as stop:
            # Lightning turns the user's interrupt into an exit of the whole process.
            if not isinstance(stop.__context__, KeyboardInterrupt):
                raise
            raise RunInterrupted(_how_to_go_on(run)) from None


def _how_to_go_on(run: _Run) -> str:
    done, last = len(run.module.history), run.folder / LAST
    stopped = f"training was stopped in epoch {done + 1}: the model holds the weights reached"
    if done and run.settings.checkpoint and last.exists():
        return f"{stopped}; the same call with resume='{last}' goes on after epoch {done}."
    return (
        f"{stopped}, and no epoch was written to disk; calling fit again starts a new run with these weights."
    )


def _adding(table: Any) -> Any:
    def add(row: EpochRow, best: bool) -> None:
        table.add(row, best=best)

    return add


@contextmanager
def _weights_kept(network: nn.Module, folder: Path, settings: FitSettings) -> Iterator[None]:
    """If the run fails for a setting, the network has its best weights, or those from before the run."""
    before = copy.deepcopy(network.state_dict())
    try:
        yield
    except SettingError:
        if settings.checkpoint and (folder / BEST).exists():
            restore_weights(folder / BEST, network)
        else:
            network.load_state_dict(before)
        raise


@contextmanager
def _random_state_kept(device: torch.device) -> Iterator[None]:
    """The caller's random numbers go on after the run as if there had been none."""
    with torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []):
        yield


@contextmanager
def _interrupt_handler_kept() -> Iterator[None]:
    """Lightning ignores further interrupts once it has seen one, and leaves it at that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
