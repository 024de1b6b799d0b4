"""Find the things in a raster with a detector."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.calls import for_each_item, refuse_foreign
from rasterloom.pipeline.inference.objects.planner import ObjectWishes
from rasterloom.pipeline.inference.objects.product import CLASS_VALUE, CONFIDENCE
from rasterloom.pipeline.inference.objects.run import Suppression, find_in_raster
from rasterloom.pipeline.inference.planner import CONTEXT
from rasterloom.pipeline.inference.work import RunSettings, watched
from rasterloom.pipeline.rasters.context import parse_context
from rasterloom.pipeline.rasters.raster import Raster

_RESULT = "_objects.parquet"
"""What is added to a raster's name for the name of its result."""


def detect_objects(
    input_raster: Any,
    model: Any,
    model_arguments: Mapping[str, Any] | None = None,
    output_name: str | Path | None = None,
    run_nms: bool = False,
    confidence_score_field: str | None = None,
    class_value_field: str | None = None,
    max_overlap_ratio: float = 0,
    context: Mapping[str, Any] | None = None,
    process_all_raster_items: bool = False,
    *,
    gis: None = None,
    future: bool = False,
    estimate: bool = False,
    client: Any = None,
    overwrite: bool = False,
    cell_size: int | None = None,
    max_failed: float = 0.01,
    retry_failed: bool = False,
    precision: str | None = None,
    trust: bool = False,
    performance_report: str | Path | None = None,
    progress: bool = True,
    **kwargs: Any,
) -> Any:
    """Find the things in a raster of any size, and write their outlines as one layer.

    Tiles overlap by twice the padding. What is no longer than that is found whole by one of them, and written
    once. What is longer is joined from its pieces. The layer is the same, byte for byte, for any ``client``,
    number of workers and ``cell_size``. A run that was cut off is taken up again by the same call.

    Parameters
    ----------
    input_raster
        A path or URL, a folder or list of them (one mosaic), a STAC item or collection of items, a Zarr
        store, or a georeferenced DataArray: see :func:`rasterloom.pipeline.open_raster`.
    model
        Path or URL of a .dlpk or .emd package, the name of an installed model, a
        :class:`rasterloom.pipeline.Model`, a detector such as :class:`rasterloom.models.FasterRCNN`, or any
        network wrapped by ``from_torch(module, task="objects")``. With ``trust=True`` also a package of other
        software that is run by an inference function of its own.
    model_arguments
        Values may be text. An inference function takes the parameters that it names itself; a network takes

        - ``tile_size``: what the network sees, in pixels; default: the model's.
        - ``padding``: border of a tile that its neighbours own, in pixels, less than half of tile_size; at
          least half of the longest thing's side, so that some tile sees it whole. Default a quarter.
        - ``batch_size``: chips in a forward pass; default 4 on CPU, 32 on a GPU.
        - ``threshold``: least score, 0..1; default 0.5.
        - ``nms_overlap``: of two things of a class that overlap by more than this (intersection over union,
          0..1), the less certain one is dropped; default 0.1.
        - ``exclude_pad_detections``: drop what only a tile has seen that does not own its centre: the tile
          that does saw it better, and found nothing. Default true.
        - ``test_time_augmentation``: see each chip in its eight flips and rotations; default false.
        - ``merge_policy``: what becomes of what they show. ``mean`` (default) keeps what at least half of
          them show, with mean box and score; ``max`` what any shows, as the most certain shows it; ``min``
          what all show, with the least score.
    output_name
        Path or URL of the layer; the suffix says the format: .parquet, .geoparquet, .gpkg, .fgb, .geojson,
        .shp. None writes ``NAME_objects.parquet`` beside the input.
    run_nms
        Run :func:`non_maximum_suppression` over the result: also things of which nobody knows whether they
        are the same overlap no more than ``max_overlap_ratio`` then.
    confidence_score_field
        With ``run_nms``: the field that says which of two things is kept. None takes ``Confidence``.
    class_value_field
        With ``run_nms``: only things that agree in this field are held against each other. None takes
        ``ClassValue``.
    max_overlap_ratio
        With ``run_nms``: most that two things may overlap, as intersection over union, 0..1.
    context
        ``cellSize``, ``outSR``, ``extent`` (west, south, east, north in the raster's CRS), ``snapRaster``
        (a raster whose cell edges the tiles follow), ``mask`` (polygons, or a raster that is not 0: things
        with their centre outside are left out), ``parallelProcessingFactor`` ("80%", or a number of cores),
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
    cell_size
        Side, in pixels, of what one task owns. The result does not depend on it.
    max_failed
        Share of cells (0..1) that may fail; above it the run raises after finishing the others.
    retry_failed
        Compute only the cells that failed in an earlier run of the same call, and write its output again
        with them.
    precision
        ``float32``, ``bfloat16`` or ``float16``. None: float32, because boxes need the digits.
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
        Path of the layer, in the CRS that the raster is read in: polygons with ``OID``, ``Class`` (its name),
        ``ClassValue``, ``Confidence`` (0..100) and ``Cut`` (whether the thing goes on where nothing could see
        it). Without anything found it is empty, with the same fields.

    Raises
    ------
    SettingError, MissingInputError, CrsError, ModelMismatchError, OutputExistsError
        Before anything is computed.
    TooManyFailures, RunInterrupted, OutputError
        During the run; what was computed is kept, and the same call goes on from there.

    References
    ----------
    "Deep learning arguments", inferencing; ``arcgis.learn.detect_objects``.
    """
    refuse_foreign("detect_objects", gis, kwargs)
    wishes = ObjectWishes(
        model_arguments=model_arguments,
        context=parse_context(context, allowed=CONTEXT),
        cell_size=cell_size,
        precision=precision,
        trust=trust,
    )
    suppression = _suppression(run_nms, confidence_score_field, class_value_field, max_overlap_ratio)
    settings = RunSettings(
        client=client,
        overwrite=overwrite,
        max_failed=max_failed,
        retry_failed=retry_failed,
        performance_report=performance_report,
        progress=progress and not future,
    )
    if estimate:
        if process_all_raster_items:
            raise SettingError("estimate prices one raster: call it for each item by itself.")
        from rasterloom.pipeline.inference.objects.estimate import estimate_objects

        return estimate_objects(input_raster, model, wishes, client=client)

    def find(raster: Raster, output: str, settings: RunSettings) -> str:
        return find_in_raster(raster, output, model, wishes, settings, suppression)

    items = (process_all_raster_items, input_raster, output_name, _RESULT)
    if future:
        from rasterloom.cluster.background import Job

        return Job(lambda report: for_each_item(*items, watched(settings, report), find))
    return for_each_item(*items, settings, find)


def _suppression(
    wanted: bool, score_field: str | None, class_field: str | None, most_overlap: float
) -> Suppression | None:
    if wanted:
        return Suppression(
            score_field=score_field or CONFIDENCE,
            class_field=class_field or CLASS_VALUE,
            most_overlap=most_overlap,
        )
    given = {"confidence_score_field": score_field, "class_value_field": class_field}
    idle = [name for name, value in {**given, "max_overlap_ratio": most_overlap or None}.items() if value]
    if idle:
        raise SettingError(f"{idle[0]} is about run_nms, which is false: pass run_nms=True, or leave it out.")
    return None
