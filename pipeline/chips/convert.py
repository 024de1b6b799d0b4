"""Write chips anew in another format: store to folder, folder to store, folder to folder."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.cluster.driver import execute
from rasterloom.cluster.jobs import BatchResult
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.progress import progress_bar
from rasterloom.models.errors import OutputError, OutputExistsError, SettingError, StoreError
from rasterloom.pipeline.chips.output import put_in_place
from rasterloom.pipeline.chips.settings import STORE
from rasterloom.pipeline.chips.sinks import chips_at, create_sink, open_sink
from rasterloom.pipeline.formats.cyclegan import HALVES
from rasterloom.pipeline.formats.images import FILE_TYPES
from rasterloom.pipeline.formats.opening import is_pair, open_chip_reader
from rasterloom.pipeline.formats.recast import recast, recast_spec
from rasterloom.pipeline.store.chips import ChipReader, LabelStats
from rasterloom.pipeline.store.tally import label_stats

_RUN, _PLAN = "_run", "_plan"
"""Folders inside what is unfinished: the driver's markers, and the counts of finished batches."""


def convert(
    source: str | Path,
    output: str | Path,
    *,
    metadata_format: str | None = None,
    chip_format: str | None = None,
    dataset_type: str | None = None,
    client: Any = None,
    overwrite: bool = False,
    progress: bool = True,
) -> str:
    """Write the chips of a store or folder in another format that their data allow.

    The output is the same for any number of workers, and appears under its name when it is whole; a run
    that was killed is resumed by the same call.

    Parameters
    ----------
    source
        A chip store, or a folder of chips, written here or by other software. A folder of CycleGAN's two
        sets becomes one.
    output
        Store or folder to write.
    metadata_format
        One of the formats of ``export_training_data``. None keeps the source's. Class maps become objects
        by their regions that touch, objects become class maps with the later ones on top, and either
        becomes labels of whole chips by what covers most of them.
    chip_format
        "ZARR" for a chip store, "TIFF", "PNG", "JPEG" or "MRF" for a folder. None takes a store where
        ``output`` ends with .zarr, else TIFF.
    dataset_type
        Metadata format of a source that does not say it.
    client
        Dask client whose workers do the work. None works in this process.
    overwrite
        Replace chips that stand there.
    progress
        Show a progress bar.

    Returns
    -------
    str
        Path of the output.

    Raises
    ------
    SettingError
        If the chips lack what the format needs (lists those that they can be written in), or if an
        argument cannot work.
    MissingInputError
        If the source is not there.
    StoreError
        If the source cannot be read.
    OutputExistsError
        If something stands at ``output``.
    OutputError
        If the disk refuses.
    """
    target = _checked_output(source, output, overwrite=overwrite)
    kind = _checked_format(chip_format, target)
    if not is_pair(source):
        _convert(Path(source), target, metadata_format, kind, dataset_type, client, progress)
        return str(target)
    if metadata_format not in (None, "CycleGAN"):
        raise SettingError(
            f"{source} holds two sets of images for CycleGAN, which cannot become {metadata_format}: convert "
            f"{Path(source) / HALVES[0]} or {Path(source) / HALVES[1]} alone."
        )
    partial = target.with_name(f".{target.name}.pair.partial")
    partial.mkdir(parents=True, exist_ok=True)
    for half in HALVES:
        if not (partial / half).exists():
            _convert(Path(source) / half, partial / half, metadata_format, kind, "CycleGAN", client, progress)
    put_in_place(partial, target)
    return str(target)


@dataclass(frozen=True)
class Piece:
    """Chips that are written together."""

    index: int
    start: int
    stop: int

    @property
    def id(self) -> str:
        return f"chips-{self.index:07d}"

    @property
    def cells(self) -> int:
        return self.stop - self.start

    def halves(self) -> None:
        """None: two tasks cannot write one shard."""
        return

    def cell_ids(self) -> Iterator[str]:
        for chip in range(self.start, self.stop):
            yield f"chip-{chip}"


