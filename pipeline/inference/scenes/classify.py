"""Give objects a label by what a raster shows around them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rasterloom.cluster.places import Place
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.calls import for_each_item, output_path, refuse_foreign
from rasterloom.pipeline.inference.scenes.planner import CONTEXT, SceneWishes
from rasterloom.pipeline.inference.scenes.product import label_field
from rasterloom.pipeline.inference.scenes.run import classify_in_raster
from rasterloom.pipeline.inference.scenes.whole import classify_rasters
from rasterloom.pipeline.inference.work import RunSettings, watched
from rasterloom.pipeline.outputs.read_features import FeatureSource
from rasterloom.pipeline.rasters.context import parse_context
from rasterloom.pipeline.rasters.raster import Raster

_RESULT = "_classified.parquet"
"""What is added to a raster's name for the name of its result."""


def classify_objects(
    input_raster: Any,
    model: Any,
    model_arguments: Mapping[str, Any] | None = None,
    input_features: Any = None,
    class_label_field: str | None = None,
    process_all_raster_items: bool = False,
    output_name: str | Path | None = None,
    context: Mapping[str, Any] | None = None,
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
    """Give each object of a layer, or each whole raster, a label, and write them as one layer.

    A chip is cut around the middle of each object, as it was cut for training, and the model says what it
    shows. Neighbouring objects are computed together, so that each block of the raster is read about once;
    memory does not grow with the layer. The result is the same, byte for byte, for any ``client`` and number
    of workers. A run that was cut off is taken up again by the same call.

    Parameters
    ----------
    input_raster
        A path or URL, a folder or list of them (one mosaic), a STAC item or collection of items, a Zarr
        store, or a georeferenced DataArray: see :func:`rasterloom.pipeline.open_raster`.
    model
        Path or URL of a .dlpk or .emd package, the name of an installed model, a
        :class:`rasterloom.pipeline.Model`, a :class:`rasterloom.models.FeatureClassifier`, or any network
        wrapped by ``from_torch(module, task="scenes")``.
    model_arguments
        Values may be text.

        - ``batch_size``: chips in a forward pass; default 4 on CPU, 32 on a GPU.
        - ``score_threshold``: objects whose most probable class is less certain get no label, 0..1; default
          0. Of a model that gives several labels: least certainty of each of them; default 0.5.
        - ``test_time_augmentation``: see each chip in its eight flips and rotations; default false.
        - ``merge_policy``: how their probabilities are merged: ``mean`` (default), ``max`` or ``min``.
        - ``tile_size``: side of what the network sees, in pixels; default: the model's.
        - ``fix_chip_size``: true takes so many pixels around the middle of each object; false what its
          bounding box fills of them, enlarged to that side. Default: as the model was trained.
        - ``blacken_around_feature``: set pixels outside the object to 0. Default: as the model was trained.
    input_features
        Points, lines or polygons: the path or URL of a vector layer, or a GeoDataFrame, in any CRS. None
        makes each file of a folder or list one object, also photographs without a place on the ground.
    class_label_field
        Field that takes the labels, in place of one of that name. None takes ``ClassLabel``.
    process_all_raster_items
        With features: classify them on each file of a list or folder by itself; ``output_name`` is then a
        folder, and a list of paths comes back. Without features it makes no difference.
    output_name
        Path or URL of the layer; the suffix says the format: .parquet, .geoparquet, .gpkg, .fgb, .geojson,
        .shp. None writes ``NAME_classified.parquet`` beside the input.
    context
        ``cellSize``, ``outSR`` (of the pixels; objects keep their CRS), ``extent`` (west, south, east, north
        in the raster's CRS) and ``mask`` (polygons, or a raster that is not 0): objects with their middle
        outside get no label; ``parallelProcessingFactor`` ("80%", or a number of cores), ``processorType``
        ("CPU" or "GPU").
    gis
        Must be None; ``client`` says where the work is done.
    future
        Return at once with a :class:`rasterloom.cluster.background.Job`.
    estimate
        Compute nothing but a probe; return an :class:`rasterloom.pipeline.Estimate`. With features only.
    client
        A Dask client, such as :func:`rasterloom.cluster.connect` gives. None works in this process.
    overwrite
        Replace what stands under ``output_name``.
    cell_size
        Side, in pixels, of the ground whose objects one task owns. None takes 4096, and more for large chips.
    max_failed
        Share of the groups of neighbouring objects (0..1) that may fail; above it the run raises after
        finishing the others.
    retry_failed
        Compute only what failed in an earlier run of the same call, and write its output again with it.
    precision
        ``float32``, ``bfloat16`` or ``float16``. None: float32 on CPU, 16 bits on a GPU.
    trust
        Whether code in the package may be run. It can do anything that you can.
    performance_report
        Write Dask's report of the run (HTML) to this path; needs a client.
    progress
        Show a progress bar.

    Returns
    -------
    str
        Path of the layer: all objects as they were given, in their CRS, with all their fields, then
        ``ClassLabel`` (the name of the class; several of them with commas between) and ``Confidence``
        (0..100) of the most probable class. Both are empty for objects that the raster does not show.
        Without ``input_features``: the ground of each raster, and its name in ``Raster``.

    Raises
    ------
    SettingError, MissingInputError, CrsError, LabelError, ModelMismatchError, OutputExistsError
        Before anything is computed.
    TooManyFailures, RunInterrupted, OutputError
        During the run; what was computed is kept, and the same call goes on from there.

    References
    ----------
    "Deep learning arguments", inferencing; ``arcgis.learn.classify_objects``.
    """
    refuse_foreign("classify_objects", gis, kwargs)
    label = label_field(class_label_field)
    wishes = SceneWishes(
        model_arguments=model_arguments,
        context=parse_context(context, allowed=CONTEXT),
        cell_size=cell_size,
        precision=precision,
        trust=trust,
    )
    settings = RunSettings(
        client=client,
        overwrite=overwrite,
        max_failed=max_failed,
        retry_failed=retry_failed,
        performance_report=performance_report,
        progress=progress and not future,
    )
    if estimate:
        return _estimate(input_raster, input_features, model, wishes, client, each=process_all_raster_items)

    def work(settings: RunSettings) -> Any:
        if input_features is None:
            output = output_path(input_raster, output_name, _RESULT)
            return classify_rasters(input_raster, output, label, model, wishes, settings)
        source = FeatureSource.of(input_features)

        def classify(raster: Raster, output: str, settings: RunSettings) -> str:
            _check_apart(output, input_features)
            return classify_in_raster(raster, output, source, label, model, wishes, settings)

        return for_each_item(process_all_raster_items, input_raster, output_name, _RESULT, settings, classify)

    if future:
        from rasterloom.cluster.background import Job

        return Job(lambda report: work(watched(settings, report)))
    return work(settings)


def _estimate(
    input_raster: Any, features: Any, model: Any, wishes: SceneWishes, client: Any, *, each: bool
) -> Any:
    if features is None:
        raise SettingError("estimate counts the chips of features: give input_features.")
    if each:
        raise SettingError("estimate prices one raster: call it for each item by itself.")
    from rasterloom.pipeline.inference.scenes.estimate import estimate_scenes

    return estimate_scenes(input_raster, features, model, wishes, client=client)


def _check_apart(output: str, features: Any) -> None:
    """Refuse to write over the layer that is read. Raises SettingError."""
    if isinstance(features, str | Path) and _resolved(output) == _resolved(features):
        raise SettingError(f"{output} is read by this call: choose another output_name.")


def _resolved(name: str | Path) -> str:
    place = Place.of(name)
    return str(place.path.resolve()) if place.is_local else place.url
