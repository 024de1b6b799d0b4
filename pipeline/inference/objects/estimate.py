"""What a detection would take: counted from the plan, timed on a few chips."""

from dataclasses import replace
from typing import Any

import numpy as np
import psutil

from rasterloom.pipeline.functions.files import FunctionFiles
from rasterloom.pipeline.functions.tiles import FunctionTile
from rasterloom.pipeline.inference.augment import DIHEDRAL
from rasterloom.pipeline.inference.devices import batches_at_once
from rasterloom.pipeline.inference.estimate import (
    BASE_BYTES,
    Amount,
    Estimate,
    Threads,
    network_bytes,
    seconds_per_pass,
)
from rasterloom.pipeline.inference.models import staged_model
from rasterloom.pipeline.inference.objects.function import function_of, plan_function
from rasterloom.pipeline.inference.objects.plan import ObjectPlan
from rasterloom.pipeline.inference.objects.planner import ObjectWishes, plan_objects
from rasterloom.pipeline.inference.objects.predict import resident_detector
from rasterloom.pipeline.inference.scripts import scripted, staged_script
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster


def estimate_objects(input_raster: Any, model: Any, wishes: ObjectWishes, *, client: Any = None) -> Estimate:
    """Price a detection; arguments as in :func:`detect_objects`. Writes nothing.

    What is found, and so what will be written, is not known before: ``bytes_written`` is 0.
    """
    raster = describe(input_raster)
    files = scripted(model)
    if files is not None:
        files.check_trust(trust=wishes.trust)
        return _of_function(raster, files, wishes, client)
    with staged_model(model, trust=wishes.trust) as staged:
        plan = plan_objects(raster, staged, wishes, client=client)
        # the probe runs here: a scheduler's workers may be busy, and the ratio of devices is theirs
        probe = plan if client is None else replace(plan, device="cpu", precision="float32")
        predictor = resident_detector(probe.package, probe.digest, probe.device, probe.precision)
    given = plan.arguments

    def look() -> None:
        chips = np.zeros((given.batch_size, len(plan.bands), given.tile_size, given.tile_size), np.uint8)
        valid = np.ones((given.batch_size, given.tile_size, given.tile_size), bool)
        predictor.find(chips, valid, threshold=given.threshold, nms_overlap=given.nms_overlap)

    factor = wishes.context.get("parallelProcessingFactor")
    threads = Threads.of(client, batches_at_once(factor, client, plan.batch_count))
    network = network_bytes(predictor.model.network, look, 4 * given.batch_size * given.tile_size**2)
    looks = len(DIHEDRAL) if given.test_time_augmentation else 1
    memory = threads.per_process * (network + _cell_bytes(plan))
    return _priced(plan, looks * seconds_per_pass(look) / threads.total, memory)


def _of_function(raster: Raster, files: FunctionFiles, wishes: ObjectWishes, client: Any) -> Estimate:
    """That of a package's own inference function, which is loaded here and run on empty tiles."""
    before = psutil.Process().memory_info().rss
    with staged_script(files) as staged:
        plan = plan_function(raster, staged, wishes, client=client)
        function = function_of(plan if client is None else replace(plan, device="cpu"))
    side = plan.cells.tile
    tile = FunctionTile(
        np.zeros((len(plan.bands), side, side), plan.raster.dtype), np.ones((side, side), bool), (0.0, 0.0)
    )
    seconds = seconds_per_pass(lambda: function.run(tile))
    held = max(0, psutil.Process().memory_info().rss - before)
    counts = [1] if client is None else list(client.nthreads().values()) or [1]
    # a function runs once at a time in each process
    return _priced(plan, seconds / len(counts), held + max(counts) * _cell_bytes(plan))


def _priced(plan: ObjectPlan, seconds_per_batch: float, memory: int) -> Estimate:
    work = Amount.of(plan.cells, plan.arguments.batch_size)
    return Estimate(
        chips=work.chips,
        pixels=plan.cells.extent.height * plan.cells.extent.width,
        bytes_read=work.pixels_read * len(plan.bands) * np.dtype(plan.raster.dtype).itemsize,
        bytes_written=0,
        batches=plan.batch_count,
        peak_memory=BASE_BYTES + memory,
        seconds=seconds_per_batch * work.passes,
    )


def _cell_bytes(plan: ObjectPlan) -> int:
    """What a thread holds of one cell: what was read twice over, and what of it is valid and wanted."""
    seen = (plan.cells.side + 2 * plan.cells.padding) ** 2
    return int(seen * (2 * len(plan.bands) * np.dtype(plan.raster.dtype).itemsize + 4))
