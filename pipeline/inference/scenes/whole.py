"""Classify whole rasters: each is one object."""

import hashlib
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import shapely
from pyproj import CRS, Transformer

from rasterloom.cluster.jobs import BatchResult
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.models.contract import ClassInfo, ModelSpec
from rasterloom.models.errors import MissingInputError, RasterError, ReadError, SettingError
from rasterloom.pipeline.inference.devices import choose_device, choose_precision
from rasterloom.pipeline.inference.forward import shared_cores
from rasterloom.pipeline.inference.models import StagedModel, staged_model
from rasterloom.pipeline.inference.scenes.answers import Answers, from_bytes, keep
from rasterloom.pipeline.inference.scenes.arguments import SceneArguments, several_labels
from rasterloom.pipeline.inference.scenes.decide import labels_of
from rasterloom.pipeline.inference.scenes.images import Image, image_sources, read_image
from rasterloom.pipeline.inference.scenes.plan import ChipBatch
from rasterloom.pipeline.inference.scenes.planner import SceneWishes, arguments_of
from rasterloom.pipeline.inference.scenes.predict import resident_classifier
from rasterloom.pipeline.inference.scenes.product import CONFIDENCE, percent
from rasterloom.pipeline.inference.scenes.squares import on_square
from rasterloom.pipeline.inference.work import Finishing, RunSettings, Work, carry_out
from rasterloom.pipeline.outputs.features import FeatureBlock, check_output, write_features
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster

RASTER = "Raster"
"""Field of the result with the name of each raster."""

CONTEXT = frozenset({"parallelProcessingFactor", "processorType"})
"""Keys of ``context`` that have a meaning where each raster is seen whole."""

_FILE = 1024
"""Rasters of one task."""

_NAMED = 3
"""Most rasters that a message names."""

_GROUND = (("raster", pyarrow.string()), ("outline", pyarrow.binary()), ("crs", pyarrow.string()))
"""What is known of each raster besides the answer."""


