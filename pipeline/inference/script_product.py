"""What a run of an inference function writes: a class map, or a raster of measurements."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rasterloom.pipeline.inference.script_plan import ScriptPlan
from rasterloom.pipeline.inference.tally import MOST_BANDS, class_counts, counted
from rasterloom.pipeline.outputs.raster import BandStatistics, OutputRaster


class ScriptTally:
    """Figures of the pixels of a batch: the same however the raster is cut."""

    def __init__(self, plan: ScriptPlan) -> None:
        self._nodata, self._counts = plan.output.nodata, _is_counted(plan)
        self._values = np.zeros(256, np.int64)
        bands = plan.output.bands
        self._bands: list[list[Any] | None] = [None] * (bands if bands <= MOST_BANDS else 0)

    def count(self, found: np.ndarray) -> None:
        """Add the (B, H, W) result of a cell."""
        if self._counts:
            self._values += counted(found, 256)
            return
        for band in range(len(self._bands)):
            values = found[band]
            values = values[np.isfinite(values) & (values != self._nodata)]
            if values.size:
                ours = [values.size, values.min().item(), values.max().item()]
                self._bands[band] = _together(self._bands[band], ours)

    def summary(self) -> dict[str, Any]:
        """The figures, as JSON values."""
        if not self._counts:
            return {"bands": self._bands}
        counts = {value: int(count) for value, count in enumerate(self._values) if count}
        return {"pixels_per_value": {str(v): n for v, n in counts.items() if v != self._nodata}}


def script_product(plan: ScriptPlan, summaries: Iterable[Mapping[str, Any]]) -> OutputRaster:
    """The output of a finished run, except its pixels."""
    output = plan.output
    if _is_counted(plan):
        counts = class_counts(summaries)
        return OutputRaster.class_map(plan.grid, output.dtype, int(output.nodata), output.classes, counts)
    total: list[list[Any] | None] = []
    for summary in summaries:
        total = total or [None] * len(summary["bands"])
        total = [_together(a, b) for a, b in zip(total, summary["bands"], strict=True)]
    names = tuple(f"Band_{number}" for number in range(1, output.bands + 1))
    return OutputRaster(
        plan.grid,
        output.dtype,
        output.nodata,
        ("class",) if output.classes else names,
        output.classes,
        tuple(None if figures is None else BandStatistics.of_sums(*figures) for figures in total),
        resampling="mode" if output.classes else "average",
    )


def _is_counted(plan: ScriptPlan) -> bool:
    """Whether there are few values, so that the pixels of each can be counted."""
    return bool(plan.output.classes) and plan.output.dtype == "uint8"


def _together(first: list[Any] | None, second: list[Any] | None) -> list[Any] | None:
    if first is None or second is None:
        return first or second
    return [first[0] + second[0], min(first[1], second[1]), max(first[2], second[2])]
