"""What a training run went through, epoch by epoch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rasterloom.models.errors import SettingError

LOWER_IS_BETTER = frozenset({"train_loss", "valid_loss"})
"""Columns of the training table where a smaller number is better."""


@dataclass(frozen=True)
class EpochRow:
    """One row of the training table."""

    epoch: int
    """Number of the epoch, from 1."""
    train_loss: float
    """Mean over the epoch's batches; not a number where nothing was trained."""
    valid_loss: float
    """Mean over the validation set; not a number without one."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Further columns, such as ``{"accuracy": 0.91, "miou": 0.74}``."""
    seconds: float = 0.0
    """Wall time of the epoch, validation included."""

    def value(self, column: str) -> float:
        """A loss or metric by the name of its column."""
        if column in LOWER_IS_BETTER:
            return float(getattr(self, column))
        if column not in self.metrics:
            known = sorted({*LOWER_IS_BETTER, *self.metrics})
            raise SettingError(f"{column!r} is not in the training table: use one of {known}.")
        return float(self.metrics[column])


@dataclass(frozen=True)
class History:
    """The training table."""

    rows: tuple[EpochRow, ...] = ()
    """In the order they were trained."""
    learning_rate: float | None = None
    """Highest rate of the last run; None when it is not known."""

    def __len__(self) -> int:
        return len(self.rows)

    def best(self, monitor: str = "valid_loss") -> EpochRow:
        """The row with the best value of a column; the first of equals.

        Raises
        ------
        SettingError
            If the table is empty, or has no such column.
        """
        if not self.rows:
            raise SettingError("the training table is empty: call fit first.")
        sign = 1.0 if monitor in LOWER_IS_BETTER else -1.0
        values = [sign * row.value(monitor) for row in self.rows]
        ranked = [math.inf if math.isnan(value) else value for value in values]
        return self.rows[ranked.index(min(ranked))]

    def extended(self, later: "History") -> "History":
        """This table followed by that of a later run, whose epochs count on."""
        last = self.rows[-1].epoch if self.rows else 0
        rows = tuple(replace(row, epoch=last + number) for number, row in enumerate(later.rows, start=1))
        return History(self.rows + rows, later.learning_rate)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary that :meth:`from_json` reads back; numbers that are none become null."""
        rows = [
            {
                "epoch": row.epoch,
                "train_loss": _plain(row.train_loss),
                "valid_loss": _plain(row.valid_loss),
                "metrics": {name: _plain(value) for name, value in row.metrics.items()},
                "seconds": row.seconds,
            }
            for row in self.rows
        ]
        return {"rows": rows, "learning_rate": self.learning_rate}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "History":
        """The value that :meth:`to_json` wrote."""
        rows = tuple(
            EpochRow(
                epoch=int(row["epoch"]),
                train_loss=_number(row["train_loss"]),
                valid_loss=_number(row["valid_loss"]),
                metrics={str(name): _number(value) for name, value in row["metrics"].items()},
                seconds=float(row["seconds"]),
            )
            for row in plain["rows"]
        )
        return cls(rows, None if plain["learning_rate"] is None else float(plain["learning_rate"]))


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
