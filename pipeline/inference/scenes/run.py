"""Run a classification of objects: prepare their chips, look at them, write the layer."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.cluster.scratch import scratch_folder
from rasterloom.pipeline.inference.models import StagedModel, staged_model
from rasterloom.pipeline.inference.names import check_no_input
from rasterloom.pipeline.inference.scenes.batch import run_scene_batch
from rasterloom.pipeline.inference.scenes.chips import PreparedChips
from rasterloom.pipeline.inference.scenes.plan import ScenePlan
from rasterloom.pipeline.inference.scenes.planner import SceneWishes, plan_scenes
from rasterloom.pipeline.inference.scenes.product import fields_of, labelled_features, number_field
from rasterloom.pipeline.inference.work import Finishing, RunSettings, Work, carry_out
from rasterloom.pipeline.outputs.features import check_output, write_features
from rasterloom.pipeline.outputs.read_features import FeatureSource
from rasterloom.pipeline.rasters.raster import Raster


@dataclass(frozen=True)
class _Kit:
    """What tasks read besides the raster."""

    model: StagedModel
    chips: PreparedChips

    def place(self, folder: Place) -> str:
        self.chips.place(folder)
        return self.model.place(folder)


@contextmanager
def planned(
    raster: Raster, source: FeatureSource, model: Any, wishes: SceneWishes, client: Any
) -> Iterator[tuple[ScenePlan, _Kit]]:
    """A run and what it needs, for as long as the context lasts. Errors as for the planner."""
    with (
        staged_model(model, trust=wishes.trust) as staged,
        tempfile.TemporaryDirectory(prefix="rasterloom-", dir=scratch_folder()) as folder,
    ):
        plan, chips = plan_scenes(raster, source, staged, wishes, Path(folder), client=client)
        yield plan, _Kit(staged, chips)


def classify_in_raster(
    raster: Raster,
    output: str,
    source: FeatureSource,
    label: str,
    model: Any,
    wishes: SceneWishes,
    settings: RunSettings,
) -> str:
    """Plan, run and write the labels of the objects on one raster; says where the layer stands.

    Parameters
    ----------
    label
        Field that takes the labels.
    """
    check_no_input(output, raster, model, wishes.context)
    check_output(output, overwrite=settings.overwrite or settings.retry_failed)
    check_fields(output, source, label)
    with planned(raster, source, model, wishes, settings.client) as (plan, kit):

        def finish(ending: Finishing, output: str) -> str:
            _warn(ending.folder, kit.chips, source)
            return _write(ending.plan, output, source, label)

        work = Work(
            plan=plan,
            run=run_scene_batch,
            staged=kit,
            verb="classify objects for",
            final=lambda name: name,
            finish=finish,
        )
        cores = wishes.context.get("parallelProcessingFactor")
        return carry_out(work, output, settings, cores=cores, check=lambda name: None)


def check_fields(output: str, source: FeatureSource, label: str) -> None:
    """Refuse fields that the format of the output cannot hold, before anything is computed.

    Raises SettingError or CrsError.
    """
    with tempfile.TemporaryDirectory(prefix="rasterloom-", dir=scratch_folder()) as folder:
        write_features(
            Path(folder) / f"empty{Path(Place.of(output).name).suffix.lower()}",
            [],
            fields=fields_of(source, label),
            crs=source.crs,
            oid=number_field(source),
        )


def _write(plan: ScenePlan, output: str, source: FeatureSource, label: str) -> str:
    assert plan.tiles is not None, "the run is over"
    fields = fields_of(source, label)
    with tempfile.TemporaryDirectory(prefix="rasterloom-", dir=scratch_folder()) as folder:
        write_features(
            output,
            labelled_features(source, fields, label, plan.tiles, Path(folder)),
            fields=fields,
            crs=source.crs,
            bounds=source.bounds(),
            overwrite=True,  # what may not be replaced was refused at the start
            oid=number_field(source),
        )
    return output


def _warn(folder: RunFolder, chips: PreparedChips, source: FeatureSource) -> None:
    dark = unusable = 0
    for result in folder.results():
        dark, unusable = dark + result.summary["dark"], unusable + result.summary["unusable"]
    reasons = {
        "lie outside of the raster, or of the extent": chips.outside,
        "have no geometry, or one that lies nowhere": chips.empty,
        "show nothing but nodata, or lie outside of the mask": dark,
        "get no number from the network: it overflows, or its weights are damaged": unusable,
    }
    told = "; ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
    if told:
        warnings.warn(
            f"of the {chips.features} features of {source.name}, some have no label: {told}.",
            stacklevel=7,  # the line that called the tool
        )
