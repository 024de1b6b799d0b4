"""The settings of a training run, checked before anything is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rasterloom.models.errors import MissingInputError, SettingError

LOSSES = ("valid_loss", "train_loss")
"""Columns that every training table has."""

_PRECISIONS = {
    "32": "32-true",
    "32-true": "32-true",
    "16": "16-mixed",
    "16-mixed": "16-mixed",
    "bf16": "bf16-mixed",
    "bf16-mixed": "bf16-mixed",
}
EXTRAS: Mapping[str, Any] = {
    "accumulate": 1,
    "gradient_clip": None,
    "iters_per_epoch": None,
    "precision": "32-true",
    "resume": None,
    "seed": None,
    "show_progress": True,
    "weight_decay": 0.01,
}
"""Settings of ``fit`` that come by keyword only, and their defaults."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """What ``fit`` was asked for."""

    epochs: int
    lr: float | slice | None
    """Highest rate; a slice runs from the earliest to the latest layers; None is to be found."""
    one_cycle: bool
    early_stopping: bool
    checkpoint: Literal[True, False, "all"]
    tensorboard: bool
    monitor: str
    accumulate: int
    """Batches whose gradients make one step."""
    gradient_clip: float | None
    """Largest norm of the gradient; None does not limit it."""
    iters_per_epoch: int | None
    """Batches in an epoch; None is one pass over the chips."""
    precision: str
    """In Lightning's words."""
    resume: Path | None
    """A checkpoint to go on from."""
    seed: int
    show_progress: bool
    weight_decay: float

    @classmethod
    def checked(
        cls,
        *,
        epochs: Any,
        lr: Any,
        one_cycle: Any,
        early_stopping: Any,
        checkpoint: Any,
        tensorboard: Any,
        monitor: Any,
        seed: int,
        columns: Sequence[str],
        extras: Mapping[str, Any],
    ) -> "FitSettings":
        """Settings that can work.

        Parameters
        ----------
        columns
            Of the training table beside the losses.

        Raises
        ------
        SettingError
            If one of them cannot.
        MissingInputError
            If the checkpoint to resume from is not there.
        """
        unknown = sorted(set(extras) - set(EXTRAS))
        if unknown:
            raise SettingError(
                f"fit does not take {', '.join(unknown)}: besides its named arguments it takes "
                f"{', '.join(sorted(EXTRAS))}, and client and ranks."
            )
        chosen = {**EXTRAS, **extras}
        _whole("epochs", epochs)
        _whole("accumulate", chosen["accumulate"])
        if chosen["iters_per_epoch"] is not None:
            _whole("iters_per_epoch", chosen["iters_per_epoch"])
        if checkpoint not in (True, False, "all"):
            raise SettingError(f"checkpoint={checkpoint!r} is not known: use True, False or 'all'.")
        if monitor not in (*LOSSES, *columns):
            raise SettingError(
                f"monitor={monitor!r} is not in the training table: use one of "
                f"{', '.join((*LOSSES, *columns))}."
            )
        return cls(
            epochs=epochs,
            lr=_rate(lr),
            one_cycle=bool(one_cycle),
            early_stopping=bool(early_stopping),
            checkpoint=checkpoint,
            tensorboard=bool(tensorboard),
            monitor=monitor,
            accumulate=chosen["accumulate"],
            gradient_clip=_positive("gradient_clip", chosen["gradient_clip"]),
            iters_per_epoch=chosen["iters_per_epoch"],
            precision=_precision(chosen["precision"]),
            resume=_existing(chosen["resume"]),
            seed=seed if chosen["seed"] is None else int(chosen["seed"]),
            show_progress=bool(chosen["show_progress"]),
            weight_decay=float(chosen["weight_decay"]),
        )


def spread_rates(lr: float | slice, groups: int) -> list[float]:
    """The highest rate of each group of layers, from the earliest to the latest.

    Parameters
    ----------
    lr
        One rate for all; ``slice(a, b)`` runs geometrically from a to b; ``slice(b)`` gives the latest group
        b and the others a tenth of it.
    groups
        Number of groups, 1 or more.
    """
    if not isinstance(lr, slice):
        return [float(lr)] * groups
    last = float(lr.stop)
    if lr.start is None:
        return [last / 10] * (groups - 1) + [last]
    if groups == 1:
        return [last]
    first = float(lr.start)
    return [first * (last / first) ** (number / (groups - 1)) for number in range(groups)]


def _rate(lr: Any) -> float | slice | None:
    if lr is None:
        return None
    numbers = [lr.start, lr.stop] if isinstance(lr, slice) else [lr]
    given = [n for n in numbers if n is not None]
    fine = bool(given) and all(isinstance(n, (int, float)) and n > 0 for n in given)
    if not fine or (isinstance(lr, slice) and (lr.stop is None or lr.step is not None)):
        raise SettingError(
            f"lr={lr!r} cannot work: give a number above 0 such as 0.001, slice(1e-5, 1e-3), "
            "or None to have it found."
        )
    return lr if isinstance(lr, slice) else float(lr)


def _whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingError(f"{name}={value!r} cannot work: give a whole number, 1 or more.")


def _positive(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or value <= 0:
        raise SettingError(f"{name}={value!r} cannot work: give a number above 0, or None.")
    return float(value)


def _precision(value: Any) -> str:
    if str(value) not in _PRECISIONS:
        raise SettingError(f"precision={value!r} is not known: use one of {', '.join(_PRECISIONS)}.")
    return _PRECISIONS[str(value)]


def _existing(path: Any) -> Path | None:
    if path is None:
        return None
    if not Path(path).is_file():
        raise MissingInputError(f"there is no checkpoint at {path}: give the last.ckpt of an earlier run.")
    return Path(path)
