"""From what the caller wishes to chips that stand under their name."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rasterloom.cluster.driver import execute
from rasterloom.cluster.jobs import Progress
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.progress import progress_bar
from rasterloom.models.errors import (
    LabelError,
    OutputError,
    OutputExistsError,
    SettingError,
    StoreError,
)
from rasterloom.pipeline.chips.cut import ChipStats
from rasterloom.pipeline.chips.describing import spec_of
from rasterloom.pipeline.chips.estimate import ExportEstimate, estimate_export
from rasterloom.pipeline.chips.output import claim, output_path, put_in_place, staging
from rasterloom.pipeline.chips.plan import ChipPlan, Cutting, plan_chips
from rasterloom.pipeline.chips.settings import ExportSettings
from rasterloom.pipeline.chips.shards import ShardPlan, lay_out, write_shard
from rasterloom.pipeline.chips.sinks import chips_at, create_sink
from rasterloom.pipeline.chips.sources import Inputs, is_centred, label_name, open_sources
from rasterloom.pipeline.store.append import merged_spec, source_positions
from rasterloom.pipeline.store.chips import ChipReader

_RUN, _PLAN = "_run", "_plan"
"""Folders inside what is unfinished: the driver's markers, and what the tasks read."""

_CYCLE = "CycleGAN"
SIDES = ("A", "B")
"""Folders of the two sides of CycleGAN chips."""


@dataclass(frozen=True, eq=False)
class Run:
    """How an export is run."""

    client: Any = None
    overwrite: bool = False
    progress: bool = True
    report: Callable[[Progress], None] | None = None
    """Is told of the progress too."""


def export_chips(inputs: Inputs, settings: ExportSettings, output: Path, run: Run) -> str:
    """Write the chips, both sides of them where the format has two; the path of what was written."""
    if settings.metadata_format != _CYCLE:
        _export(inputs, settings, output, run)
        return str(output)
    first, second = (output / side for side in SIDES)
    if inputs.second is None and _fills_second(output, settings, run):
        _export(inputs, settings, second, run)
        return str(output)
    if output.exists() and not _is_pair(output) and any(output.iterdir()):
        raise OutputExistsError(f"{output} is no folder of {_CYCLE} chips: choose another name.")
    other = replace(inputs, raster=inputs.second, second=None)
    _export(replace(inputs, second=None), settings, first, run, goes_on=inputs.second is not None)
    if inputs.second is not None:
        _export(other, settings, second, run)
    return str(output)


def estimate_chips(inputs: Inputs, settings: ExportSettings, location: Any, run: Run) -> ExportEstimate:
    """What the same export would take."""
    try:
        output = output_path(location, inputs.raster, store=settings.is_store)
    except SettingError:
        if location is not None:
            raise
        output = Path.cwd() / "chips"  # nothing stays there
    with staging(output) as folder:
        (folder / "features").mkdir()
        plan = _plan(inputs, settings, folder / "features")
        spec = spec_of(plan, settings, label_name(inputs.labels))
        return estimate_export(plan, spec, settings.chip_format, folder, client=run.client)


def _fills_second(output: Path, settings: ExportSettings, run: Run) -> bool:
    """Whether one raster is side B, because side A is there and B is not."""
    first, second = (output / side for side in SIDES)
    return not run.overwrite and not settings.start_index and first.exists() and not second.exists()


def _is_pair(output: Path) -> bool:
    return output.is_dir() and any((output / side).is_dir() for side in SIDES)


