"""How well a class map agrees with labels."""

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.cluster.driver import execute
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.progress import progress_bar
from rasterloom.models.contract import ClassInfo, classes_from_json
from rasterloom.models.errors import LabelError, RasterError
from rasterloom.pipeline.labels.classes import default_color
from rasterloom.pipeline.labels.features import Labels, read_features
from rasterloom.pipeline.labels.prepared import write_prepared
from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.rasters.context import extent_window
from rasterloom.pipeline.rasters.gdal import open_source, reading
from rasterloom.pipeline.rasters.open import SUFFIXES, describe
from rasterloom.pipeline.rasters.pinned import pinned
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.reports.counting import CountPlan, Pairs, count_window, labels_file

BACKGROUND_SHARE = 0.01
"""Share of unlabelled pixels above which they count as background where the caller does not say."""

_BACKGROUND = ClassInfo(0, "Background", (60, 60, 60))


@dataclass(frozen=True)
class ClassScore:
    """How well one class was found. Figures are nan for a class that is in neither map nor labels."""

    value: int
    name: str
    color: tuple[int, int, int]
    iou: float
    """Intersection over union, 0..1."""
    f1: float
    """Harmonic mean of precision and recall, 0..1."""
    precision: float
    """Share of the pixels given this class that truly are of it, 0..1."""
    recall: float
    """Share of the pixels of this class that were given it, 0..1."""
    share: float
    """Share of the counted pixels that truly are of this class, 0..1."""


