"""The demo from start to end."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rasterloom.pipeline.demo.folder import DemoFolder
from rasterloom.pipeline.demo.result import CogFacts, DemoResult, write_metrics
from rasterloom.pipeline.demo.screen import Screen
from rasterloom.pipeline.demo.settings import DemoSettings
from rasterloom.pipeline.demo.stages import (
    Scene,
    check_inputs,
    cluster,
    cut_chips,
    draw_map,
    judge,
    model_arguments,
    open_scene,
    save_model,
    train,
)
from rasterloom.pipeline.demo.story import next_steps, tell_story
from rasterloom.pipeline.reports.page import write_page

_STAGES = 7


def run_demo(
    folder: str | Path = "demo",
    *,
    raster: Any = None,
    labels: Any = None,
    class_field: str | None = None,
    size: int = 4096,
    seed: int = 0,
    tile_size: int = 128,
    stride: int | None = None,
    epochs: int | None = None,
    backbone: str | None = None,
    train_share: float = 0.75,
    cell_size: float | None = None,
    out_crs: str | None = None,
    batch_size: int | None = None,
    n_workers: int | None = None,
    client: Any = None,
    overwrite: bool = True,
    progress: bool = True,
) -> DemoResult:
    """Go the whole way once: chips, training, a map of the whole raster, its scores, and a report.

    The model is trained on the upper rows only and judged on the others. The folder holds ``report.html``,
    ``metrics.json``, ``class_map.tif`` (a COG), ``model.dlpk``, ``chips.zarr`` and, without a raster of your
    own, ``scene``, which is a generated landscape and shows no place on Earth. The same call does it again.

    Parameters
    ----------
    folder
        Where everything is written. Results of earlier demos in it are replaced; a scene of the same size and
        seed is used again; nothing else is touched.
    raster, labels
        Your own: a path, folder or list of paths, and a vector file. None takes the generated scene.
    class_field
        Field of the class. None takes ``classvalue`` or ``value``; without one every feature is class 1, and
        the rest is background.
    size, seed
        Side of the generated scene in pixels, and which scene it is.
    tile_size
        Side of the training chips in pixels, a multiple of 32 from 64 on. The map is made with twice that.
    stride
        Pixels from one chip to the next. None takes one tile, less where chips are few.
    epochs
        Rounds of training, 2 to 12 million pixels each. None fits them to a few minutes on two cores.
    backbone
        Of the U-Net. None takes a small one.
    train_share
        Share of the rows, from the top, that is trained on: 0.1 to 0.9. A strip of one tile's width below
        them is not judged.
    cell_size, out_crs
        Work at this cell size (units of the CRS) and in this CRS. None takes the raster's own.
    batch_size
        Chips in a training step. None fits it to the tiles.
    n_workers
        Worker processes of the cluster that is started; None is one for each core, 0 works in this process.
    client
        A Dask client to use instead.
    overwrite
        False refuses a folder that holds results.
    progress
        Tell on the screen what happens.

    Raises
    ------
    SettingError
        If a setting cannot work.
    OutputExistsError
        If something in the folder that no demo made stands in the way.
    MissingInputError, CrsError, LabelError, RasterError
        If raster and labels cannot be used.
    OutputError, TooManyFailures, RunInterrupted
        During the run.
    """
    settings = DemoSettings(
        raster=raster,
        labels=labels,
        class_field=class_field,
        size=size,
        seed=seed,
        tile_size=tile_size,
        stride=stride,
        epochs=epochs,
        backbone=backbone,
        train_share=train_share,
        cell_size=cell_size,
        out_crs=out_crs,
        batch_size=batch_size,
    )
    check_inputs(settings)
    place = DemoFolder(Path(folder))
    place.claim(overwrite=overwrite)
    screen = Screen(stages=_STAGES, show=progress)
    what = "on a generated scene" if settings.generated else "on your own raster"
    screen.open(f"rasterloom demo {what}", f"everything goes to {place.path}")
    result = _run(place, settings, screen, client=client, n_workers=n_workers, progress=progress)
    screen.close(
        f"mean IoU {result.mean_iou:.3f} on rows that were not trained on",
        _whereabouts(result),
        next_steps(result),
    )
    return result


def _run(
    place: DemoFolder,
    settings: DemoSettings,
    screen: Screen,
    *,
    client: Any,
    n_workers: int | None,
    progress: bool,
) -> DemoResult:
    with ExitStack() as stack:
        with screen.stage("Cluster", "where the work is done") as remarks:
            client = stack.enter_context(cluster(client, n_workers))
            remarks.text = _describe_client(client)
        with screen.stage("Scene", "what is to be mapped") as remarks:
            scene = open_scene(place, settings, client, progress=progress)
            remarks.text = _describe_scene(scene, settings)
        with screen.stage("Chips", f"cut from the upper {scene.parts.border:.0%} of the rows") as remarks:
            chips = cut_chips(scene, place, settings, client, progress=progress)
            remarks.text = f"{len(chips):,} chips of {settings.tile_size} pixels"
        with screen.stage("Training", "a U-Net from random weights, in this process") as remarks:
            trained = train(chips, scene, place, settings, progress=progress)
            save_model(trained, place)
            remarks.text = trained.describe()
        with screen.stage("Map", "every pixel of the scene gets a class") as remarks:
            arguments = model_arguments(trained.data, settings)
            cog = draw_map(scene, place, settings, arguments, client, progress=progress)
            remarks.text = _describe_cog(cog)
        with screen.stage("Accuracy", "on the rows that were not trained on") as remarks:
            accuracy = judge(scene, place, settings, client, progress=progress)
            remarks.text = f"mean IoU {accuracy.mean_iou:.3f} over {accuracy.confusion.total:,} pixels"
    with screen.stage("Report", "pictures and figures on one page") as remarks:
        result = DemoResult(
            folder=place.path,
            raster=scene.source,
            labels=scene.labels,
            generated=settings.generated,
            chips=place.chips,
            chip_count=len(chips),
            package=place.package,
            model_arguments=arguments,
            class_map=place.class_map,
            cog=cog,
            history=trained.model.history,
            accuracy=accuracy,
            seconds=screen.seconds,
            metrics=place.metrics,
            report=place.report,
        )
        write_metrics(result)
        write_page(tell_story(result, scene, settings, trained, arguments, screen.times), place.report)
        remarks.text = str(place.report)
    return result


def _describe_client(client: Any) -> str:
    if client is None:
        return "no cluster: this process works alone"
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    return f"{workers} worker{'' if workers == 1 else 's'}, dashboard at {client.dashboard_link}"


def _describe_scene(scene: Scene, settings: DemoSettings) -> str:
    height, width = scene.raster.grid.shape
    origin = (
        scene.raster.name if not settings.generated else "generated earlier" if scene.reused else "generated"
    )
    return f"{width:,} x {height:,} pixels, {scene.raster.band_count} bands, {origin}"


def _describe_cog(cog: CogFacts) -> str:
    verdict = "a valid COG" if cog.valid else f"no valid COG: {'; '.join(cog.problems)}"
    return f"{cog.path.name}, {cog.size[1]:,} x {cog.size[0]:,} pixels, {cog.bytes / 1e6:.1f} MB, {verdict}"


def _whereabouts(result: DemoResult) -> list[tuple[str, str]]:
    return [
        (str(result.report), "the report: open it in a browser"),
        (str(result.class_map), "the class map, a COG: open it in QGIS"),
        (str(result.package), "the trained model"),
        (str(result.chips), "the chips it was trained on"),
        (str(result.metrics), "all figures"),
    ]
