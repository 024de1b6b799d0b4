"""What tasks find out, on its way to whoever puts it together."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow
import pyarrow.ipc

from rasterloom.cluster.places import Place
from rasterloom.models.errors import OutputError

SCHEMA = pyarrow.schema(
    [("position", pyarrow.int64()), ("label", pyarrow.string()), ("confidence", pyarrow.float64())]
)
"""The object's position in its layer, its label, and how certain that is, 0..1."""


@dataclass
class Answers:
    """What is known of some objects."""

    positions: list[int] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    looked: int = 0
    """Chips that went through the network."""
    dark: int = 0
    """Chips without a valid pixel, or with their middle outside of the mask."""
    unusable: int = 0
    """Chips for which the network gives no number."""

    def add(self, positions: Sequence[int], labels: Sequence[str | None], confidences: np.ndarray) -> None:
        """Take the answers for some chips; a confidence of nan is none."""
        told = np.flatnonzero(np.isfinite(confidences)).tolist()
        self.looked += len(positions)
        self.unusable += len(positions) - len(told)
        self.positions += [positions[number] for number in told]
        self.labels += [labels[number] for number in told]
        self.confidences += confidences[told].tolist()

    def table(self) -> Any:
        """All of them, a table of SCHEMA."""
        columns = [self.positions, self.labels, self.confidences]
        arrays = [pyarrow.array(column, kind.type) for column, kind in zip(columns, SCHEMA, strict=True)]
        return pyarrow.table(arrays, schema=SCHEMA)

    def summary(self) -> dict[str, int]:
        """How much there was."""
        return {"chips": self.looked, "dark": self.dark, "unusable": self.unusable}


def to_bytes(table: Any) -> bytes:
    """A table as the content of a file, the same for the same rows."""
    sink = io.BytesIO()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def from_bytes(content: bytes) -> Any:
    """The table that :func:`to_bytes` wrote."""
    with pyarrow.ipc.open_stream(pyarrow.BufferReader(content)) as reader:
        return reader.read_all()


def keep(tiles: Place, name: str, table: Any) -> None:
    """Write what a task has found out. Raises OutputError if it cannot be written."""
    try:
        tiles.write(f"{name}.arrow", to_bytes(table))
    except OSError as error:
        raise OutputError(f"what was found cannot be written to {tiles}: {error}.") from error
