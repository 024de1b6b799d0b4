"""What a pixel plan writes: a class map, or a raster of probabilities."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from rasterloom.models.contract import ModelSpec
from rasterloom.pipeline.inference.plan import PixelPlan
from rasterloom.pipeline.inference.tally import band_figures, class_counts
from rasterloom.pipeline.outputs.raster import BandStatistics, OutputRaster


def product_of(plan: PixelPlan, spec: ModelSpec, summaries: Iterable[Mapping[str, Any]]) -> OutputRaster:
    """The output of a finished run, except its pixels.

    Parameters
    ----------
    plan
        The run.
    spec
        Its model, for names and colours.
    summaries
        What the batches reported.
    """
    kind = plan.arguments.probability
    if kind is None:
        counts = class_counts(summaries)
        return OutputRaster.class_map(plan.grid, plan.dtype, int(plan.nodata), spec.classes, counts)
    statistics = tuple(
        None if figures is None else BandStatistics.of_sums(*figures) for figures in band_figures(summaries)
    )
    dtype = cast(Literal["uint8", "float32"], kind)
    return OutputRaster.probabilities(plan.grid, dtype, spec.output_classes, statistics)
