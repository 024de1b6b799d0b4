"""Find what has changed between two rasters of the same ground."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasterloom.pipeline.inference.calls import for_each_item, refuse_foreign
from rasterloom.pipeline.inference.change.planner import Dates
from rasterloom.pipeline.inference.change.run import OUTPUT, change_raster, estimate_change
from rasterloom.pipeline.inference.pixels import check_polygons
from rasterloom.pipeline.inference.planner import CONTEXT, Wishes
from rasterloom.pipeline.inference.work import RunSettings, watched
from rasterloom.pipeline.rasters.context import parse_context
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster

_RESULT = "_change.tif"
"""What is added to the name of the earlier raster for the name of the result."""


def detect_change_using_deep_learning(
    from_raster: Any,
    to_raster: Any,
    model: Any,
    output_classified_raster: str | Path | None = None,
    model_arguments: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    *,
    gis: None = None,
    future: bool = False,
    estimate: bool = False,
    client: Any = None,
    overwrite: bool = False,
    resampling: str = "bilinear",
    blend: str = "crop",
    probability_type: str = "uint8",
    cell_size: int | None = None,
    max_failed: float = 0.01,
    retry_failed: bool = False,
    max_cog_size: int = 65_536,
    precision: str | None = None,
    compiled: bool = False,
    output_polygons: str | Path | None = None,
    trust: bool = False,
    performance_report: str | Path | None = None,
    progress: bool = True,
    **kwargs: Any,
) -> Any:
    """Compare two rasters of any size, and write what has changed as one COG.

    The rasters may differ in grid, coordinate reference system and extent: they are brought onto one grid
    while they are read, and what both cover is compared. The map is the same, byte for byte, for any
    ``client``, number of workers and ``cell_size``. A run that was cut off is taken up again by the same
    call.

    Parameters
    ----------
    from_raster
        The earlier date: a path or URL, a folder or list of them (one mosaic), a STAC item or collection of
        items, a Zarr store, or a georeferenced DataArray. The result lies on its grid, unless ``context``
        asks for another.
    to_raster
        The later date, likewise.
    model
        Path or URL of a .dlpk or .emd package, the name of an installed model, a
        :class:`rasterloom.pipeline.Model`, a model such as :class:`rasterloom.models.ChangeDetector`, or a
        network of two images that was brought by :func:`rasterloom.models.from_torch` for ``task="change"``.
    output_classified_raster
        Path or URL of the COG. None writes ``NAME_change.tif`` beside ``from_raster``.
    model_arguments
        Values may be text.

        - ``tile_size``: what the network sees of each date, in pixels; default: the model's.
        - ``padding``: border of a tile that is dropped or blended, in pixels, less than half of tile_size;
          default a quarter.
        - ``batch_size``: pairs of chips in a forward pass; default 4 on CPU, 32 on a GPU.
        - ``crop_predict``: slide a window of tile_size over the rasters (default true), or send all of them,
          or of the extent, through the network at once, up to 4096 pixels a side.
        - ``test_time_augmentation``: see each pair in its eight flips and rotations and merge the
          probabilities; default false.
        - ``merge_policy``: how they are merged: ``mean`` (default), ``max`` or ``min``.
        - ``threshold``: 0..1. A pixel has changed where the probability of a change reaches this. Without it
          the most probable class is given.
        - ``return_probability_raster``: write the probabilities, one band for each class, instead of the
          map; default false.
    context
        ``cellSize``, ``outSR``, ``extent`` (west, south, east, north in the CRS of the result),
        ``snapRaster``, ``mask``, ``parallelProcessingFactor``, ``processorType``, as in
        :func:`rasterloom.pipeline.classify_pixels`.
    gis
        Must be None; ``client`` says where the work is done.
    future
        Return at once with a :class:`rasterloom.cluster.background.Job`.
    estimate
        Compute nothing but a probe; return an :class:`rasterloom.pipeline.Estimate`.
    client
        A Dask client, such as :func:`rasterloom.cluster.connect` gives. None works in this process.
    overwrite
        Replace what stands under ``output_classified_raster``.
    resampling
        How pixels are brought onto the grid of the result, where they do not lie on it already: ``nearest``,
        ``bilinear``, ``cubic``, ``average``, ... Pixels that only lie a whole number of cells apart are taken
        as they are.
    blend, probability_type, max_failed, retry_failed, max_cog_size, precision, compiled, trust
        As in :func:`rasterloom.pipeline.classify_pixels`.
    cell_size
        Side, in pixels, of what one task owns. The result does not depend on it.
    output_polygons
        Path or URL of a vector layer that takes the changed areas as well, as
        :func:`rasterloom.pipeline.polygonize` makes it of the finished map. That has more to choose from.
    performance_report
        Write Dask's report of the run (HTML) to this path; needs a client.
    progress
        Show a progress bar.

    Returns
    -------
    str
        Path of the COG: one band, 0 where nothing has changed, else the value of the change's class; 255
        (65535 where a class value is above 254) where one of the rasters holds nothing. Above
        ``max_cog_size`` the path of a VRT.

    Raises
    ------
    SettingError
        If the rasters do not overlap, or an argument cannot work. Nothing has been computed then, nor with
        the next ones.
    MissingInputError, CrsError, ModelMismatchError, OutputExistsError
        Before anything is computed.
    TooManyFailures, RunInterrupted, OutputError
        During the run; what was computed is kept, and the same call goes on from there.

    References
    ----------
    "Deep learning arguments", inferencing; ``arcgis.learn.detect_change_using_deep_learning``.
    """
    refuse_foreign("detect_change_using_deep_learning", gis, kwargs)
    wishes = Wishes(
        model_arguments=model_arguments,
        context=parse_context(context, allowed=CONTEXT),
        cell_size=cell_size,
        blend=blend,
        probability_type=probability_type,
        precision=precision,
        compiled=compiled,
        trust=trust,
    )
    settings = RunSettings(
        client=client,
        overwrite=overwrite,
        max_failed=max_failed,
        retry_failed=retry_failed,
        max_cog_size=max_cog_size,
        performance_report=performance_report,
        progress=progress and not future,
    )
    if output_polygons is not None:
        check_polygons(output_polygons, model_arguments, separate=False, overwrite=overwrite)
    if estimate:
        dates = Dates(describe(from_raster), describe(to_raster), resampling)
        return estimate_change(dates, model, wishes, client=client)

    def compare(before: Raster, output: str, settings: RunSettings) -> str:
        dates = Dates(before, describe(to_raster), resampling)
        return change_raster(dates, output, model, wishes, settings, polygons=output_polygons)

    items = (False, from_raster, output_classified_raster, _RESULT)
    if future:
        from rasterloom.cluster.background import Job

        return Job(lambda report: for_each_item(*items, watched(settings, report), compare, argument=OUTPUT))
    return for_each_item(*items, settings, compare, argument=OUTPUT)
