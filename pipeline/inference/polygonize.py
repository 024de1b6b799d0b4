"""Turn a class raster into polygons."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.cluster.driver import execute
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.cluster.progress import progress_bar
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.calls import for_each_item
from rasterloom.pipeline.inference.devices import batches_at_once
from rasterloom.pipeline.inference.names import check_no_input
from rasterloom.pipeline.inference.polygonize_classes import certainty_of, class_names, nothing_values
from rasterloom.pipeline.inference.polygonize_plan import Outlines, PolygonPlan, PolygonRules, settle_nodes
from rasterloom.pipeline.inference.wanted import read_mask
from rasterloom.pipeline.inference.work import RunSettings
from rasterloom.pipeline.outputs.features import FeatureBlock, check_output, write_features
from rasterloom.pipeline.rasters.context import extent_window, parse_context
from rasterloom.pipeline.rasters.pinned import pinned
from rasterloom.pipeline.rasters.raster import Raster

CONTEXT = frozenset({"extent", "mask", "parallelProcessingFactor"})
"""Keys of ``context`` that polygonising honours."""

CLASS_VALUE, CLASS, AREA, PROBABILITY = "ClassValue", "Class", "Area", "MeanProbability"

CELL = 1024
"""Side of a cell, in pixels, where the caller does not say."""

_REGULAR = 1.5
"""Tolerance of right-angled outlines, in pixels, where the caller gives none."""

_RESULT = "_polygons.parquet"
"""What is added to a raster's name for the name of its result."""


def polygonize(
    input_raster: Any,
    output_name: str | Path | None = None,
    *,
    classes: Sequence[int] | None = None,
    minimum_area: float = 0.0,
    simplify: float = 0.0,
    regularize: bool = False,
    connectivity: int = 4,
    probability: Any = None,
    context: Mapping[str, Any] | None = None,
    client: Any = None,
    overwrite: bool = False,
    cell_size: int | None = None,
    progress: bool = True,
) -> str:
    """Write the areas of one class each in a class raster of any size as polygons.

    The layer is the same, byte for byte, for any ``client``, number of workers and ``cell_size``: what is cut
    by cells is put together again exactly. Memory goes with what crosses the borders of cells, and with the
    largest polygon. A run that was cut off is taken up again by the same call.

    Parameters
    ----------
    input_raster
        A path or URL, a folder or list of them (one mosaic), a STAC item, a Zarr store, or a georeferenced
        DataArray, of whole numbers. Its first band is read.
    output_name
        Path or URL of the layer; the suffix says the format: .parquet, .geoparquet, .gpkg, .fgb, .geojson,
        .shp. None writes ``NAME_polygons.parquet`` beside the input.
    classes
        Class values to keep. None keeps all but nodata, and but 0 where the raster names its classes and 0 is
        none of them, or is called background.
    minimum_area
        Polygons of less area in the raster are left out. In square units of the CRS, 0 or more.
    simplify
        Corners are left out of borders as long as these stay within this distance of themselves, in units of
        the CRS; 0 keeps the edges of pixels. A border that two polygons share stays one border: no gap and
        no overlap comes up, and no polygon goes.
    regularize
        Give each polygon the right-angled outline that is most like it, as buildings have. ``simplify`` is
        then the longest side that may go (0: one and a half pixels), and polygons may overlap a little.
    connectivity
        4: pixels belong together by their sides. 8: by their corners, too; a feature may then consist of
        several polygons that touch.
    probability
        Raster of the probabilities of the classes on the same ground, such as ``classify_pixels`` writes with
        ``return_probability_raster``: a band for each class, of its name; or one band that holds the
        probability of whatever class the pixel has. Adds ``MeanProbability``.
    context
        ``extent`` (west, south, east, north in the raster's CRS), ``mask`` (polygons, or a raster that is not
        0, outside of which there is nothing), ``parallelProcessingFactor`` ("80%", or a number of cores).
    client
        A Dask client, such as :func:`rasterloom.cluster.connect` gives. None works in this process.
    overwrite
        Replace what stands under ``output_name``.
    cell_size
        Side, in pixels, of what one task reads. The result does not depend on it.
    progress
        Show a progress bar.

    Returns
    -------
    str
        Path of the layer: ``OID``, ``ClassValue``, ``Class`` (its name), ``Area`` (in square units of the
        CRS) and, with ``probability``, ``MeanProbability`` (0..1).

    Raises
    ------
    SettingError, MissingInputError, CrsError, OutputExistsError
        Before anything is computed.
    TooManyFailures
        If pixels cannot be read.
    RunInterrupted, OutputError
        During the run; what was computed is kept, and the same call goes on from there.
    """
    given = parse_context(context, allowed=CONTEXT)
    cores = given.get("parallelProcessingFactor")

    def outline(source: Raster, output: str, settings: RunSettings) -> str:
        check_no_input(output, source, probability, given)
        check_output(output, overwrite=overwrite)
        raster, names = _on_extent(source, given), class_names(source)
        plan = PolygonPlan(
            raster=raster,
            side=_side(cell_size),
            rules=_rules(raster, names, classes, minimum_area, simplify, regularize, connectivity),
            certainty=None if probability is None else certainty_of(probability, raster, names, classes),
            mask=None if given.get("mask") is None else read_mask(given["mask"], raster.grid),
        )
        return _carried_out(plan, names, output, cores, settings)

    settings = RunSettings(client=client, overwrite=overwrite, progress=progress)
    written = for_each_item(False, input_raster, output_name, _RESULT, settings, outline)
    assert isinstance(written, str), "one raster has one layer"
    return written


