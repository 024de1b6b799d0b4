"""What a classification of objects would take: counted from their chips, timed on a few."""

from dataclasses import replace
from typing import Any

import numpy as np

from rasterloom.pipeline.inference.augment import DIHEDRAL
from rasterloom.pipeline.inference.devices import batches_at_once
from rasterloom.pipeline.inference.estimate import (
    BASE_BYTES,
    Estimate,
    Threads,
    network_bytes,
    seconds_per_pass,
)
from rasterloom.pipeline.inference.scenes.chips import STRIP_BYTES, PreparedChips
from rasterloom.pipeline.inference.scenes.plan import ScenePlan
from rasterloom.pipeline.inference.scenes.planner import SceneWishes
from rasterloom.pipeline.inference.scenes.predict import resident_classifier
from rasterloom.pipeline.inference.scenes.run import planned
from rasterloom.pipeline.outputs.read_features import FeatureSource
from rasterloom.pipeline.rasters.open import describe

_STRIPS = 3
"""Rows of blocks that a thread holds, for tiles no longer than a block."""


def estimate_scenes(
    input_raster: Any, features: Any, model: Any, wishes: SceneWishes, *, client: Any = None
) -> Estimate:
    """Price a classification of objects; arguments as in :func:`classify_objects`. Writes nothing.

    ``bytes_written`` is 0: what the layer takes is known to whoever has it.
    """
    source = FeatureSource.of(features)
    with planned(describe(input_raster), source, model, wishes, client) as (plan, kit):
        # the probe runs here: a scheduler's workers may be busy, and the ratio of devices is theirs
        probe = plan if client is None else replace(plan, device="cpu", precision="float32")
        predictor = resident_classifier(probe.package, probe.digest, probe.device, probe.precision)
        return _priced(plan, kit.chips, predictor, wishes, client)


def _priced(
    plan: ScenePlan, chips: PreparedChips, predictor: Any, wishes: SceneWishes, client: Any
) -> Estimate:
    size, side = plan.arguments.chips_in_pass(len(plan.classes)), plan.arguments.tile_size

    def look() -> None:
        predictor.classify(np.zeros((size, len(plan.bands), side, side), np.uint8))

    factor = wishes.context.get("parallelProcessingFactor")
    threads = Threads.of(client, batches_at_once(factor, client, plan.batch_count))
    network = network_bytes(predictor.model.network, look, 4 * size * side**2)
    looks = len(DIHEDRAL) if plan.arguments.test_time_augmentation else 1
    passes = sum(-(-count // size) for count in chips.counts)
    return Estimate(
        chips=chips.count,
        pixels=chips.count * side**2,
        bytes_read=chips.pixels_read * len(plan.bands) * np.dtype(plan.raster.dtype).itemsize,
        bytes_written=0,
        batches=plan.batch_count,
        peak_memory=BASE_BYTES + threads.per_process * (network + _STRIPS * STRIP_BYTES),
        seconds=looks * seconds_per_pass(look) * passes / threads.total,
    )
