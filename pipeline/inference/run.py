"""Run a pixel plan: compute its cells, put them together, tidy up."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rasterloom.cluster.driver import execute
from rasterloom.cluster.jobs import Progress, RunBatch
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.cluster.progress import progress_bar
from rasterloom.pipeline.inference.batch import run_batch
from rasterloom.pipeline.inference.devices import batches_at_once
from rasterloom.pipeline.inference.models import StagedModel, staged_model
from rasterloom.pipeline.inference.names import check_name, check_no_input
from rasterloom.pipeline.inference.plan import CellTiles, PixelPlan
from rasterloom.pipeline.inference.planner import Wishes, plan_pixels
from rasterloom.pipeline.inference.product import product_of
from rasterloom.pipeline.inference.script_batch import run_script_batch
from rasterloom.pipeline.inference.script_plan import ScriptPlan
from rasterloom.pipeline.inference.script_planner import plan_script
from rasterloom.pipeline.inference.script_product import script_product
from rasterloom.pipeline.inference.scripts import StagedScript, scripted, staged_script
from rasterloom.pipeline.outputs.cog import assemble, check_free, output_name
from rasterloom.pipeline.outputs.raster import OutputRaster
from rasterloom.pipeline.rasters.pinned import pinned
from rasterloom.pipeline.rasters.raster import Raster


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


@dataclass(frozen=True)
class Work:
    """A run that has been decided on, whatever computes its pixels."""

    plan: PixelPlan | ScriptPlan
    run: RunBatch
    staged: StagedModel | StagedScript
    product: Callable[[Any, Any], OutputRaster]
    """From the plan and the summaries of its batches to all of the output but its pixels."""


@contextmanager
def work_of(raster: Raster, model: Any, wishes: Wishes, client: Any) -> Iterator[Work]:
    """What a run of a model will be, for as long as the context lasts. Errors as for the planners."""
    files = scripted(model)
    if files is not None:
        files.check_trust(trust=wishes.trust)
        with staged_script(files) as staged:
            plan = plan_script(raster, staged, wishes, client=client)
            yield Work(plan, run_script_batch, staged, script_product)
        return
    with staged_model(model, trust=wishes.trust) as ready:
        yield Work(
            plan_pixels(raster, ready, wishes, client=client),
            run_batch,
            ready,
            lambda plan, summaries: product_of(plan, ready.spec, summaries),
        )


def classify_raster(raster: Raster, output: str, model: Any, wishes: Wishes, settings: RunSettings) -> str:
    """Plan, run and assemble one raster's result; says where it stands."""
    check_name(output)
    check_no_input(output, raster, model, wishes.context)
    if not settings.retry_failed:
        check_free(output, overwrite=settings.overwrite)
    place, client = Place.of(output).parent, settings.client
    with ExitStack() as stack:
        work = stack.enter_context(work_of(raster, model, wishes, client))
        plan = work.plan
        folder = RunFolder(place / "_run" / plan.id[:16])
        final = output_name(output, plan.grid.shape, max_cog_size=settings.max_cog_size)
        if final != output:
            check_no_input(final, raster, model, wishes.context)
        if settings.retry_failed and _nothing_to_retry(folder, final, settings):
            return final
        if not settings.retry_failed and final != output:
            check_free(final, overwrite=settings.overwrite)
        plan = _at_home(plan, work, folder)
        title = f"classify {Place.of(output).name}"
        report = execute(
            client,
            plan,
            work.run,
            folder,
            max_failed=settings.max_failed,
            threads=batches_at_once(wishes.context.get("parallelProcessingFactor"), client, plan.batch_count),
            on_progress=settings.on_progress
            or stack.enter_context(progress_bar(title, show=settings.progress)),
            performance_report=settings.performance_report,
            title=title,
        )
    final = _assembled(plan, work, folder, output, settings)
    if report.failed:
        warnings.warn(
            f"{len(report.failed)} of {report.cells} cells could not be computed and are empty: "
            f"{folder.place}/failed.parquet says why. The same call with retry_failed=True tries them again.",
            stacklevel=4,
        )
    else:  # failed cells can be tried again as long as the others are at hand
        folder.forget_batches()
        folder.tiles.remove_all()
        folder.inputs.remove_all()
    return final


def _nothing_to_retry(folder: RunFolder, output: str, settings: RunSettings) -> bool:
    """Whether a run of this plan has ended without failed cells, so that its output stands as it is."""
    place = Place.of(output)
    ended = folder.place.exists("run.json") and not folder.tiles.names()
    if not ended:
        check_free(output, overwrite=settings.overwrite or bool(folder.tiles.names()))
    return ended and place.parent.exists(place.name)


def _at_home(plan: PixelPlan | ScriptPlan, work: Work, folder: RunFolder) -> PixelPlan | ScriptPlan:
    """The plan with everything it needs in the run's folder, which all workers can reach."""
    return replace(
        plan,
        raster=pinned(plan.raster, folder.inputs),
        mask=plan.mask and plan.mask.at_home(folder.inputs),
        package=str(work.staged.place(folder.inputs)),
        tiles=folder.tiles,
    )


def _assembled(
    plan: PixelPlan | ScriptPlan, work: Work, folder: RunFolder, output: str, settings: RunSettings
) -> str:
    summaries = (result.summary for result in folder.results())
    assert plan.tiles is not None, "the plan has been brought home"
    return assemble(
        settings.client,
        CellTiles(plan.cells, plan.tiles),
        work.product(plan, summaries),
        output,
        max_cog_size=settings.max_cog_size,
        folder=folder,
    )


def watched(settings: RunSettings, report: Any) -> RunSettings:
    """The same settings, with progress going to ``report``."""

    def tell(progress: Progress) -> None:
        report(progress)

    return replace(settings, on_progress=tell)
