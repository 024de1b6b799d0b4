"""What a classification writes: the objects as they were given, with a label for each."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.cluster.places import Place
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.scenes.answers import from_bytes
from rasterloom.pipeline.labels.ordering import Sorter
from rasterloom.pipeline.outputs.features import OID, FeatureBlock
from rasterloom.pipeline.outputs.read_features import FeatureSource

CLASS_LABEL, CONFIDENCE = "ClassLabel", "Confidence"
"""Fields of the result: the name of the class, unless the caller calls it otherwise, and 0..100."""

_DECIMALS = 4
"""Of a confidence: more than a float32 probability has."""


def label_field(given: str | None) -> str:
    """The field that takes labels. Raises SettingError if it cannot have that name."""
    name = CLASS_LABEL if given is None else given
    if not isinstance(name, str) or not name.strip() or name in (CONFIDENCE, OID, "geometry"):
        raise SettingError(
            f"class_label_field={given!r} cannot be the name of the field for labels: use another, such as "
            f"{CLASS_LABEL!r}."
        )
    return name


def fields_of(source: FeatureSource, label: str) -> dict[str, Any]:
    """The fields of the result: those of the input, then the label and how certain it is."""
    kept = {name: kind for name, kind in source.fields.items() if name not in (label, CONFIDENCE)}
    return {**kept, label: "text", CONFIDENCE: "float64"}


def number_field(source: FeatureSource) -> str | None:
    """Name of the field that numbers the objects; None where the input has one of that name to keep."""
    return None if OID in source.fields else OID


def labelled_features(
    source: FeatureSource, fields: Mapping[str, Any], label: str, tiles: Place, scratch: Path
) -> Iterator[FeatureBlock]:
    """All objects in the order of their layer, each with what the tasks found out about it.

    Parameters
    ----------
    tiles
        Folder with the files of the tasks.
    scratch
        Folder for sorting them.
    """
    kept = [name for name in fields if name not in (label, CONFIDENCE)]
    with Sorter(("position", "position"), scratch) as sorter:
        for name in sorted(tiles.names()):
            sorter.add(from_bytes(tiles.read(name)))
        answers = _InOrder(sorter.blocks())
        start = 0
        for block in source.blocks(kept):
            stop = start + len(block)
            labels, confidences = np.full((2, len(block)), None, object)
            for found in answers.upto(stop):
                here = found["position"].to_numpy() - start
                labels[here] = found["label"].to_pylist()
                confidences[here] = percent(found["confidence"].to_numpy())
            yield FeatureBlock(block.geometry, {**block.columns, label: labels, CONFIDENCE: confidences})
            start = stop


def percent(confidences: np.ndarray) -> np.ndarray:
    """Confidences of 0..1 as they are written."""
    return np.asarray((100 * confidences).round(_DECIMALS))


class _InOrder:
    """Tables of answers by ascending position, taken piece by piece."""

    def __init__(self, tables: Iterable[Any]) -> None:
        self._tables = iter(tables)
        self._ahead: Any = None

    def upto(self, stop: int) -> Iterator[Any]:
        """The answers for positions below ``stop`` that were not taken yet."""
        while True:
            if self._ahead is None or not len(self._ahead):
                self._ahead = next(self._tables, None)
            if self._ahead is None:
                return
            count = int(np.searchsorted(self._ahead["position"].to_numpy(), stop))
            taken, self._ahead = self._ahead.slice(0, count), self._ahead.slice(count)
            if count:
                yield taken
            if len(self._ahead):
                return
