"""Centre lines of what a raster shows, as a connected network."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.calls import for_each_item, refuse_foreign
from rasterloom.pipeline.inference.lines_plan import Body
from rasterloom.pipeline.inference.lines_run import LineWishes, lines_of_raster
from rasterloom.pipeline.inference.work import RunSettings, watched
from rasterloom.pipeline.rasters.context import parse_context
from rasterloom.pipeline.rasters.raster import Raster

CONTEXT = frozenset({"extent", "mask", "parallelProcessingFactor"})
"""Keys of ``context`` that are honoured. Lines are found on the raster's own grid: nothing is resampled."""

_RESULT = "_lines.parquet"
"""What is added to a raster's name for the name of its result."""

_QUANTA = 254
"""A probability of 1 in rasters of small integers, as classify_pixels writes them; 255 is nothing."""


def extract_lines(
    input_raster: Any,
    output_name: str | Path | None = None,
    *,
    threshold: float | None = None,
    class_value: float | tuple[float, ...] | list[float] | None = None,
    band: int | None = None,
    minimum_length: float = 0.0,
    minimum_area: float = 0.0,
    simplify: float | None = None,
    smooth: bool = False,
    context: Mapping[str, Any] | None = None,
    process_all_raster_items: bool = False,
    gis: None = None,
    future: bool = False,
    client: Any = None,
    overwrite: bool = False,
    cell_size: int | None = None,
    max_failed: float = 0.01,
    progress: bool = True,
    **kwargs: Any,
) -> Any:
    """Thin roads, rivers or edges of a raster of any size to centre lines, and write them as one network.

    There is one line between each two nodes, which are the places where lines meet or end; lines that meet
    end in the very same point. The layer is the same, byte for byte, for any ``client``, number of workers
    and ``cell_size``, namely what ``skimage.morphology.thin`` makes of the whole raster at once: cells are
    thinned together, some passes at a time, until nothing changes in any of them. Bodies may be of any
    width; those wider than 64 pixels take more turns. A run that was cut off is taken up again by the same
    call.

    Parameters
    ----------
    input_raster
        A raster of probabilities or of classes, such as :func:`rasterloom.pipeline.classify_pixels` writes:
        a path or URL, a folder or list of them (one mosaic), or a georeferenced DataArray.
    output_name
        Path or URL of the layer; the suffix says the format: .parquet, .geoparquet, .gpkg, .fgb, .geojson,
        .shp. None writes ``NAME_lines.parquet`` beside the input.
    threshold
        Least probability, 0..1, of what lines are made of. Default 0.5. Probabilities are floating point
        numbers, or 0..254 for 0..1 with 255 for nothing.
    class_value
        In place of ``threshold``: the value, or values, of the class in a raster of classes.
    band
        Number of the band, from 1. It can be left out where there is one band only.
    minimum_length
        Lines with a free end that are shorter are taken off, again and again until none is left, but for the
        longer branch of a fork at the end of a line. In the units of ``Length``.
    minimum_area
        Bodies (connected pixels, corners included) smaller than this are left out. In square units of
        ``Length``.
    simplify
        Furthest that a line may lie from the middles of its pixels, in the units of ``Length``; 0 follows
        them exactly. None takes the longer side of a cell. Ends never move.
    smooth
        Average lines along their way first (a bell of two pixels' deviation), so that stairs of pixels go.
    context
        ``extent`` (west, south, east, north in the raster's CRS), ``mask`` (polygons, or a raster that is not
        0): beyond them there is nothing. ``parallelProcessingFactor`` ("80%", or a number of cores).
    process_all_raster_items
        Treat each file of a list or folder as a raster of its own: ``output_name`` is then a folder, and a
        list of paths comes back. Those that an earlier call has finished are not computed again.
    gis
        Must be None; ``client`` says where the work is done.
    future
        Return at once with a :class:`rasterloom.cluster.background.Job`.
    client
        A Dask client, such as :func:`rasterloom.cluster.connect` gives. None works in this process.
    overwrite
        Replace what stands under ``output_name``.
    cell_size
        Side, in pixels, of what one task owns. The result does not depend on it.
    max_failed
        Share of cells (0..1) that may be unreadable; above it the run raises after finishing the others.
    progress
        Show a progress bar.

    Returns
    -------
    str
        Path of the layer, in the raster's CRS: lines with ``OID``, ``Length`` and ``Width`` (mean along the
        line, to half a pixel, and no more than 2048 pixels), ``FromNode`` and ``ToNode`` (row * columns +
        column of a node's first pixel), and, of probabilities, ``MeanProbability`` along the line. Lengths
        are in units of the CRS; where those are degrees, in metres, as in the middle of the raster. What
        thins to a single pixel is no line.

    Raises
    ------
    SettingError, MissingInputError, CrsError, OutputExistsError
        Before anything is computed.
    TooManyFailures, RunInterrupted, OutputError
        During the run; what was computed is kept, and the same call goes on from there.

    References
    ----------
    Guo and Hall (1989), Parallel thinning with two-subiteration algorithms, doi:10.1145/62065.62074.
    """
    refuse_foreign("extract_lines", gis, kwargs)
    given = parse_context(context, allowed=CONTEXT)
    minimum_length = _amount("minimum_length", minimum_length)
    minimum_area = _amount("minimum_area", minimum_area)
    simplify = None if simplify is None else _amount("simplify", simplify)
    settings = RunSettings(
        client=client, overwrite=overwrite, max_failed=max_failed, progress=progress and not future
    )

    def extract(raster: Raster, output: str, settings: RunSettings) -> str:
        wishes = LineWishes(
            body=_body(raster, threshold, class_value, band),
            context=given,
            minimum_length=minimum_length,
            minimum_area=minimum_area,
            simplify=simplify,
            smooth=smooth,
            cell_size=cell_size,
        )
        return lines_of_raster(raster, output, wishes, settings)

    items = (process_all_raster_items, input_raster, output_name, _RESULT)
    if future:
        from rasterloom.cluster.background import Job

        return Job(lambda report: for_each_item(*items, watched(settings, report), extract))
    return for_each_item(*items, settings, extract)