@dataclass(frozen=True, kw_only=True)
class WholePlan:
    """Give each of some rasters a label."""

    sources: str
    """Hash of their names and states."""
    count: int
    package: str
    """Path of the model package, where every worker can read it."""
    digest: str
    """Content hash of the model."""
    spec: ModelSpec
    arguments: SceneArguments
    device: str
    """``cpu`` or ``cuda``."""
    precision: str
    """Type of the network's arithmetic."""
    raster: Raster | None = None
    """The only one, where it is no file with a name."""
    mask: None = None
    """There is none: it would be about ground, and this is about images."""
    tiles: Place | None = None
    """Folder that takes what tasks find out; None while there is none."""

    @property
    def id(self) -> str:
        """Hash of everything that decides about labels."""
        parts = {
            "version": 1,
            "task": "whole rasters",
            "sources": self.sources,
            "model": self.digest,
            "arguments": asdict(self.arguments),
            "device": [self.device, self.precision],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Those of the network's outputs, in order."""
        return self.spec.output_classes

    @property
    def several(self) -> bool:
        """Whether a raster is given several labels, or none."""
        return several_labels(self.spec)

    @property
    def group(self) -> int:
        """Rasters that are computed together at least."""
        return self.arguments.chips_in_pass(len(self.classes))

    @property
    def batch_count(self) -> int:
        return -(-self.count // _FILE)

    @property
    def cell_count(self) -> int:
        return sum(batch.cells for batch in self.batches())

    @property
    def inputs(self) -> Place:
        """Where tasks find the names of their rasters."""
        assert self.tiles is not None, "the plan has been brought home"
        return RunFolder(self.tiles.parent).inputs

    def batches(self) -> Iterator[ChipBatch]:
        for number in range(self.batch_count):
            yield ChipBatch(number, 0, -(-min(_FILE, self.count - number * _FILE) // self.group))


@dataclass(frozen=True)
class _Kit:
    """What tasks read besides the rasters themselves."""

    model: StagedModel
    names: tuple[str, ...]

    def place(self, folder: Place) -> str:
        for start in range(0, len(self.names), _FILE):
            folder.write(_file(start // _FILE), json.dumps(self.names[start : start + _FILE]).encode())
        return self.model.place(folder)


def classify_rasters(
    source: Any, output: str, label: str, model: Any, wishes: SceneWishes, settings: RunSettings
) -> str:
    """Give each raster of a folder or list, or the only one, a label; says where the layer stands.

    Parameters
    ----------
    label
        Field that takes the labels.
    """
    _check_context(wishes)
    sources = image_sources(source)
    _check_output(output, sources, label, settings)
    fields = {RASTER: "text", label: "text", CONFIDENCE: "float64"}

    def finish(ending: Finishing, output: str) -> str:
        _warn(ending.folder)
        crs = _first_crs(ending.plan.tiles)
        write_features(output, _rows(ending.plan.tiles, label, crs), fields=fields, crs=crs, overwrite=True)
        return output

    with staged_model(model, trust=wishes.trust) as staged:
        plan = _plan(sources, staged, wishes, settings.client)
        names = tuple(str(each) for each in sources) if plan.raster is None else ("",)
        work = Work(
            plan=plan,
            run=run_whole_batch,
            staged=_Kit(staged, names),
            verb="classify rasters for",
            final=lambda name: name,
            finish=finish,
        )
        cores = wishes.context.get("parallelProcessingFactor")
        return carry_out(work, output, settings, cores=cores, check=lambda name: None)


def run_whole_batch(plan: WholePlan, batch: ChipBatch) -> BatchResult:
    """Classify the rasters of ``batch`` and write one file of answers. No Dask inside; safe to repeat.

    A raster that cannot be read gets no label, unless it is the only one.

    Raises
    ------
    MissingInputError, RasterError, ReadError, ModelMismatchError
        If the only raster cannot be read, or one lacks a band.
    OutputError
        If the file cannot be written.
    """
    started = time.perf_counter()
    assert plan.tiles is not None, "the plan has been brought home"
    predictor = resident_classifier(plan.package, plan.digest, plan.device, plan.precision)
    names = json.loads(plan.inputs.read(_file(batch.number)))
    side, answers = plan.arguments.tile_size, Answers()
    ground: list[tuple[str, bytes | None, str]] = []
    lost: list[str] = []
    with shared_cores(plan.device):
        for group in range(batch.start, batch.stop):
            images = np.zeros((plan.group, plan.spec.band_count, side, side), np.float32)
            positions: list[int] = []
            for place in range(group * plan.group, min((group + 1) * plan.group, len(names))):
                image = _read(plan, names[place], lost)
                if image is None:
                    continue
                images[len(positions)] = on_square(image.pixels, side)
                positions.append(batch.number * _FILE + place)
                ground.append((image.name, image.outline, image.crs))
            if positions:
                shares = predictor.classify(images, merge=plan.arguments.merge)[: len(positions)]
                _note(answers, positions, *labels_of(plan, shares))
    table = answers.table()
    for number, (name, kind) in enumerate(_GROUND):
        table = table.append_column(name, pyarrow.array([known[number] for known in ground], kind))
    keep(plan.tiles, batch.id, table)
    summary = {**answers.summary(), "lost": len(lost), "names": lost[:_NAMED]}
    seconds = time.perf_counter() - started
    return BatchResult(batch.id, batch.cells, answers.looked * side**2, seconds, (), summary)


def _note(answers: Answers, positions: list[int], labels: list[str | None], confidences: np.ndarray) -> None:
    """Take answers, also those that are none: each raster has its row."""
    told = np.isfinite(confidences)
    answers.unusable += int((~told).sum())
    kept = [label if sure else None for label, sure in zip(labels, told.tolist(), strict=True)]
    answers.add(positions, kept, np.where(told, confidences, 0.0))


def _read(plan: WholePlan, name: str, lost: list[str]) -> Image | None:
    source = name if plan.raster is None else plan.raster
    try:
        return read_image(source, plan.spec)
    except (MissingInputError, RasterError, ReadError):
        if plan.count == 1:
            raise
        lost.append(name)
        return None


def _plan(sources: list[Any], staged: StagedModel, wishes: SceneWishes, client: Any) -> WholePlan:
    device = choose_device(wishes.context.get("processorType"), client)
    named = all(isinstance(each, str | Path) for each in sources)
    raster = None if named else describe(sources[0])
    told = [_state(each) for each in sources] if raster is None else [raster.etag]
    return WholePlan(
        sources=hashlib.sha256(json.dumps(told).encode()).hexdigest(),
        count=len(sources),
        package=str(staged.path),
        digest=staged.digest,
        spec=staged.spec,
        arguments=arguments_of(staged, wishes, device),
        device=device,
        precision=choose_precision(wishes.precision, device, client),
        raster=raster,
    )


def _state(source: Any) -> list[Any]:
    """What changes whenever a file does, without opening it."""
    path = Path(source)
    if "://" in str(source) or not path.exists():
        return [str(source)]
    return [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns]


def _file(number: int) -> str:
    return f"rasters-{number:06d}.json"


def _check_context(wishes: SceneWishes) -> None:
    idle = [key for key in wishes.context if key not in CONTEXT]
    if idle:
        raise SettingError(
            f"context[{idle[0]!r}] is about ground, and without input_features each raster is one object, "
            "seen whole: leave it out, or give features."
        )


def _check_output(output: str, sources: list[Any], label: str, settings: RunSettings) -> None:
    check_output(output, overwrite=settings.overwrite or settings.retry_failed)
    if label == RASTER:
        raise SettingError(f"class_label_field={label!r} is the field with the rasters' names: use another.")
    read = {str(Path(each).absolute()) for each in sources if isinstance(each, str | Path)}
    if Place.of(output).url in read:
        raise SettingError(f"{output} is read by this call: choose another output_name.")


def _first_crs(tiles: Place) -> str | None:
    """CRS of the first raster that has one."""
    first: tuple[int, str] | None = None
    for name in tiles.names():
        table = from_bytes(tiles.read(name))
        for position, crs in zip(table["position"].to_pylist(), table["crs"].to_pylist(), strict=True):
            if crs and (first is None or position < first[0]):
                first = position, crs
    return None if first is None else first[1]


def _rows(tiles: Place, label: str, crs: str | None) -> Iterator[FeatureBlock]:
    for name in tiles.names():
        table = from_bytes(tiles.read(name))
        shapes = np.asarray(shapely.from_wkb(table["outline"].to_pylist()), object)
        known = table["crs"].to_pylist()
        for other in {each for each in known if each and each != crs}:
            move = Transformer.from_crs(CRS.from_wkt(other), CRS.from_user_input(crs), always_xy=True)
            mine = np.flatnonzero([each == other for each in known])
            shapes[mine] = shapely.transform(shapes[mine], move.transform, interleaved=False)
        columns = {
            RASTER: np.array(table["raster"].to_pylist(), object),
            label: np.array(table["label"].to_pylist(), object),
            CONFIDENCE: percent(table["confidence"].to_numpy()),
        }
        yield FeatureBlock(shapes, columns)


def _warn(folder: RunFolder) -> None:
    lost = unusable = 0
    names: list[str] = []
    for result in folder.results():
        lost, unusable = lost + result.summary["lost"], unusable + result.summary["unusable"]
        names += result.summary["names"]
    if lost:
        listed = ", ".join(names[:_NAMED]) + (", ..." if lost > _NAMED else "")
        warnings.warn(f"{lost} rasters cannot be read and are left out: {listed}.", stacklevel=7)
    if unusable:
        warnings.warn(
            f"{unusable} rasters have no label: the network gives no number for them. Its arithmetic "
            "overflows, or its weights are damaged.",
            stacklevel=7,
        )
