"""Run a comparison of two rasters: compute its cells, put them together, outline what has changed."""

from pathlib import Path
from typing import Any

from rasterloom.models.errors import ModelMismatchError
from rasterloom.pipeline.inference.change.planner import Dates, plan_change
from rasterloom.pipeline.inference.estimate import Estimate, estimate_plan
from rasterloom.pipeline.inference.models import staged_model
from rasterloom.pipeline.inference.names import check_name, check_no_input
from rasterloom.pipeline.inference.planner import Wishes
from rasterloom.pipeline.inference.run import pixel_work
from rasterloom.pipeline.inference.scripts import scripted
from rasterloom.pipeline.inference.work import RunSettings, carry_out
from rasterloom.pipeline.outputs.cog import check_free

OUTPUT = "output_classified_raster"
"""What the tool calls its result."""


def change_raster(
    dates: Dates,
    output: str,
    model: Any,
    wishes: Wishes,
    settings: RunSettings,
    *,
    polygons: str | Path | None = None,
) -> str:
    """Plan, run and assemble one comparison; says where it stands.

    ``polygons`` names a layer that takes the changed areas as well.
    """

    def check(name: str) -> None:
        for raster in (dates.before, dates.after):
            check_no_input(name, raster, model, wishes.context)

    check_name(output, OUTPUT)
    check(output)
    _check_script(model)
    if not settings.retry_failed:
        check_free(output, overwrite=settings.overwrite)
    cores = wishes.context.get("parallelProcessingFactor")
    with staged_model(model, trust=wishes.trust) as staged:
        plan = plan_change(dates, staged, wishes, client=settings.client)
        work = pixel_work(plan, staged, settings, verb="compare for")
        written = carry_out(work, output, settings, cores=cores, check=check)
    if polygons is not None:
        _outline(written, polygons, plan.values, settings)
    return written


def estimate_change(dates: Dates, model: Any, wishes: Wishes, *, client: Any = None) -> Estimate:
    """Price a comparison. Writes nothing."""
    _check_script(model)
    with staged_model(model, trust=wishes.trust) as staged:
        plan = plan_change(dates, staged, wishes, client=client)
        return estimate_plan(plan, wishes.context.get("parallelProcessingFactor"), client=client)


def _check_script(model: Any) -> None:
    files = scripted(model)
    if files is not None:
        raise ModelMismatchError(
            f"{files.source} is run by an inference function of its own, which gets one raster: change is "
            "found by a ChangeDetector, or by a network brought by from_torch(task='change')."
        )


def _outline(written: str, polygons: str | Path, values: tuple[int, ...], settings: RunSettings) -> None:
    from rasterloom.pipeline.inference.polygonize import polygonize

    polygonize(
        written,
        polygons,
        classes=[value for value in values if value != 0],
        client=settings.client,
        overwrite=settings.overwrite,
        progress=settings.progress,
    )
