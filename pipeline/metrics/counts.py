"""Counts by class that add up: what figures of agreement are made of."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from rasterloom.models.errors import SettingError


@dataclass(frozen=True, eq=False)
class ClassCounts(ABC):
    """Numbers about each of some classes. Those of two parts add up to those of the whole."""

    values: tuple[int, ...]
    """Class values, in the order of the counts."""
    counts: np.ndarray
    """int64, of :meth:`shape`."""

    @staticmethod
    @abstractmethod
    def shape(classes: int) -> tuple[int, ...]:
        """Of the counts over some number of classes."""

    @classmethod
    def empty(cls, values: Sequence[int]) -> Self:
        """Nothing counted yet."""
        return cls(tuple(int(v) for v in values), np.zeros(cls.shape(len(values)), np.int64))

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """The value that :meth:`to_json` wrote."""
        values = tuple(int(v) for v in plain["values"])
        return cls(values, np.asarray(plain["counts"], np.int64).reshape(cls.shape(len(values))))

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary that :meth:`from_json` reads back."""
        return {"values": list(self.values), "counts": self.counts.tolist()}

    def merge(self, other: Self) -> Self:
        """Both counts together.

        Raises
        ------
        SettingError
            If the classes or their order differ.
        """
        if self.values != other.values:
            raise SettingError(
                f"counts over classes {self.values} and {other.values} cannot be added: count the same ones."
            )
        return type(self)(self.values, self.counts + other.counts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self.values == other.values and bool(np.array_equal(self.counts, other.counts))

    def __hash__(self) -> int:
        return hash((self.values, self.counts.tobytes()))
