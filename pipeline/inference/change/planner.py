"""Decide everything about a comparison of two rasters without computing any of it."""

from dataclasses import dataclass
from typing import Any

from rasterloom.models.contract import Task
from rasterloom.models.errors import ModelMismatchError
from rasterloom.pipeline.inference.arguments import PixelArguments
from rasterloom.pipeline.inference.change.align import common_part, laid_on
from rasterloom.pipeline.inference.change.arguments import Looks
from rasterloom.pipeline.inference.devices import choose_device
from rasterloom.pipeline.inference.models import StagedModel, bands_for, check_bands
from rasterloom.pipeline.inference.plan import PixelPlan
from rasterloom.pipeline.inference.planner import Wishes, ground, plan_on
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.pairs import paired
from rasterloom.pipeline.rasters.raster import Raster, check_resampling
from rasterloom.pipeline.rasters.tiles import stride_of


@dataclass(frozen=True)
class Dates:
    """Two rasters of the same ground, each on its own grid."""

    before: Raster
    after: Raster
    resampling: str
    """How pixels are brought onto the common grid: a name of ``rasterio.enums.Resampling``."""


def plan_change(dates: Dates, staged: StagedModel, wishes: Wishes, *, client: Any = None) -> PixelPlan:
    """What a run will do: a pixel plan over the bands of both dates.

    Raises
    ------
    SettingError, ModelMismatchError, CrsError, LabelError
        If it cannot be done as wished.
    """
    spec = staged.spec
    if spec.task is not Task.CHANGE:
        raise ModelMismatchError(
            f"{spec.model} is a model for {spec.task}, and this tool compares two dates: give a "
            "ChangeDetector, or a network of two images brought by from_torch(task='change')."
        )
    check_resampling(dates.resampling)
    looks = Looks.of(wishes.model_arguments)
    device = choose_device(wishes.context.get("processorType"), client)
    if looks.in_tiles:
        arguments = looks.tiled(
            spec,
            tile_multiple=staged.tile_multiple,
            device=device,
            blend=wishes.blend,
            probability_type=wishes.probability_type,
        )
        before, after, extent = _aligned(dates, wishes, stride_of(arguments.tile_size, arguments.padding))
    else:
        before, after, extent, arguments = _whole(dates, looks, staged, wishes, device)
    bands = bands_for(spec, before)
    check_bands(spec, after)
    both = (*bands, *(before.band_count + band for band in bands))
    return plan_on(
        paired(before, after), extent, both, arguments, staged, wishes, device=device, client=client
    )


def _aligned(dates: Dates, wishes: Wishes, stride: int) -> tuple[Raster, Raster, Window]:
    """Both rasters on the grid that is worked on, and the part of it that both cover."""
    placed, extent = ground(dates.before, wishes.context, stride)
    before = laid_on(dates.before, placed.grid, dates.resampling)
    after = laid_on(dates.after, placed.grid, dates.resampling)
    return before, after, common_part(before, after, extent)


def _whole(
    dates: Dates, looks: Looks, staged: StagedModel, wishes: Wishes, device: str
) -> tuple[Raster, Raster, Window, PixelArguments]:
    """The same on a grid of that part alone, so that one tile holds it, and how that is looked at."""
    before, _, extent = _aligned(dates, wishes, 1)
    grid = before.grid.cropped(extent)
    arguments = looks.whole(
        grid.shape,
        staged.spec,
        tile_multiple=staged.tile_multiple,
        device=device,
        probability_type=wishes.probability_type,
    )
    first, second = (laid_on(each, grid, dates.resampling) for each in (dates.before, dates.after))
    return first, second, Window(0, 0, *grid.shape), arguments
