"""What a run would take: counted from the plan, timed on a few chips."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rasterloom.pipeline.inference.models import staged_model
from rasterloom.pipeline.inference.pixels import plan_pixels
from rasterloom.pipeline.inference.plan import PixelPlan
from rasterloom.pipeline.inference.predict import PixelPredictor, load_predictor
from rasterloom.pipeline.rasters.open import describe

PROBES = 3
"""Timed forward passes; the fastest counts, so that a busy moment does not."""

BASE_BYTES = 900 * 2**20
"""What a worker holds before it reads anything: Python, torch, the libraries of networks, GDAL and its cache.

Measured: 870 MB after loading a U-Net.
"""


@dataclass(frozen=True)
class Estimate:
    """The price of a run, before it is run."""

    chips: int
    """Forward passes times batch size, nodata not known yet."""
    pixels: int
    """Pixels of the result."""
    bytes_read: int
    """Uncompressed bytes that will be read, halos included."""
    bytes_written: int
    """Uncompressed bytes of the class map."""
    batches: int
    """Tasks."""
    peak_memory: int
    """Bytes that one worker process needs at most, with one thread: a bound, often twice what is used."""
    seconds: float
    """Expected time of the forward passes, from a probe on this machine."""


def estimate_pixels(
    input_raster: Any,
    model: Any,
    model_arguments: Mapping[str, Any] | None,
    context: Mapping[str, Any],
    *,
    client: Any = None,
    cell_size: int | None = None,
) -> Estimate:
    """Price a pixel classification; arguments as in :func:`classify_pixels`. Writes nothing."""
    raster = describe(input_raster)
    with staged_model(model) as staged:
        plan = plan_pixels(raster, staged, model_arguments, context, client=client, cell_size=cell_size)
        # the probe runs here: a scheduler's workers may be busy, and the ratio of devices is theirs
        predictor = load_predictor(plan.package, plan.digest, "cpu" if client is not None else plan.device)
        return _priced(
            plan, _seconds_per_pass(plan, predictor), _network_bytes(plan, predictor), _threads(client)
        )


def _priced(plan: PixelPlan, seconds_per_pass: float, network: int, threads: int) -> Estimate:
    cells, whole = plan.cells, plan.cells.whole
    chips = read = 0
    for row, col in whole.positions():
        span = cells.chip_span(cells.window(row, col))
        seen = cells.read_window(span)
        chips += span.height * span.width
        read += seen.height * seen.width
    value_bytes = np.dtype(plan.raster.dtype).itemsize
    out_bytes = np.dtype(plan.dtype).itemsize
    cell = (cells.side + 2 * cells.padding) ** 2
    return Estimate(
        chips=chips,
        pixels=cells.extent.height * cells.extent.width,
        bytes_read=read * len(plan.bands) * value_bytes,
        bytes_written=cells.extent.height * cells.extent.width * out_bytes,
        batches=plan.batch_count,
        peak_memory=BASE_BYTES + network + cell * (len(plan.bands) * value_bytes + 8),
        seconds=seconds_per_pass * -(-chips // plan.batch_size) / threads,
    )


def _network_bytes(plan: PixelPlan, predictor: PixelPredictor) -> int:
    """Weights, three times while they are loaded, and everything that the layers of one pass put out."""
    passed: list[int] = []

    def note(_module: Any, _given: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            passed.append(output.numel() * output.element_size())

    layers = [module for module in predictor.network.modules() if not list(module.children())]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    _pass(plan, predictor)
    for hook in hooks:
        hook.remove()
    weights = sum(p.numel() * p.element_size() for p in predictor.network.parameters())
    return 3 * weights + sum(passed)


def _pass(plan: PixelPlan, predictor: PixelPredictor) -> None:
    side = plan.cells.tile
    chips = np.zeros((plan.batch_size, len(plan.bands), side, side), plan.raster.dtype)
    valid = np.ones((plan.batch_size, side, side), bool)
    predictor.classify(chips, valid, padding=plan.cells.padding)


def _seconds_per_pass(plan: PixelPlan, predictor: PixelPredictor) -> float:
    _pass(plan, predictor)  # the first one also sets things up
    fastest = float("inf")
    for _ in range(PROBES):
        started = time.perf_counter()
        _pass(plan, predictor)
        fastest = min(fastest, time.perf_counter() - started)
    return fastest


def _threads(client: Any) -> int:
    if client is None:
        return 1  # torch spreads one pass over this machine's cores
    return max(1, sum(client.nthreads().values()))
