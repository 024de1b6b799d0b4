"""Carry out a run, whatever it computes: cells, then what is made of them, then nothing is left but that."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from rasterloom.cluster.delivery import check_seen
from rasterloom.cluster.driver import execute
from rasterloom.cluster.jobs import Progress, RunBatch
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.cluster.progress import progress_bar
from rasterloom.pipeline.inference.devices import batches_at_once
from rasterloom.pipeline.outputs.cog import check_free
from rasterloom.pipeline.rasters.pinned import pinned


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run is carried out; none of it changes the result."""

    client: Any = None
    overwrite: bool = False
    max_failed: float = 0.01
    retry_failed: bool = False
    max_cog_size: int = 65_536
    performance_report: str | Path | None = None
    progress: bool = False
    on_progress: Any = None


@dataclass(frozen=True, kw_only=True)
class Finishing:
    """What the last step of a run works with."""

    plan: Any
    """With everything it needs in the run's folder."""
    folder: RunFolder
    settings: RunSettings
    threads: int | None
    title: str


class Staged(Protocol):
    """A model, and whatever else of the caller's its tasks read."""

    def place(self, folder: Place) -> str:
        """Put it into a folder that all workers see; path or URL of the model's package there."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A run that has been decided on."""

    plan: Any
    """A plan of the driver with ``raster`` and ``mask``, which may be None, ``package`` and ``tiles``."""
    run: RunBatch
    staged: Staged
    verb: str
    """What it does, for titles: "classify"."""
    final: Callable[[str], str]
    """From the name that the caller gave to the one that the result will have."""
    finish: Callable[[Finishing, str], str]
    """Makes the result of the finished cells under the caller's name; says where it stands."""


def carry_out(
    work: Work, output: str, settings: RunSettings, *, cores: Any, check: Callable[[str], None]
) -> str:
    """Compute the cells of a run that are missing and make its result of all; says where that stands.

    Parameters
    ----------
    output
        Name of the result. Nobody stands there, or it may be replaced.
    cores
        The context's ``parallelProcessingFactor``.
    check
        Refuses the name that the result will have, where that is another one than ``output``.
    """
    client, folder = settings.client, RunFolder(Place.of(output).parent / "_run" / work.plan.id[:16])
    final = work.final(output)
    if final != output:
        check(final)
    if settings.retry_failed and _nothing_to_retry(folder, final, settings):
        return final
    if not settings.retry_failed and final != output:
        check_free(final, overwrite=settings.overwrite)
    plan = _at_home(work, folder)
    check_seen(client, plan.package)
    title = f"{work.verb} {Place.of(output).name}"
    threads = batches_at_once(cores, client, plan.batch_count)
    with ExitStack() as stack:
        on_progress = settings.on_progress or stack.enter_context(progress_bar(title, show=settings.progress))
        report = execute(
            client,
            plan,
            work.run,
            folder,
            max_failed=settings.max_failed,
            threads=threads,
            on_progress=on_progress,
            performance_report=settings.performance_report,
            title=title,
        )
    ending = Finishing(
        plan=plan,
        folder=folder,
        settings=settings,
        threads=threads,
        title=title,
    )
    final = work.finish(ending, output)
    if report.failed:
        warnings.warn(
            f"{len(report.failed)} of {report.cells} cells could not be computed and are empty: "
            f"{folder.place}/failed.parquet says why. The same call with retry_failed=True tries them again.",
            stacklevel=6,  # the line that called the tool
        )
    else:  # failed cells can be tried again as long as the others are at hand
        folder.forget_batches()
        folder.tiles.remove_all()
        folder.inputs.remove_all()
    return final


def watched(settings: RunSettings, report: Any) -> RunSettings:
    """The same settings, with progress going to ``report``."""

    def tell(progress: Progress) -> None:
        report(progress)

    return replace(settings, on_progress=tell)


def _nothing_to_retry(folder: RunFolder, output: str, settings: RunSettings) -> bool:
    """Whether a run of this plan has ended without failed cells, so that its output stands as it is."""
    place = Place.of(output)
    ended = folder.place.exists("run.json") and not folder.tiles.names()
    if not ended:
        check_free(output, overwrite=settings.overwrite or bool(folder.tiles.names()))
    return ended and place.parent.exists(place.name)


def _at_home(work: Work, folder: RunFolder) -> Any:
    """The plan with everything it needs in the run's folder, which all workers can reach."""
    plan = work.plan
    return replace(
        plan,
        raster=plan.raster and pinned(plan.raster, folder.inputs),
        mask=plan.mask and plan.mask.at_home(folder.inputs),
        package=str(work.staged.place(folder.inputs)),
        tiles=folder.tiles,
    )
