"""Run a detection: what chips find, what of it is the same thing, and a layer of all things."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rasterloom.cluster.jobs import RunBatch
from rasterloom.cluster.markers import RunFolder
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.arguments import share
from rasterloom.pipeline.inference.models import staged_model
from rasterloom.pipeline.inference.names import check_no_input
from rasterloom.pipeline.inference.objects.batch import run_object_batch
from rasterloom.pipeline.inference.objects.function import plan_function, run_function_batch
from rasterloom.pipeline.inference.objects.plan import ObjectPlan
from rasterloom.pipeline.inference.objects.planner import ObjectWishes, plan_objects
from rasterloom.pipeline.inference.objects.product import CONFIDENCE, FIELDS, things_as_features
from rasterloom.pipeline.inference.scripts import scripted, staged_script
from rasterloom.pipeline.inference.suppress import non_maximum_suppression
from rasterloom.pipeline.inference.work import Finishing, RunSettings, Work, carry_out
from rasterloom.pipeline.outputs.features import check_output, write_features
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.seams.tree import forget_seams, resolve_tree

Finish = Callable[[Finishing, str], str]
"""Makes the result of the finished cells; says where it stands."""


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """What is done to the layer of all things at the end, by ``non_maximum_suppression``."""

    score_field: str
    class_field: str
    most_overlap: float

    def __post_init__(self) -> None:
        for name, field in (
            ("confidence_score_field", self.score_field),
            ("class_value_field", self.class_field),
        ):
            if field not in FIELDS:
                raise SettingError(f"{name}={field!r} is no field of the result: it has {', '.join(FIELDS)}.")
        if self.score_field != CONFIDENCE:
            raise SettingError(
                f"confidence_score_field={self.score_field!r} says nothing about certainty: use "
                f"{CONFIDENCE!r}."
            )
        share("max_overlap_ratio", self.most_overlap)


@contextmanager
def work_of(raster: Raster, model: Any, wishes: ObjectWishes, client: Any, finish: Finish) -> Iterator[Work]:
    """What a run of a model will be, for as long as the context lasts. Errors as for the planners."""
    files = scripted(model)
    if files is not None:
        files.check_trust(trust=wishes.trust)
        _check_function(wishes)
        with staged_script(files) as script:
            plan = plan_function(raster, script, wishes, client=client)
            yield _work(plan, run_function_batch, script, finish)
        return
    with staged_model(model, trust=wishes.trust) as staged:
        plan = plan_objects(raster, staged, wishes, client=client)
        yield _work(plan, run_object_batch, staged, finish)


def _work(plan: ObjectPlan, run: RunBatch, staged: Any, finish: Finish) -> Work:
    return Work(
        plan=plan, run=run, staged=staged, verb="find objects for", final=lambda name: name, finish=finish
    )


def _check_function(wishes: ObjectWishes) -> None:
    if wishes.precision is not None:
        raise SettingError(
            f"precision={wishes.precision!r} is about networks, and this model is run by an inference "
            "function of its own: leave precision out."
        )


def find_in_raster(
    raster: Raster,
    output: str,
    model: Any,
    wishes: ObjectWishes,
    settings: RunSettings,
    suppression: Suppression | None = None,
) -> str:
    """Plan, run and join what is found in one raster; says where it stands."""
    check_no_input(output, raster, model, wishes.context)
    check_output(output, overwrite=settings.overwrite or settings.retry_failed)
    cores = wishes.context.get("parallelProcessingFactor")

    def finish(ending: Finishing, output: str) -> str:
        return _joined(ending, output, suppression)

    with work_of(raster, model, wishes, settings.client, finish) as work:
        return carry_out(work, output, settings, cores=cores, check=lambda name: None)


def _joined(ending: Finishing, output: str, suppression: Suppression | None) -> str:
    folder = ending.folder
    _warn_of_unusable(folder)
    if suppression is None:
        _write(ending, output)
    else:
        everything = folder.place / "everything.parquet"
        _write(ending, str(everything))
        non_maximum_suppression(
            str(everything),
            suppression.score_field,
            output,
            suppression.class_field,
            suppression.most_overlap,
            client=ending.settings.client,
            overwrite=True,
            progress=False,
        )
        folder.place.remove(everything.name)
    forget_seams(folder)
    return output


def _write(ending: Finishing, output: str) -> None:
    plan = ending.plan
    parts = resolve_tree(
        ending.settings.client,
        plan.tiles,
        plan.tree,
        plan.rules,
        ending.folder,
        threads=ending.threads,
        title=ending.title,
    )
    write_features(
        output,
        things_as_features(plan, parts),
        fields=FIELDS,
        crs=plan.raster.grid.crs,
        bounds=plan.grid.bounds,
        overwrite=True,  # what may not be replaced was refused at the start
    )


def _warn_of_unusable(folder: RunFolder) -> None:
    unusable = sum(result.summary["unusable"] for result in folder.results())
    if unusable:
        warnings.warn(
            f"{unusable} detections were left out: their score or a side of their box is no number, or "
            "the box has no area. The network's arithmetic overflows, or its weights are damaged.",
            stacklevel=7,  # the line that called the tool
        )