@dataclass(frozen=True)
class PixelAccuracy:
    """A class map counted against labels. Made by :func:`assess_pixels`."""

    confusion: Confusion
    """Counted pixels; rows are the labels, columns the map."""
    classes: tuple[ClassInfo, ...]
    """One for each of ``confusion.values``, in that order."""
    background: bool
    """Whether pixels without a label were counted, as class 0."""
    unlabelled: float
    """Share of the valid pixels that have no label, 0..1."""

    @property
    def mean_iou(self) -> float:
        """Mean intersection over union of the classes; class 0 is among them only if it was counted."""
        return self.confusion.mean_iou(self._left_out)

    @property
    def mean_f1(self) -> float:
        """Mean F1 of the same classes."""
        return self.confusion.mean_f1(self._left_out)

    @property
    def overall(self) -> float:
        """Share of the counted pixels that got their true class, 0..1."""
        return self.confusion.accuracy

    @property
    def per_class(self) -> tuple[ClassScore, ...]:
        """The scores of each class, without class 0 where it was not counted."""
        iou, f1 = self.confusion.iou(), self.confusion.f1()
        precision, recall = self.confusion.precision(), self.confusion.recall()
        pixels = self.confusion.counts.sum(axis=1) / max(self.confusion.total, 1)
        return tuple(
            ClassScore(v, info.name, info.color, iou[v], f1[v], precision[v], recall[v], float(share))
            for v, info, share in zip(self.confusion.values, self.classes, pixels, strict=True)
            if v not in self._left_out
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary; figures that are nan become null. Classes go by name."""
        names = _unique_names(self.per_class)
        return {
            "mean_iou": _plain(self.mean_iou),
            "mean_f1": _plain(self.mean_f1),
            "accuracy": _plain(self.overall),
            "pixels": self.confusion.total,
            "background": self.background,
            "per_class": {name: _score_json(s) for name, s in zip(names, self.per_class, strict=True)},
            "confusion": self.confusion.to_json(),
        }

    @property
    def _left_out(self) -> tuple[int, ...]:
        return () if self.background else (0,)


def assess_pixels(
    class_map: Any,
    labels: Any,
    *,
    class_field: str | None = None,
    extent: Any = None,
    classes: Sequence[ClassInfo] | None = None,
    background: bool | None = None,
    client: Any = None,
    progress: bool = True,
) -> PixelAccuracy:
    """Count a class map against labels, pixel by pixel of the map, at flat memory for any size.

    A pixel counts where the map is valid and the labels say what it is. Classes are matched by name where
    map and labels share one, else by value.

    Parameters
    ----------
    class_map
        Path of a class raster, such as :func:`rasterloom.pipeline.classify_pixels` writes, or a DataArray.
    labels
        Path of a vector file or a GeoDataFrame, in any CRS, burned on the map's grid as in training; or a
        class raster (path with a raster's ending, or DataArray), read by nearest neighbour. Its nodata
        pixels do not count.
    class_field
        Field of the class; see :func:`rasterloom.pipeline.export_training_data`. Only for features.
    extent
        Part of the map to count: (west, south, east, north) in its CRS, or a dictionary as in ``context``.
    classes
        Names and colours of the values. None takes those that the map and the labels bring.
    background
        What a pixel without a label, or with label value 0, is. True: background, class 0, counted and scored
        like every class, as in training. False: unknown, and left out. None: background when such pixels are
        more than 1 % of the valid ones, as around buildings, or when the labels have a class 0 of their own;
        unknown when the labels all but cover the ground.
    client
        A Dask client; None counts in this process.
    progress
        Show a progress bar.

    Raises
    ------
    MissingInputError, CrsError, RasterError, SettingError
        If map, labels or extent cannot be used.
    LabelError
        If the labels do not lie on the map, or nothing is left to count.
    """
    raster = describe(class_map)
    known = map_classes(raster)
    with tempfile.TemporaryDirectory(prefix=".assess-", dir=_shared_folder(raster, client)) as folder:
        raster = pinned(raster, Path(folder))
        plan, found = _plan(raster, labels, class_field, extent, known, folder)
        with progress_bar("assess", show=progress) as on_progress:
            run = RunFolder(Path(folder) / "run")
            execute(client, plan, count_window, run, max_failed=0.0, on_progress=on_progress, title="assess")
        pairs = plan.counted()
    if background is None:
        background = any(info.value == 0 for info in found) or _unlabelled(pairs) > BACKGROUND_SHARE
    return _accuracy(pairs, _named(pairs, (*known, *found), classes), background)


def map_classes(raster: Raster) -> tuple[ClassInfo, ...]:
    """The classes that a class map's file names, in ascending value; empty where it names none."""
    if raster.path is None:
        return ()
    with reading(), open_source(raster.path) as source:
        listed = source.tags().get("CLASSES")
    try:
        return classes_from_json(json.loads(listed)) if listed else ()
    except (ValueError, KeyError, TypeError):  # another program's tag of the same name
        return ()


def _shared_folder(raster: Raster, client: Any) -> Path | None:
    """Where workers can read too: beside the map. None is the machine's own folder for temporary files."""
    if client is None:
        return None
    beside = raster.path is not None and not raster.path.startswith("<")
    return Path(str(raster.path)).parent if beside else Path.cwd()


def _plan(
    raster: Raster, labels: Any, class_field: str | None, extent: Any, known: Sequence[ClassInfo], folder: str
) -> tuple[CountPlan, tuple[ClassInfo, ...]]:
    """The plan, with what its tasks read in place, and the classes of the labels."""
    if np.dtype(raster.dtype).kind not in "ui":
        raise RasterError(f"{raster.name} holds {raster.dtype} numbers: a class map holds whole ones from 0.")
    window = extent_window(raster, {"extent": extent})
    if _is_raster(labels):
        truth = pinned(describe(labels), Path(folder)).on_grid(raster.grid, resampling="nearest")
        return CountPlan(raster, window, truth, "", folder), map_classes(truth)
    read = read_features(labels, grid=raster.grid, class_field=class_field)
    matched = match_names(read, known)
    write_prepared(matched, labels_file(folder))
    return CountPlan(raster, window, None, matched.digest, folder), matched.classes


def _is_raster(labels: Any) -> bool:
    if isinstance(labels, str | Path):
        return Path(labels).suffix.lower() in SUFFIXES
    return isinstance(labels, Raster) or hasattr(labels, "rio")


def match_names(labels: Labels, known: Sequence[ClassInfo]) -> Labels:
    """The labels with the map's value for each class that has the map's name for it.

    Raises
    ------
    LabelError
        If two classes of the labels would become one.
    """
    by_name = {info.name: info.value for info in known}
    value_of = {info.value: by_name.get(info.name, info.value) for info in labels.classes}
    if len(set(value_of.values())) < len(value_of):
        ours = ", ".join(f"{c.value} {c.name}" for c in labels.classes)
        theirs = ", ".join(f"{c.value} {c.name}" for c in known)
        raise LabelError(
            f"the labels' classes ({ours}) and the map's ({theirs}) mix names and values: name them alike."
        )
    if all(old == new for old, new in value_of.items()):
        return labels
    values = np.array([value_of[value] for value in labels.values.tolist()], np.int64)
    classes = [ClassInfo(value_of[c.value], c.name, c.color) for c in labels.classes]
    return Labels(labels.geometries, values, tuple(sorted(classes, key=lambda c: c.value)))


def _named(
    pairs: Pairs, found: Sequence[ClassInfo], chosen: Sequence[ClassInfo] | None
) -> tuple[ClassInfo, ...]:
    """A class for each value that is known or occurs, in ascending value; what comes first names it."""
    known = {0: _BACKGROUND} | {info.value: info for info in reversed([*(chosen or ()), *found])}
    values = {0, *(info.value for info in (chosen or found)), *(value for pair in pairs for value in pair)}
    return tuple(
        known.get(value, ClassInfo(value, str(value), default_color(index)))
        for index, value in enumerate(sorted(values))
    )


def _unlabelled(pairs: Pairs) -> float:
    bare = sum(pixels for (truth, _), pixels in pairs.items() if truth == 0)
    return bare / max(sum(pairs.values()), 1)


def _accuracy(pairs: Pairs, classes: tuple[ClassInfo, ...], background: bool) -> PixelAccuracy:
    place = {info.value: index for index, info in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for (truth, given), pixels in pairs.items():
        if background or truth != 0:
            counts[place[truth], place[given]] = pixels
    if not counts.any():
        raise LabelError("no pixel of the map has a label here: give labels or an extent that overlap.")
    return PixelAccuracy(Confusion(tuple(place), counts), classes, background, _unlabelled(pairs))


def _unique_names(scores: Sequence[ClassScore]) -> list[str]:
    names = [score.name for score in scores]
    return [n if names.count(n) == 1 else f"{n} ({s.value})" for n, s in zip(names, scores, strict=True)]


def _score_json(score: ClassScore) -> Mapping[str, float | int | None]:
    figures = {name: _plain(getattr(score, name)) for name in ("iou", "f1", "precision", "recall", "share")}
    return {"value": score.value, **figures}


def _plain(figure: float) -> float | None:
    return None if math.isnan(figure) else round(figure, 6)
