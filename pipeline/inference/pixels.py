"""Give every pixel of a raster a class."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rasterloom.cluster.driver import execute
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.progress import progress_bar
from rasterloom.models.contract import ModelSpec, Task
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.pipeline.inference.arguments import PixelArguments, pixel_arguments
from rasterloom.pipeline.inference.batch import run_batch
from rasterloom.pipeline.inference.cells import cell_id, cut_cells
from rasterloom.pipeline.inference.devices import choose_device
from rasterloom.pipeline.inference.models import StagedModel, bands_for, staged_model
from rasterloom.pipeline.inference.plan import PixelPlan
from rasterloom.pipeline.outputs.cog import ClassMap, assemble_class_map, check_free
from rasterloom.pipeline.rasters.context import extent_window, parse_context, target_grid
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.mosaics import pinned
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster

CONTEXT = frozenset({"cellSize", "extent", "outSR", "processorType"})
"""Keys of ``context`` that pixel classification honours."""

_INPUTS = "inputs"
"""Folder of a run that holds what its tasks read besides the raster."""


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
    cell_size: int | None = None,
    max_failed: float = 0.01,
    progress: bool = True,
    **kwargs: Any,
) -> Any:
    """Classify every pixel of a raster of any size, and write the class map as one COG.

    The map is the same, byte for byte, for any ``client``, number of workers and ``cell_size``. A run that
    was cut off is taken up again by the same call.

    Parameters
    ----------
    input_raster
        A path, a folder or list of paths (one mosaic), or a georeferenced DataArray.
    model
        Path of a .dlpk or .emd package, or a model such as :class:`rasterloom.models.UnetClassifier`.
    model_arguments
        ``tile_size`` (pixels; default: the model's), ``padding`` (pixels, less than half of tile_size;
        default a quarter), ``batch_size`` (chips), ``predict_background`` (default true). Values may be text.
    output_name
        Path of the COG. None writes ``NAME_classified.tif`` beside the input.
    context
        ``cellSize``, ``outSR``, ``extent`` (west, south, east, north in the raster's CRS),
        ``processorType`` ("CPU" or "GPU").
    process_all_raster_items
        Treat each file of a list or folder as a raster of its own: ``output_name`` is then a folder, and a
        list of paths comes back.
    gis
        Must be None; ``client`` says where the work is done.
    future
        Return at once with a :class:`rasterloom.cluster.background.Job`.
    estimate
        Compute nothing but a probe; return an :class:`rasterloom.pipeline.inference.estimate.Estimate`.
    client
        A Dask client, such as :func:`rasterloom.cluster.connect` gives. None works in this process.
    overwrite
        Replace what stands under ``output_name``.
    cell_size
        Side, in pixels, of what one task owns. The result does not depend on it.
    max_failed
        Share of cells (0..1) that may fail; above it the run raises after finishing the others.
    progress
        Show a progress bar.

    Returns
    -------
    str
        Path of the COG: one band of class values; 255 (65535 where a class value is above 254) marks pixels
        that hold nothing. ``_run/<id>/run.json`` beside it tells how the run went.

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
    _refuse_foreign(gis, kwargs)
    settings = {"client": client, "overwrite": overwrite, "cell_size": cell_size, "max_failed": max_failed}
    common = (model, model_arguments, parse_context(context, allowed=CONTEXT))
    if estimate:
        from rasterloom.pipeline.inference.estimate import estimate_pixels

        return estimate_pixels(input_raster, *common, client=client, cell_size=cell_size)
    if future:
        from rasterloom.cluster.background import Job

        return Job(
            lambda report: _classify_items(
                process_all_raster_items, input_raster, output_name, *common, on_progress=report, **settings
            )
        )
    return _classify_items(
        process_all_raster_items, input_raster, output_name, *common, progress=progress, **settings
    )


def _refuse_foreign(gis: object, kwargs: Mapping[str, Any]) -> None:
    if gis is not None:
        raise SettingError("gis must be None: there is no portal here; pass client= to say where to work.")
    unknown = sorted(
        set(kwargs) - {"tiles_only"}
    )  # the reference's switch for its own hosting: no meaning here
    if unknown:
        raise SettingError(f"classify_pixels has no argument {unknown[0]!r}.")


def _classify_items(separate: bool, source: Any, output: Any, *common: Any, **settings: Any) -> Any:
    if not separate or isinstance(source, Raster) or hasattr(source, "dims"):
        raster = describe(source)
        return classify_raster(raster, _output_path(source, output), *common, **settings)
    paths = sorted(Path(source).iterdir()) if isinstance(source, str | Path) else [Path(p) for p in source]
    rasters = [describe(path) for path in paths]
    folder = Path(output) if output is not None else paths[0].parent
    return [
        classify_raster(raster, folder / f"{path.stem}_classified.tif", *common, **settings)
        for path, raster in zip(paths, rasters, strict=True)
    ]


def _output_path(source: Any, output: Any) -> Path:
    if output is not None:
        return Path(output)
    if isinstance(source, str | Path):
        path = Path(source)
        return path.with_name(f"{path.name if path.is_dir() else path.stem}_classified.tif")
    raise SettingError("output_name is missing: an array or a list has no name to derive one from.")


def classify_raster(
    raster: Raster,
    output: Path,
    model: Any,
    model_arguments: Mapping[str, Any] | None,
    context: Mapping[str, Any],
    *,
    client: Any,
    overwrite: bool,
    cell_size: int | None,
    max_failed: float,
    progress: bool = False,
    on_progress: Any = None,
) -> str:
    """Plan, run and assemble one raster's class map; settings as in :func:`classify_pixels`."""
    check_free(output, overwrite=overwrite)
    with ExitStack() as stack:
        staged = stack.enter_context(staged_model(model))
        plan = plan_pixels(raster, staged, model_arguments, context, client=client, cell_size=cell_size)
        folder = RunFolder(output.parent / "_run" / plan.id[:16])
        plan = _at_home(plan, staged, folder)
        if on_progress is None:
            on_progress = stack.enter_context(progress_bar(f"classify {output.name}", show=progress))
        execute(
            client,
            plan,
            run_batch,
            folder,
            max_failed=max_failed,
            on_progress=on_progress,
            title=f"classify {output.name}",
        )
    _assemble(plan, staged.spec, folder, output, client)
    return str(output)


def plan_pixels(
    raster: Raster,
    staged: StagedModel,
    model_arguments: Mapping[str, Any] | None,
    context: Mapping[str, Any],
    *,
    client: Any = None,
    cell_size: int | None = None,
) -> PixelPlan:
    """Decide everything about a run without computing any of it."""
    spec = staged.spec
    if spec.task is not Task.PIXELS:
        raise ModelMismatchError(f"{spec.model} is a model for {spec.task}, and this tool classifies pixels.")
    device = choose_device(context.get("processorType"), client)
    arguments = pixel_arguments(model_arguments, spec, tile_multiple=staged.tile_multiple, device=device)
    raster = target_grid(raster, context)
    bands = bands_for(spec, raster)
    window = extent_window(raster, context)
    cells = cut_cells(
        raster.grid.shape, window, tile=arguments.tile_size, padding=arguments.padding, cell_size=cell_size
    )
    return _plan(raster, cells, staged, bands, arguments, device)


def _plan(
    raster: Raster,
    cells: Any,
    staged: StagedModel,
    bands: tuple[int, ...],
    arguments: PixelArguments,
    device: str,
) -> PixelPlan:
    values = staged.spec.output_values
    wide = max(values) > 254
    return PixelPlan(
        raster=raster,
        cells=cells,
        package=str(staged.path),
        digest=staged.digest,
        bands=bands,
        values=values,
        batch_size=arguments.batch_size,
        predict_background=arguments.predict_background,
        dtype="uint16" if wide else "uint8",
        nodata=65535 if wide else 255,
        tiles="",
        device=device,
    )


def _at_home(plan: PixelPlan, staged: StagedModel, folder: RunFolder) -> PixelPlan:
    """The plan with everything it needs in the run's folder, which all workers can reach."""
    folder.tiles.mkdir(parents=True, exist_ok=True)
    return replace(
        plan,
        raster=pinned(plan.raster, folder.path / _INPUTS),
        package=str(staged.place(folder.path / _INPUTS).resolve()),
        tiles=str(folder.tiles.resolve()),
    )


def _assemble(plan: PixelPlan, spec: ModelSpec, folder: RunFolder, output: Path, client: Any) -> None:
    counts: Counter[int] = Counter()
    for result in folder.results():
        counts.update({int(value): n for value, n in result.summary["pixels_per_value"].items()})
    what = ClassMap(
        plan.raster.grid.cropped(plan.cells.extent), plan.dtype, plan.nodata, spec.classes, dict(counts)
    )
    tiles = list(_tiles(plan))
    final = str(output.resolve())
    if client is None:
        assemble_class_map(tiles, what, final)
    else:
        client.submit(assemble_class_map, tiles, what, final, pure=False).result()
    shutil.rmtree(folder.tiles)
    shutil.rmtree(folder.path / _INPUTS)
    folder.forget_batches()


def _tiles(plan: PixelPlan) -> Iterator[tuple[str, Window]]:
    """Every finished cell's file and its place in the output."""
    extent = plan.cells.extent
    for row, col in plan.cells.whole.positions():
        path = Path(plan.tiles) / f"{cell_id(row, col)}.tif"
        if path.exists():
            window = plan.cells.window(row, col)
            yield str(path), replace(window, row=window.row - extent.row, col=window.col - extent.col)