def _on_extent(raster: Raster, context: Mapping[str, Any]) -> Raster:
    """The part of the raster that is wanted, its first band only."""
    if np.dtype(raster.dtype).kind not in "iub":
        raise SettingError(
            f"{raster.name} holds {raster.dtype}, and classes are whole numbers: give a class raster."
        )
    return raster.on_grid(raster.grid.cropped(extent_window(raster, context)), resampling="nearest")


def _side(cell_size: int | None) -> int:
    side = CELL if cell_size is None else cell_size
    if side < 1:
        raise SettingError(f"cell_size={cell_size} leaves no pixels: use 1 or more, such as {CELL}.")
    return side


def _rules(
    raster: Raster,
    names: Mapping[int, str],
    classes: Sequence[int] | None,
    minimum_area: float,
    simplify: float,
    regularize: bool,
    connectivity: int,
) -> PolygonRules:
    for name, value in {"minimum_area": minimum_area, "simplify": simplify}.items():
        if not (math.isfinite(value) and value >= 0):
            raise SettingError(f"{name}={value} cannot work: give a number of 0 or more.")
    if connectivity not in (4, 8):
        raise SettingError(f"connectivity={connectivity} is not known: use 4 (sides) or 8 (corners, too).")
    if classes is not None and not len(classes):
        raise SettingError("classes is empty, and nothing would be left: name values, or leave it out.")
    return PolygonRules(
        values=None if classes is None else tuple(sorted({int(value) for value in classes})),
        without=nothing_values(names),
        connectivity=connectivity,
        minimum_area=float(minimum_area),
        tolerance=0.0 if regularize else float(simplify),
        regular=(float(simplify) or _REGULAR * max(raster.grid.cell_size)) if regularize else 0.0,
    )


def _carried_out(
    plan: PolygonPlan, names: Mapping[int, str], output: str, cores: Any, settings: RunSettings
) -> str:
    """Compute all levels, and write the layer."""
    folder = RunFolder(Place.of(output).parent / "_run" / plan.run_id[:16])
    plan = _at_home(plan, folder)
    assert plan.work is not None, "it has just been given"
    threads = batches_at_once(cores, settings.client, plan.batch_count)
    title = f"polygonise for {Place.of(output).name}"
    with progress_bar(title, show=settings.progress) as bar:
        for level in range(-1, plan.tree.levels):
            execute(
                settings.client,
                replace(plan, level=level),
                settle_nodes,
                RunFolder(folder.place / f"level_{level + 1}"),
                max_failed=0.0,
                threads=threads,
                on_progress=bar if level < 0 else None,
                title=title,
            )
    write_features(
        output,
        _features(plan, names),
        fields=_fields(plan),
        crs=plan.raster.grid.crs,
        bounds=plan.raster.grid.bounds,
        overwrite=True,  # what may not be replaced was refused at the start
    )
    folder.place.remove_all()
    return output


def _at_home(plan: PolygonPlan, folder: RunFolder) -> PolygonPlan:
    """The plan with everything it needs in the run's folder, which all workers can reach."""
    sure = plan.certainty
    return replace(
        plan,
        raster=pinned(plan.raster, folder.inputs),
        certainty=sure and replace(sure, raster=pinned(sure.raster, folder.inputs)),
        mask=plan.mask and plan.mask.at_home(folder.inputs),
        work=folder.tiles,
    )


def _fields(plan: PolygonPlan) -> dict[str, str]:
    fields = {CLASS_VALUE: "int64", CLASS: "text", AREA: "float64"}
    return fields if plan.certainty is None else {**fields, PROBABILITY: "float64"}


def _features(plan: PolygonPlan, names: Mapping[int, str]) -> Iterator[FeatureBlock]:
    assert plan.work is not None, "the plan was given its folder before it ran"
    parts = plan.work / "parts"
    for name in sorted(parts.names()):
        found = Outlines.from_bytes(parts.read(name))
        columns = {
            CLASS_VALUE: found.values,
            CLASS: np.array([names.get(value, str(value)) for value in found.values.tolist()], object),
            AREA: found.areas,
        }
        if plan.certainty is not None:
            columns[PROBABILITY] = found.probability
        yield FeatureBlock(found.geometry, columns)
