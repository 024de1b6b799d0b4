"""One step of training, of any imagery model, in Lightning's form."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import nn

from rasterloom.models.errors import SettingError
from rasterloom.models.history import EpochRow, History
from rasterloom.models.imagery import ImageryModel
from rasterloom.pipeline.training.checkpoints import NOTES
from rasterloom.pipeline.training.learning import judge_for
from rasterloom.pipeline.training.moments import take_moments
from rasterloom.pipeline.training.team import ALONE, Team, mean_of

_LOOK_EVERY = 20
"""Batches between two looks at the loss on a GPU, where looking waits for the device."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What makes two runs the same one."""

    rates: tuple[float, ...]
    """Highest rate of each group of layers, from the earliest to the latest."""
    steps: int
    """Steps of the whole run; the one-cycle schedule is stretched over them."""
    one_cycle: bool
    weight_decay: float
    seed: int

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint remembers of it."""
        return {
            "rates": list(self.rates),
            "steps": self.steps,
            "one_cycle": self.one_cycle,
            "seed": self.seed,
        }


@dataclass
class _Mean:
    """A running mean on the device."""

    total: torch.Tensor | float = 0.0
    count: int = 0

    def add(self, value: torch.Tensor, weight: int) -> None:
        self.total = self.total + value.detach().double() * weight
        self.count += weight

    def take(self) -> tuple[float, int]:
        """The sum and its count; begins anew."""
        taken = float(self.total), self.count
        self.total, self.count = 0.0, 0
        return taken


@dataclass
class _Epoch:
    """What an epoch has gathered so far."""

    train: _Mean = field(default_factory=_Mean)
    valid: _Mean = field(default_factory=_Mean)
    tallies: list[Any] = field(default_factory=list)
    began: float = 0.0


class TrainingModule(LightningModule):
    """Trains one model; ``history`` holds a row for each finished epoch."""

    def __init__(
        self,
        model: ImageryModel,
        plan: Plan,
        *,
        on_row: Callable[[EpochRow, bool], None],
        monitor: str,
        team: Team = ALONE,
    ):
        """Take over a model.

        Parameters
        ----------
        on_row
            Called at the end of each epoch with its row and whether it is the best so far.
        monitor
            Column that decides which one is the best.
        team
            Who trains with this process.
        """
        super().__init__()
        # there may be fewer chips to validate with than ranks
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.network: nn.Module = model.network
        self.history = History(learning_rate=max(plan.rates))
        self._model, self._plan = model, plan
        self._on_row, self._monitor, self._team = on_row, monitor, team
        self._judge = judge_for(model)
        self._epoch = _Epoch()

    def configure_optimizers(self) -> Any:
        """AdamW; with one-cycle the rate and the momentum of each group rise and fall over the whole run.

        It goes on with the running means of the last run where they fit.
        """
        groups: list[dict[str, Any]] = []
        for group, rate in zip(self._model.param_groups(), self._plan.rates, strict=True):
            if moving := [p for p in group["params"] if p.requires_grad]:
                groups.append({"params": moving, "lr": rate})
        if not groups:
            raise SettingError("every layer of the model is frozen: call unfreeze() before fit().")
        optimizer = torch.optim.AdamW(groups, weight_decay=self._plan.weight_decay)
        take_moments(optimizer, self._model)
        if not self._plan.one_cycle:
            return optimizer
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=[group["lr"] for group in groups], total_steps=self._plan.steps
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Dropout and mixing draw from a state that depends on seed and epoch alone."""
        torch.manual_seed(_epoch_seed(self._plan.seed, self.current_epoch, self._team.rank))
        self.trainer.train_dataloader.batch_sampler.set_epoch(self.current_epoch)
        self._epoch = _Epoch(began=time.perf_counter())

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        """Loss of one batch."""
        loss = self._model.training_loss(batch)
        if (loss.device.type == "cpu" or number % _LOOK_EVERY == 0) and not bool(torch.isfinite(loss)):
            raise SettingError(self._not_a_number())
        self._epoch.train.add(loss, len(batch[1]))
        return loss * self._share_of(number)

    def on_train_batch_end(self, outputs: Any, batch: Any, number: int) -> None:
        """After the last batch of an epoch all ranks agree on the statistics of normalisation layers."""
        if number + 1 == self.trainer.num_training_batches:
            self._team.averaged(self.network.buffers())

    def validation_step(self, batch: Any, number: int) -> None:
        """Judge one batch of the validation set."""
        loss, predictions = self._model.judged(batch)
        self._epoch.valid.add(loss, len(batch[1]))
        tally = self._judge.tally(predictions, batch)
        # one tally at a time: a validation set may be long
        before = self._epoch.tallies
        self._epoch.tallies = [self._judge.merged([*before, tally])]

    def on_train_epoch_end(self) -> None:
        """Lightning calls it after validation: the row is complete."""
        epoch = self._epoch
        parts = self._team.gathered((epoch.train.take(), epoch.valid.take(), epoch.tallies))
        train, valid, tallies = zip(*parts, strict=True)
        row = EpochRow(
            epoch=self.current_epoch + 1,
            train_loss=mean_of(train),
            valid_loss=mean_of(valid),
            metrics=self._judge.figures(self._judge.merged(t for several in tallies for t in several)),
            seconds=time.perf_counter() - epoch.began,
        )
        if not np.isfinite(row.train_loss):
            raise SettingError(self._not_a_number())
        self.history = History((*self.history.rows, row), self.history.learning_rate)
        figures = {"train_loss": row.train_loss, "valid_loss": row.valid_loss, **row.metrics}
        for name, value in figures.items():
            self.log(name, value)
        self._on_row(row, self.history.best(self._monitor) is row)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the training table and the plan beside the weights."""
        checkpoint[NOTES] = {"history": self.history.to_json(), "plan": self._plan.to_json()}

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Go on with the table of the checkpoint."""
        self.history = History.from_json(checkpoint[NOTES]["history"])

    def _share_of(self, number: int) -> float:
        """What this rank's part of a batch counts for; gradients are averaged over the ranks."""
        if self._team.size == 1:
            return 1.0
        return float(self.trainer.train_dataloader.batch_sampler.weight(number))

    def _not_a_number(self) -> str:
        rate = max(self._plan.rates)
        advice = [f"a smaller lr, such as {rate / 10:.2g} instead of {rate:.2g}", "gradient_clip=1.0"]
        if str(self.trainer.precision).startswith("16"):
            advice.append("precision='bf16-mixed'")
        return (
            f"the training loss is not a number any more in epoch {self.current_epoch + 1}: "
            f"try {', '.join(advice[:-1])} or {advice[-1]}; if it happens from the first batch, look for "
            "pixels that are not numbers in the chips."
        )


def _epoch_seed(seed: int, epoch: int, rank: int) -> int:
    numbers = (seed, epoch, 1, rank) if rank else (seed, epoch, 1)
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
