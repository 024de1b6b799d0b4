"""The stages of the demo, each a call or two of the public functions."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rasterloom.cluster.jobs import Progress
from rasterloom.cluster.progress import progress_bar
from rasterloom.cluster.start import connect
from rasterloom.models.contract import ClassInfo
from rasterloom.models.pixels.unet import UnetClassifier
from rasterloom.pipeline.chips.export import export_training_data
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.demo.folder import DemoFolder
from rasterloom.pipeline.demo.result import CogFacts
from rasterloom.pipeline.demo.settings import (
    DemoSettings,
    Parts,
    Recipe,
    choose_recipe,
    choose_stride,
    split_rows,
)
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.labels.classes import class_table
from rasterloom.pipeline.labels.layers import layer_attributes
from rasterloom.pipeline.landscape.classes import LANDSCAPE_CLASSES
from rasterloom.pipeline.landscape.write import generate_landscape
from rasterloom.pipeline.rasters.context import target_grid
from rasterloom.pipeline.rasters.grid import Bounds
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.reports.accuracy import BACKGROUND_SHARE, PixelAccuracy, assess_pixels
from rasterloom.pipeline.store.read import ChipStore

PADDING_SHARE = 8
"""The map is made with tiles of twice the training chips' side; this part of a tile's side is its padding."""


@dataclass(frozen=True)
class Scene:
    """What is worked on."""

    source: Any
    """The raster as the caller gave it, or the generated one's path."""
    labels: Any
    raster: Raster
    """On the grid that is worked on."""
    parts: Parts
    classes: tuple[ClassInfo, ...] | None
    """Names and colours of the classes, where they are known beforehand."""
    reused: bool
    """Whether the generated scene was there already."""

    @property
    def train_extent(self) -> Bounds:
        return self.raster.grid.window_bounds(self.parts.train)

    @property
    def test_extent(self) -> Bounds:
        return self.raster.grid.window_bounds(self.parts.test)


@dataclass(frozen=True)
class Trained:
    """The model after training."""

    model: UnetClassifier
    data: ImageryData
    recipe: Recipe

    def describe(self) -> str:
        """What was trained for how long, in a few words."""
        seen = self.recipe.epochs * self.recipe.iterations * self.recipe.batch_size * self.data.chip_size**2
        backbone = self.recipe.model["backbone"]
        epochs = f"{self.recipe.epochs} epoch{'' if self.recipe.epochs == 1 else 's'}"
        return f"U-Net on {backbone}, {epochs}, {seen / 1e6:,.0f} million pixels seen"


@contextmanager
def cluster(client: Any, n_workers: int | None) -> Iterator[Any]:
    """The caller's client; else one of a new cluster on this machine, or None for 0 workers."""
    if client is not None or n_workers == 0:
        yield client
        return
    with connect(n_workers=n_workers) as own:
        yield own


def check_inputs(settings: DemoSettings) -> None:
    """Make sure that the user's raster and labels can be opened, before anything is started or written.

    Raises
    ------
    MissingInputError, RasterError, CrsError, LabelError
        If one cannot be opened, or the labels lack the class field.
    SettingError
        If the raster is too small.
    """
    if settings.generated:
        return
    raster = target_grid(describe(settings.raster), settings.grid_context)
    split_rows(raster.grid, settings)
    class_table(layer_attributes(settings.labels, settings.class_field), settings.class_field)


def open_scene(folder: DemoFolder, settings: DemoSettings, client: Any, *, progress: bool) -> Scene:
    """The user's raster and labels; without them the generated ones, made unless they are there."""
    source, labels, classes, reused = settings.raster, settings.labels, None, False
    if settings.generated:
        what = {"size": settings.size, "seed": settings.seed}
        source, labels = folder.scene / "scene.tif", folder.scene / "labels.parquet"
        classes = LANDSCAPE_CLASSES
        reused = folder.has_scene(**what) and source.exists() and labels.exists()
        if not reused:
            folder.forget_scene()
            _generate(folder, settings, client, progress=progress)
            folder.record_scene(**what)
    raster = target_grid(describe(source), settings.grid_context)
    return Scene(source, labels, raster, split_rows(raster.grid, settings), classes, reused)


