"""What an export would take: counted from its plan, timed on a few chips."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.pipeline.chips.cut import cut_chips
from rasterloom.pipeline.chips.plan import ChipPlan
from rasterloom.pipeline.chips.sinks import create_sink
from rasterloom.pipeline.store.layout import StoreSpec

_PROBED = 16
"""Chips that are cut and written to be timed."""

_BASE_BYTES = 300 * 2**20
"""What a process holds before it cuts: Python, its libraries, and GDAL's block cache. Measured: 250 MB."""


@dataclass(frozen=True)
class ExportEstimate:
    """The price of an export, before it is run."""

    chips: int
    """Chips that will be written."""
    pixels: int
    """Pixels of their images."""
    bytes_read: int
    """Uncompressed bytes of the images that will be read."""
    bytes_written: int
    """Bytes of images and masks before compression."""
    batches: int
    """Tasks."""
    peak_memory: int
    """Bytes that one process needs at most with the threads it has."""
    seconds: float
    """Expected time, from cutting and writing a few chips on this machine."""


def estimate_export(
    plan: ChipPlan, spec: StoreSpec, chip_format: str, folder: Path, *, client: Any = None
) -> ExportEstimate:
    """Price a plan. What is written to be timed lies in ``folder``."""
    height, width = spec.tile
    pixels = int((plan.chips["height"].astype(np.int64) * plan.chips["width"]).sum())
    each = len(spec.bands) * np.dtype(spec.dtype).itemsize
    if spec.bands2:
        each += len(spec.bands2) * np.dtype(spec.dtype2).itemsize
    chosen = np.unique(np.linspace(0, len(plan) - 1, _PROBED).astype(np.int64))
    sink = create_sink(folder / "probe", replace(spec, chips=len(chosen)), chip_format)
    started = time.perf_counter()
    for start in range(0, len(chosen), sink.shard):
        table = plan.chips[chosen[start : start + sink.shard]]
        sources = {number: plan.sources[number] for number in np.unique(table["source"]).tolist()}
        sink.write(start, cut_chips(sources, table, plan.cutting, spec)[0])
    spent = (time.perf_counter() - started) / len(chosen)
    shard = spec.shard if chip_format == "ZARR" else sink.shard
    total, together = _threads(client)
    # a shard's images and masks, what is valid of them, and what one strip of chips is read with
    of_batch = 2 * shard * spec.chip_bytes + shard * height * width
    return ExportEstimate(
        chips=len(plan),
        pixels=pixels,
        bytes_read=pixels * each,
        bytes_written=len(plan) * spec.chip_bytes,
        batches=-(-len(plan) // shard),
        peak_memory=_BASE_BYTES + together * of_batch,
        seconds=spent * len(plan) / total,
    )


def _threads(client: Any) -> tuple[int, int]:
    """Threads of all processes, and of the one that has most."""
    if client is None:
        import os

        here = min(os.cpu_count() or 1, 4)
        return here, here
    counts = list(client.nthreads().values())
    return max(1, sum(counts)), max(counts, default=1)