def _plan(inputs: Inputs, settings: ExportSettings, folder: Path) -> ChipPlan:
    sources = open_sources(inputs, settings, folder)
    cutting = Cutting(
        metadata_format=settings.metadata_format,
        tile=settings.tile,
        stride=settings.stride,
        angle=settings.angle,
        min_share=settings.min_share,
        centred=is_centred(settings, inputs.labels),
        fixed_size=settings.fixed_size,
        blacken=settings.blacken,
    )
    plan = plan_chips(
        sources,
        cutting,
        all_tiles=settings.all_tiles,
        start_index=settings.start_index,
        split=settings.split,
    )
    if settings.fixed_size:
        return plan
    # what is cut is as large as the largest chip, not as the tile that bounds it
    largest = int(plan.chips["height"].max()), int(plan.chips["width"].max())
    return replace(plan, cutting=replace(cutting, tile=largest))


def _export(
    inputs: Inputs, settings: ExportSettings, output: Path, run: Run, *, goes_on: bool = False
) -> None:
    """Write the chips of one output.

    ``goes_on`` accepts what an earlier call has finished, if that was the same plan.
    """
    finished = chips_at(output) if goes_on and not run.overwrite and output.exists() else None
    base = None if finished is not None else claim(output, settings, overwrite=run.overwrite)
    with staging(output) as folder:
        plan = _plan(inputs, settings, folder)
        if finished is not None:
            if finished.spec.parameters.get("plan") == plan.id:
                return
            base = claim(output, settings, overwrite=False)
        partial = output.with_name(f".{output.name}.{_run_id(plan, settings, base)[:8]}.partial")
        with _or_removed(partial):
            sink, shards = _lay_out(plan, settings, label_name(inputs.labels), folder, partial, base)
    with _or_removed(partial):
        _write(sink, shards, run, partial, base)
        put_in_place(partial, output)


@contextmanager
def _or_removed(partial: Path) -> Iterator[None]:
    """Leave nothing where the disk refuses, or where what was asked for cannot be written."""
    known = partial.exists()
    try:
        yield
    except OutputError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(f"{_first(error)} What was written so far is removed.") from error
    except (SettingError, StoreError, LabelError):
        if not known:
            shutil.rmtree(partial, ignore_errors=True)
        raise


def _lay_out(
    plan: ChipPlan,
    settings: ExportSettings,
    labels: str,
    staged: Path,
    partial: Path,
    base: ChipReader | None,
) -> tuple[Any, ShardPlan]:
    """The empty output, and the plan as tasks find it."""
    spec = spec_of(plan, settings, labels)
    merged = spec if base is None else merged_spec(base.spec, spec)
    sink = create_sink(partial, merged, settings.chip_format, base)
    shards = lay_out(
        plan,
        staged,
        partial / _PLAN,
        sink,
        chip_format=settings.chip_format,
        places=source_positions(spec, merged),
        base=base,
    )
    return sink, shards


def _write(sink: Any, shards: ShardPlan, run: Run, partial: Path, base: ChipReader | None) -> None:
    with progress_bar("export chips", show=run.progress) as show:

        def tell(progress: Progress) -> None:
            show(progress)
            if run.report is not None:
                run.report(progress)

        # a store with holes would train on black chips, so not one may fail
        execute(run.client, shards, write_shard, RunFolder(partial / _RUN), max_failed=0.0, on_progress=tell)
    stats = shards.statistics(sink.spec)
    if base is not None:
        stats = ChipStats(base.stats, base.stats2, base.label_stats).merge(stats)
    sink.finish(stats.bands, stats.labels, stats.bands2)
    for name in (_RUN, _PLAN):
        shutil.rmtree(partial / name)


def _run_id(plan: ChipPlan, settings: ExportSettings, base: ChipReader | None) -> str:
    """Names the unfinished output: the same for the same call, another for any other."""
    there = "" if base is None else f"{base.path} {len(base)} {base.spec.parameters.get('plan')}"
    text = f"{plan.id} {settings.chip_format} {settings.reference_system} {there}"
    return hashlib.sha256(text.encode()).hexdigest()


def _first(error: OutputError) -> str:
    """The innermost message: the one that says what the disk refused and how much was needed."""
    inner: BaseException = error
    while isinstance(inner.__cause__, OutputError):
        inner = inner.__cause__
    return str(inner)