@dataclass(frozen=True)
class ConvertPlan:
    """A conversion as tasks find it: paths and numbers."""

    id: str
    source: str
    dataset_type: str | None
    target: str
    """Folder of what is being written."""
    chip_format: str
    chips: int
    shard: int

    @property
    def batch_count(self) -> int:
        return -(-self.chips // self.shard)

    @property
    def cell_count(self) -> int:
        return self.chips

    def batches(self) -> Iterator[Piece]:
        for index in range(self.batch_count):
            start = index * self.shard
            yield Piece(index, start, min(start + self.shard, self.chips))

    def counted(self) -> LabelStats:
        """What the labels of all pieces hold, merged in their order."""
        total = LabelStats()
        for piece in self.batches():
            text = (Path(self.target) / _PLAN / f"{piece.id}.json").read_text("utf-8")
            total = total.merge(LabelStats.from_json(json.loads(text)))
        return total


def convert_piece(plan: ConvertPlan, piece: Piece) -> BatchResult:
    """Read some chips and write them anew. Safe to repeat: the bytes are the same."""
    started = time.perf_counter()
    reader = _reader(plan.id, plan.source, plan.dataset_type)
    sink = open_sink(plan.target, plan.chip_format)
    block = recast(reader.block(np.arange(piece.start, piece.stop)), reader.spec, sink.spec)
    sink.write(piece.start, block)
    path = Path(plan.target) / _PLAN / f"{piece.id}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(label_stats(block, sink.spec).to_json()), "utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}.") from error
    return BatchResult(
        batch=piece.id,
        cells=piece.cells,
        pixels=len(block) * block.images.shape[2] * block.images.shape[3],
        seconds=time.perf_counter() - started,
    )


@lru_cache(maxsize=4)
def _reader(plan_id: str, source: str, dataset_type: str | None) -> ChipReader:
    """The chips of a plan, opened once in each process: listing a folder takes long."""
    return open_chip_reader(source, dataset_type)


def _convert(
    source: Path,
    target: Path,
    metadata_format: str | None,
    chip_format: str,
    dataset_type: str | None,
    client: Any,
    progress: bool,
) -> None:
    reader = open_chip_reader(source, dataset_type)
    wanted = metadata_format or reader.spec.metadata_format
    spec = recast_spec(reader.spec, wanted, store=chip_format == STORE)
    name = _plan_id(reader, json.dumps(spec.to_json(), sort_keys=True), chip_format)
    partial = target.with_name(f".{target.name}.{name[:8]}.partial")
    try:
        sink = create_sink(partial, spec, chip_format)
        plan = ConvertPlan(
            name, str(source.absolute()), dataset_type, str(partial), chip_format, len(reader), sink.shard
        )
        with progress_bar("convert chips", show=progress) as tell:
            execute(
                client,
                plan,
                convert_piece,
                RunFolder(partial / _RUN),
                max_failed=0.0,
                on_progress=tell,
                title=f"Conversion of {source.name}",
            )
        sink.finish(reader.stats, plan.counted(), reader.stats2 if spec.bands2 else None)
        for leftover in (_RUN, _PLAN):
            shutil.rmtree(partial / leftover)
        put_in_place(partial, target)
    except (OutputError, SettingError, StoreError):
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _plan_id(reader: ChipReader, spec: str, chip_format: str) -> str:
    """Names a conversion: the same for the same call on chips that did not change."""
    root = Path(reader.path).absolute()
    changed = max((item.stat().st_mtime_ns for item in [root, *root.glob("*")]), default=0)
    numbers = hashlib.sha256(np.ascontiguousarray(reader.numbers, np.int64).tobytes()).hexdigest()
    text = f"{root} {changed} {numbers} {chip_format} {spec}"
    return hashlib.sha256(text.encode()).hexdigest()


def _checked_format(chip_format: str | None, output: Path) -> str:
    if chip_format is None:
        return STORE if output.suffix == ".zarr" else "TIFF"
    known = (STORE, *FILE_TYPES)
    if chip_format not in known:
        raise SettingError(f"chip_format={chip_format!r} is not known: use one of {', '.join(known)}.")
    return chip_format


def _checked_output(source: str | Path, output: str | Path, *, overwrite: bool) -> Path:
    if "://" in str(output):
        raise SettingError(f"output={str(output)!r} is no local folder: write there and copy it.")
    target = Path(output).absolute()
    if "://" not in str(source) and target in (Path(source).absolute(), *Path(source).absolute().parents):
        raise SettingError(f"output={str(output)!r} would replace the source: choose another folder.")
    if not target.exists():
        return target
    if not overwrite:
        raise OutputExistsError(f"{target} exists: choose another name, or replace it with overwrite=True.")
    if chips_at(target) is None and not is_pair(target):
        raise OutputExistsError(f"{target} holds no chips and is not replaced: choose another name.")
    return target