def _generate(folder: DemoFolder, settings: DemoSettings, client: Any, *, progress: bool) -> None:
    begin = time.monotonic()
    with progress_bar("draw the scene", show=progress) as tell:

        def blocks(done: int, total: int) -> None:
            pixels = settings.size**2 * done // total
            tell(Progress(done, total, pixels, failed=0, seconds=time.monotonic() - begin))

        generate_landscape(
            folder.scene,
            size=settings.size,
            seed=settings.seed,
            overwrite=True,
            client=client,
            on_progress=blocks,
        )


def cut_chips(
    scene: Scene, folder: DemoFolder, settings: DemoSettings, client: Any, *, progress: bool
) -> ChipStore:
    """Chips from the training rows, all of them: where there is no label there is background to learn."""
    path = export_training_data(
        scene.source,
        scene.labels,
        tile_size=settings.tile_size,
        stride_size=choose_stride(scene.parts.train, settings),
        classvalue_field=settings.class_field,
        output_location=folder.chips,
        context={**settings.grid_context, "extent": scene.train_extent, "exportAllTiles": True},
        client=client,
        overwrite=True,
        progress=progress,
    )
    return ChipStore(path)


def train(
    chips: ChipStore, scene: Scene, folder: DemoFolder, settings: DemoSettings, *, progress: bool
) -> Trained:
    """A U-Net trained in this process on the chips, from random weights."""
    recipe = choose_recipe(len(chips), settings)
    data = prepare_data(
        folder.chips,
        chip_size=settings.tile_size,
        val_split_pct=recipe.validation,
        batch_size=recipe.batch_size,
        seed=settings.seed,
        working_dir=folder.path,
    )
    if scene.classes is not None:
        data = replace(data, classes=scene.classes)
    model = UnetClassifier(data, **recipe.model)
    model.fit(
        recipe.epochs,
        lr=recipe.learning_rate,
        checkpoint=False,  # one cycle ends at its best
        iters_per_epoch=recipe.iterations,
        seed=settings.seed,
        show_progress=progress,
    )
    return Trained(model, data, recipe)


def save_model(trained: Trained, folder: DemoFolder) -> None:
    """The package is written: a folder, and the same as one file."""
    trained.model.save(folder.model, overwrite=True)


def model_arguments(data: ImageryData, settings: DemoSettings) -> dict[str, Any]:
    """How the map is made: large tiles, overlapping; no background where the labels leave no ground bare."""
    tile = 2 * settings.tile_size
    bare = data.class_pixels.get(0, 0) / max(sum(data.class_pixels.values()), 1)
    return {
        "tile_size": tile,
        "padding": tile // PADDING_SHARE,
        "predict_background": bare > BACKGROUND_SHARE,
    }


def draw_map(
    scene: Scene,
    folder: DemoFolder,
    settings: DemoSettings,
    arguments: Mapping[str, Any],
    client: Any,
    *,
    progress: bool,
) -> CogFacts:
    """The class map of the whole raster, and what rio-cogeo says about it."""
    path = classify_pixels(
        scene.source,
        folder.package,
        arguments,
        folder.class_map,
        settings.grid_context,
        client=client,
        overwrite=True,
        progress=progress,
    )
    return check_cog(Path(path))


def check_cog(path: Path) -> CogFacts:
    """Judge a file as a cloud-optimised GeoTIFF."""
    from rio_cogeo.cogeo import cog_validate

    valid, errors, warnings = cog_validate(path, quiet=True)
    shape = describe(path).grid.shape
    return CogFacts(path, bool(valid), (*errors, *warnings), shape, path.stat().st_size)


def judge(
    scene: Scene, folder: DemoFolder, settings: DemoSettings, client: Any, *, progress: bool
) -> PixelAccuracy:
    """The map against the labels, on the rows that were not trained on."""
    return assess_pixels(
        folder.class_map,
        scene.labels,
        class_field=settings.class_field,
        extent=scene.test_extent,
        client=client,
        progress=progress,
    )
