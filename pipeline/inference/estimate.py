"""What a run would take: counted from the plan, timed on a few chips."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from rasterloom.pipeline.inference.augment import DIHEDRAL
from rasterloom.pipeline.inference.cells import CellGrid
from rasterloom.pipeline.inference.devices import batches_at_once
from rasterloom.pipeline.inference.models import staged_model
from rasterloom.pipeline.inference.plan import PixelPlan
from rasterloom.pipeline.inference.planner import Wishes, plan_pixels
from rasterloom.pipeline.inference.predict import resident_predictor
from rasterloom.pipeline.inference.scripts import scripted
from rasterloom.pipeline.inference.sizing import chip_counts
from rasterloom.pipeline.rasters.open import describe

PROBES = 3
"""Timed forward passes; the fastest counts, so that a busy moment does not."""

BASE_BYTES = 900 * 2**20
"""What a worker holds before it reads anything: Python, torch, the libraries of networks, GDAL and its cache.

Measured: 870 MB after loading a U-Net.
"""

LEAST_MAPS = 64
"""Feature maps of the images' size that a network is taken to hold at least; programs do not show theirs."""


@dataclass(frozen=True)
class Estimate:
    """The price of a run, before it is run."""

    chips: int
    """Chips that go through the network, flips and rotations counted once; nodata is not known yet."""
    pixels: int
    """Pixels of the result."""
    bytes_read: int
    """Uncompressed bytes that will be read, halos included."""
    bytes_written: int
    """Uncompressed bytes of the result; 0 where nobody knows before what will be found."""
    batches: int
    """Tasks."""
    peak_memory: int
    """Bytes that one process needs at most with the threads it has: a bound, often twice what is used."""
    seconds: float
    """Expected time of the forward passes, from a probe on this machine."""


def estimate_pixels(input_raster: Any, model: Any, wishes: Wishes, *, client: Any = None) -> Estimate:
    """Price a pixel classification; arguments as in :func:`classify_pixels`. Writes nothing."""
    raster, files = describe(input_raster), scripted(model)
    if files is not None:
        from rasterloom.pipeline.inference.script_estimate import (
            estimate_script,
        )  # it takes Estimate from here

        files.check_trust(trust=wishes.trust)
        return estimate_script(raster, files, wishes, client=client)
    with staged_model(model, trust=wishes.trust) as staged:
        plan = plan_pixels(raster, staged, wishes, client=client)
        return estimate_plan(plan, wishes.context.get("parallelProcessingFactor"), client=client)


def estimate_plan(plan: PixelPlan, factor: Any, *, client: Any = None) -> Estimate:
    """Price a plan while its package is where the plan says; ``factor`` is the parallelProcessingFactor."""
    # the probe runs here: a scheduler's workers may be busy, and the ratio of devices is theirs
    probe = plan if client is None else replace(plan, device="cpu", precision="float32")
    predictor = resident_predictor(probe)

    def look() -> None:
        side, size = plan.arguments.tile_size, plan.arguments.batch_size
        chips = np.zeros((size, len(plan.bands), side, side), np.uint8)
        predictor.predict(chips, np.ones((size, side, side), bool), centre=slice(0, side))

    return _priced(
        plan,
        seconds_per_pass(look),
        network_bytes(
            predictor.model.network, look, 4 * plan.arguments.batch_size * plan.arguments.tile_size**2
        ),
        Threads.of(client, batches_at_once(factor, client, plan.batch_count)),
    )


@dataclass(frozen=True)
class Threads:
    """Who computes side by side."""

    total: float
    """Passes at a time, counted as torch runs one on all cores of its process."""
    per_process: int

    @classmethod
    def of(cls, client: Any, at_once: int | None) -> "Threads":
        """Those of a cluster, or of this process, where so many batches are computed at once."""
        if client is None:
            return cls(1.0, at_once or 1)  # the probe has had all cores
        counts = list(client.nthreads().values())
        return cls(float(at_once or max(1, sum(counts))), max(counts, default=1))


@dataclass(frozen=True)
class Amount:
    """What the cells of a run come to, before anything is known of the pixels."""

    chips: int
    passes: int
    """Of full batches through the network."""
    pixels_read: int
    """Halos included."""

    @classmethod
    def of(cls, cells: CellGrid, batch_size: int) -> "Amount":
        """That of cells whose chips go in batches of a size."""
        chips = passes = read = 0
        for rows, cols, times in chip_counts(cells):
            chips += times * rows * cols
            passes += times * -(-rows * cols // batch_size)
            read += times * math.prod(count * cells.stride + 2 * cells.padding for count in (rows, cols))
        return cls(chips, passes, read)


def _priced(plan: PixelPlan, seconds_per_pass: float, network: int, threads: Threads) -> Estimate:
    cells = plan.cells
    work = Amount.of(cells, plan.arguments.batch_size)
    value_bytes = np.dtype(plan.raster.dtype).itemsize
    written = cells.extent.height * cells.extent.width * plan.decision.bands * np.dtype(plan.dtype).itemsize
    looks = len(DIHEDRAL) if plan.arguments.test_time_augmentation else 1
    return Estimate(
        chips=work.chips,
        pixels=cells.extent.height * cells.extent.width,
        bytes_read=work.pixels_read * len(plan.bands) * value_bytes,
        bytes_written=written,
        batches=plan.batch_count,
        peak_memory=BASE_BYTES + threads.per_process * (network + _cell_bytes(plan)),
        seconds=looks * seconds_per_pass * work.passes / threads.total,
    )


def _cell_bytes(plan: PixelPlan) -> int:
    """What a thread holds of one cell: what was read, what is valid, what comes out, and its file."""
    cells = plan.cells
    seen = (cells.side + 2 * cells.reach + 4 * cells.padding) ** 2
    value_bytes = np.dtype(plan.raster.dtype).itemsize
    blended = 4 * (len(plan.values) + 1) if plan.arguments.blend != "crop" else 0
    return seen * (2 * len(plan.bands) * value_bytes + 8 + 3 * plan.decision.pixel_bytes + blended)


def network_bytes(network: Any, look: Callable[[], None], image: int) -> int:
    """Weights, three times while they are loaded, and everything that the layers of one pass put out.

    Parameters
    ----------
    look
        Sends one batch through the network.
    image
        Bytes that one band of the batch takes as float32.
    """
    passed: list[int] = []

    def note(_module: Any, _given: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            passed.append(output.numel() * output.element_size())

    layers = [
        m for m in network.modules() if not (list(m.children()) or isinstance(m, torch.jit.ScriptModule))
    ]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    look()
    for hook in hooks:
        hook.remove()
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    return 3 * weights + max(sum(passed), LEAST_MAPS * image)


def seconds_per_pass(look: Callable[[], object]) -> float:
    """Time of one pass, the fastest of several."""
    look()  # the first one also sets things up
    fastest = float("inf")
    for _ in range(PROBES):
        started = time.perf_counter()
        look()
        fastest = min(fastest, time.perf_counter() - started)
    return fastest
