"""Give every pixel of a raster a class, or the probabilities of all classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.calls import for_each_item, refuse_foreign
from rasterloom.pipeline.inference.planner import CONTEXT, Wishes
from rasterloom.pipeline.inference.run import classify_raster
from rasterloom.pipeline.inference.work import RunSettings, watched
from rasterloom.pipeline.rasters.context import parse_context
from rasterloom.pipeline.rasters.raster import Raster

_RESULT = "_classified.tif"
"""What is added to a raster's name for the name of its result."""


def classify_pixels(
    input_raster: Any,
    model: Any,
    model_arguments: Mapping[str, Any] | None = None,
    output_name: str | Path | None = None,
    context: Mapping[str, Any] | None = None,
    process_all_raster_items: bool = False,
    *,
    gis: None = None,
    future: bool = False,
    estimate: bool = False,
    client: Any = None,
    overwrite: bool = False,
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
    """Classify every pixel of a raster of any size, and write the class map as one COG.

    The map is the same, byte for byte, for any ``client``, number of workers and ``cell_size``. A run that
    was cut off is taken up again by the same call.

    Parameters
    ----------
    input_raster
        A path or URL, a folder or list of them (one mosaic), a STAC item or collection of items, a Zarr
        store, or a georeferenced DataArray: see :func:`rasterloom.pipeline.open_raster`.
    model
        Path or URL of a .dlpk or .emd package, the name of an installed model, a
        :class:`rasterloom.pipeline.Model`, a model such as :class:`rasterloom.models.UnetClassifier`, or any
        network wrapped by :func:`rasterloom.models.from_torch`. With ``trust=True`` also a package of
        other software that is run by an inference function of its own, a Python raster function.
    model_arguments
        Values may be text. An inference function takes the parameters that it names itself; a network takes

        - ``tile_size``: what the network sees, in pixels; default: the model's.
        - ``padding``: border of a tile that is dropped or blended, in pixels, less than half of tile_size;
          default a quarter.
        - ``batch_size``: chips in a forward pass; default 4 on CPU, 32 on a GPU.
        - ``predict_background``: whether class 0 may be given; default true.
        - ``test_time_augmentation``: see each chip in its eight flips and rotations and merge the
          probabilities; default false.
        - ``merge_policy``: how they are merged: ``mean`` (default), ``max`` or ``min``.
        - ``threshold``: 0..1. The most probable class other than background is given where its probability
          reaches this, and background elsewhere. Without it the most probable class is given.
        - ``return_probability_raster``: write the probabilities, one band for each class, instead of the
          map; default false.
        - ``thinning``: models with one class only. Thin what is found, up to 64 pixels wide, to lines of one
          pixel; default false.
    output_name
        Path or URL of the COG. None writes ``NAME_classified.tif`` beside the input.
    context
        ``cellSize``, ``outSR``, ``extent`` (west, south, east, north in the raster's CRS), ``snapRaster``
        (a raster whose cell edges the output shares), ``mask`` (polygons, or a raster that is not 0, outside
        of which nothing is written), ``parallelProcessingFactor`` ("80%", or a number of cores),
        ``processorType`` ("CPU" or "GPU").
    process_all_raster_items
        Treat each file of a list or folder as a raster of its own: ``output_name`` is then a folder, and a
        list of paths comes back. Those that an earlier call has finished are not computed again.
    gis
        Must be None; ``client`` says where the work is done.
    future
        Return at once with a :class:`rasterloom.cluster.background.Job`.
    estimate
        Compute nothing but a probe; return an :class:`rasterloom.pipeline.Estimate`.
    client
        A Dask client, such as :func:`rasterloom.cluster.connect` gives. None works in this process.
    overwrite
        Replace what stands under ``output_name``.
    blend
        ``crop`` keeps the centre of each tile's prediction. ``linear`` and ``gaussian`` weigh whole
        predictions over each other, which smooths what is left of the seams. Tiles on the edges of cells are
        then computed for both, so a larger ``cell_size`` takes fewer passes.
    probability_type
        ``uint8``: 0..254 stand for 0..1 (the file says so by its scale), 255 for nothing. ``float32``: as
        they are, NaN for nothing.
    cell_size
        Side, in pixels, of what one task owns. The result does not depend on it.
    max_failed
        Share of cells (0..1) that may fail; above it the run raises after finishing the others.
    retry_failed
        Compute only the cells that failed in an earlier run of the same call, and put its output together
        again with them.
    max_cog_size
        Side in pixels above which the output is a grid of COGs with a VRT over them.
    precision
        ``float32``, ``bfloat16`` or ``float16``. None: float32 on CPU, 16 bits on a GPU.
    compiled
        Run the network through ``torch.compile``: minutes of preparation, then faster on most GPUs.
    output_polygons
        Path or URL of a vector layer that takes the areas of each class as well, as :func:`polygonize`
        makes it of the finished map. That has more to choose from.
    trust
        Whether code in the package may be run: a network that is a program of its author, a model's Python
        file, or an inference function. It can do anything that you can.
    performance_report
        Write Dask's report of the run (HTML) to this path; needs a client.
    progress
        Show a progress bar.

    Returns
    -------
    str
        Path of the COG: one band of class values; 255 (65535 where a class value is above 254) marks pixels
        that hold nothing. Above ``max_cog_size`` the path of a VRT. ``_run/<id>/run.json`` beside it tells
        how the run went.

    Raises
    ------
    SettingError, MissingInputError, CrsError, ModelMismatchError, OutputExistsError
        Before anything is computed.
    TooManyFailures, RunInterrupted, OutputError
        During the run; what was computed is kept, and the same call goes on from there.

    References
    ----------
    "Deep learning arguments", inferencing; ``arcgis.learn.classify_pixels``.
    """
    refuse_foreign("classify_pixels", gis, kwargs)
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
        check_polygons(
            output_polygons, model_arguments, separate=process_all_raster_items, overwrite=overwrite
        )
    if estimate:
        if process_all_raster_items:
            raise SettingError("estimate prices one raster: call it for each item by itself.")
        from rasterloom.pipeline.inference.estimate import estimate_pixels

        return estimate_pixels(input_raster, model, wishes, client=client)

    def classify(raster: Raster, output: str, settings: RunSettings) -> str:
        written = classify_raster(raster, output, model, wishes, settings)
        if output_polygons is not None:
            from rasterloom.pipeline.inference.polygonize import polygonize

            polygonize(
                written, output_polygons, client=client, overwrite=overwrite, progress=settings.progress
            )
        return written

    items = (process_all_raster_items, input_raster, output_name, _RESULT)
    if future:
        from rasterloom.cluster.background import Job

        return Job(lambda report: for_each_item(*items, watched(settings, report), classify))
    return for_each_item(*items, settings, classify)


def check_polygons(
    output: str | Path, model_arguments: Mapping[str, Any] | None, *, separate: bool, overwrite: bool
) -> None:
    """Refuse a layer of polygons that cannot be made, before anything is computed."""
    from rasterloom.pipeline.outputs.features import check_output

    if separate:
        raise SettingError("output_polygons names one layer: call polygonize for the map of each item.")
    shares = (model_arguments or {}).get("return_probability_raster", False)
    if str(shares).lower() not in ("false", "0", "no", "none"):
        raise SettingError(
            "output_polygons needs a class map, and return_probability_raster writes none: leave out one."
        )
    check_output(output, overwrite=overwrite)