def _amount(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise SettingError(f"{name}={value!r} cannot work: use 0 or a positive number.")
    return number


def _body(raster: Raster, threshold: Any, class_value: Any, band: Any) -> Body:
    """Which pixels lines are made of. Raises SettingError where that cannot be told."""
    number = _band(raster, band)
    if class_value is not None:
        if threshold is not None:
            raise SettingError(
                f"threshold={threshold!r} is about probabilities and class_value={class_value!r} about "
                "classes: give one of them."
            )
        return Body(band=number, values=_values(class_value))
    threshold = 0.5 if threshold is None else _amount("threshold", threshold)
    if not 0 < threshold <= 1:
        raise SettingError(f"threshold={threshold!r} is no probability to reach: use more than 0, at most 1.")
    if np.dtype(raster.dtype).kind == "f":
        return Body(band=number, threshold=threshold)
    if raster.dtype == "uint8" and raster.nodata == _QUANTA + 1 and not raster.indexed:
        return Body(band=number, threshold=threshold, scale=1 / _QUANTA)
    raise SettingError(
        f"{raster.name} holds whole numbers ({raster.dtype}), and nothing says that they are probabilities: "
        "pass class_value= for the class that lines are made of."
    )


def _band(raster: Raster, band: Any) -> int:
    if band is None:
        if raster.band_count == 1:
            return 0
        listed = ", ".join(f"{place} ({name})" for place, name in enumerate(raster.bands, 1))
        raise SettingError(f"{raster.name} has {raster.band_count} bands: pass band=, one of {listed}.")
    if isinstance(band, bool) or not isinstance(band, int | np.integer):
        raise SettingError(f"band={band!r} is no number of a band: use 1 to {raster.band_count}.")
    if not 1 <= band <= raster.band_count:
        raise SettingError(f"{raster.name} has no band {band}: use 1 to {raster.band_count}.")
    return int(band) - 1


def _values(class_value: Any) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in np.atleast_1d(class_value))
    except (TypeError, ValueError):
        values = ()
    if not values or not all(map(math.isfinite, values)):
        raise SettingError(f"class_value={class_value!r} is no class: give a number, or several.")
    return tuple(sorted(set(values)))
