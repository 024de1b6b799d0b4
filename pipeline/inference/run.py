"""Run a pixel plan: compute its cells, put them together, tidy up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rasterloom.pipeline.inference.batch import run_batch
from rasterloom.pipeline.inference.models import StagedModel, staged_model
from rasterloom.pipeline.inference.names import check_name, check_no_input
from rasterloom.pipeline.inference.plan import CellTiles, PixelPlan
from rasterloom.pipeline.inference.planner import Wishes, plan_pixels
from rasterloom.pipeline.inference.product import product_of
from rasterloom.pipeline.inference.script_batch import run_script_batch
from rasterloom.pipeline.inference.script_planner import plan_script
from rasterloom.pipeline.inference.script_product import script_product
from rasterloom.pipeline.inference.scripts import scripted, staged_script
from rasterloom.pipeline.inference.work import Finishing, RunSettings, Work, carry_out
from rasterloom.pipeline.outputs.cog import assemble, check_free, output_name
from rasterloom.pipeline.outputs.raster import OutputRaster
from rasterloom.pipeline.rasters.raster import Raster

Product = Callable[[Any, Any], OutputRaster]
"""From the plan and the summaries of its batches to all of the output but its pixels."""


@contextmanager
def work_of(raster: Raster, model: Any, wishes: Wishes, settings: RunSettings) -> Iterator[Work]:
    """What a run of a model will be, for as long as the context lasts. Errors as for the planners."""
    files, client = scripted(model), settings.client
    if files is not None:
        files.check_trust(trust=wishes.trust)
        with staged_script(files) as staged:
            plan = plan_script(raster, staged, wishes, client=client)
            yield _work(plan, run_script_batch, staged, script_product, settings)
        return
    with staged_model(model, trust=wishes.trust) as ready:
        yield pixel_work(plan_pixels(raster, ready, wishes, client=client), ready, settings)


def pixel_work(
    plan: PixelPlan, staged: StagedModel, settings: RunSettings, *, verb: str = "classify"
) -> Work:
    """What a run of a plan will be, with a network that gives every pixel an answer."""

    def product(plan: Any, summaries: Any) -> OutputRaster:
        return product_of(plan, staged.spec, summaries)

    return _work(plan, run_batch, staged, product, settings, verb=verb)


def classify_raster(raster: Raster, output: str, model: Any, wishes: Wishes, settings: RunSettings) -> str:
    """Plan, run and assemble one raster's result; says where it stands."""

    def check(name: str) -> None:
        check_no_input(name, raster, model, wishes.context)

    check_name(output)
    check(output)
    if not settings.retry_failed:
        check_free(output, overwrite=settings.overwrite)
    cores = wishes.context.get("parallelProcessingFactor")
    with work_of(raster, model, wishes, settings) as work:
        return carry_out(work, output, settings, cores=cores, check=check)


def _work(
    plan: Any, run: Any, staged: Any, product: Product, settings: RunSettings, *, verb: str = "classify"
) -> Work:
    def assembled(ending: Finishing, output: str) -> str:
        return assemble(
            settings.client,
            CellTiles(ending.plan.cells, ending.plan.tiles),
            product(ending.plan, (result.summary for result in ending.folder.results())),
            output,
            max_cog_size=settings.max_cog_size,
            folder=ending.folder,
        )

    return Work(
        plan=plan,
        run=run,
        staged=staged,
        verb=verb,
        final=lambda output: output_name(output, plan.grid.shape, max_cog_size=settings.max_cog_size),
        finish=assembled,
    )
