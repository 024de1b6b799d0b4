"""The demo's report: what happened, in words, pictures and the calls that do it again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.pipeline.demo.calls import write_calls
from rasterloom.pipeline.demo.result import DemoResult
from rasterloom.pipeline.demo.settings import DemoSettings
from rasterloom.pipeline.demo.stages import Scene, Trained
from rasterloom.pipeline.rasters.grid import Bounds, Grid, Window
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.read import read_window
from rasterloom.pipeline.reports.page import Page, StageTime, ViewRow, describe_environment, duration
from rasterloom.pipeline.reports.pictures import (
    confusion_picture,
    short_count,
    training_picture,
    view_pictures,
)
from rasterloom.pipeline.reports.views import look_at

CLOSE_UP = 256
"""Side of the close-up in pixels of the map."""
_CANDIDATES = 64


def tell_story(
    result: DemoResult,
    scene: Scene,
    settings: DemoSettings,
    trained: Trained,
    arguments: Mapping[str, Any],
    times: Sequence[StageTime],
) -> Page:
    """The page about one run."""
    return Page(
        title="From labels to a map of every pixel",
        lead=_lead(settings, scene),
        figures=_figures(result, scene),
        views=(_whole(result, scene, settings), _close_up(result, scene, settings)),
        accuracy=result.accuracy,
        judged=_judged(result, scene, settings),
        training=training_picture(result.history),
        confusion=confusion_picture(result.accuracy),
        stages=tuple(replace(stage, note=_local(stage.note)) for stage in times),
        outputs=_outputs(result),
        calls=write_calls(result, scene, settings, trained, arguments),
        environment=describe_environment(),
    )


def next_steps(result: DemoResult) -> list[str]:
    """Commands to go on with."""
    mapped = f"rasterloom classify-pixels YOUR.tif {result.package} -o classes.tif"
    own = "rasterloom demo --raster YOUR.tif --labels YOUR.geojson --class-field FIELD"
    return [f"rasterloom info {result.package}", own if result.generated else mapped]


def _lead(settings: DemoSettings, scene: Scene) -> str:
    border = f"{scene.parts.border:.0%}"
    split = (
        f"A small U-Net learned from random weights on the upper {border} of the rows; the rest judges it."
    )
    if settings.generated:
        return (
            "This is a generated scene: it shows no place on Earth, and proves that everything works, not "
            f"how well it does on your data. {split}"
        )
    height, width = scene.raster.grid.shape
    return f"Your own raster and labels, on {width:,} x {height:,} pixels. {split}"


def _figures(result: DemoResult, scene: Scene) -> tuple[tuple[str, str], ...]:
    grid = scene.raster.grid
    return (
        (f"{result.mean_iou:.3f}", "mean IoU, rows not trained on"),
        (f"{result.accuracy.overall:.1%}", "of these pixels right"),
        (f"{result.chip_count:,}", "chips to train with"),
        (short_count(grid.height * grid.width), "pixels mapped"),
        (duration(sum(result.seconds.values())), "from start to end"),
    )


def _whole(result: DemoResult, scene: Scene, settings: DemoSettings) -> ViewRow:
    views = look_at(scene.source, scene.labels, result.class_map, class_field=settings.class_field)
    height, width = scene.raster.grid.shape
    return ViewRow(
        heading="The whole scene",
        text=f"{width:,} x {height:,} pixels. It learned above the dashed line and is judged below.",
        pictures=view_pictures(views, of="The whole scene"),
        classes=views.classes,
        border=scene.parts.border,
    )


def _close_up(result: DemoResult, scene: Scene, settings: DemoSettings) -> ViewRow:
    extent = most_varied(result.class_map, scene.test_extent)
    views = look_at(
        scene.source, scene.labels, result.class_map, class_field=settings.class_field, extent=extent
    )
    height, width = views.grid.shape
    return ViewRow(
        heading="A closer look",
        text=f"{width} x {height} pixels that were not trained on: where the map is most varied.",
        pictures=view_pictures(views, of="A close-up of rows that were not trained on"),
        classes=views.classes,
    )


def most_varied(class_map: Path, extent: Bounds) -> Bounds:
    """The square of the extent where the classes of a map are mixed most, among some that are tried."""
    raster = describe(class_map)
    best, score = None, -1.0
    for window in _squares(raster.grid, raster.grid.window_of(extent)):
        pixels, valid = read_window(raster, window)
        shares = np.bincount(pixels[0][valid]) / max(int(valid.sum()), 1)
        mixed = float(-(shares * np.log(np.maximum(shares, 1e-9))).sum()) * float(valid.mean())
        if mixed > score:
            best, score = window, mixed
    return extent if best is None else raster.grid.window_bounds(best)


def _squares(grid: Grid, area: Window) -> Iterator[Window]:
    height, width = min(CLOSE_UP, area.height), min(CLOSE_UP, area.width)
    side = int(_CANDIDATES**0.5)
    rows = np.unique(np.linspace(area.row, area.row_stop - height, side).round().astype(int))
    cols = np.unique(np.linspace(area.col, area.col_stop - width, side).round().astype(int))
    for row in rows.tolist():
        for col in cols.tolist():
            yield Window(row, col, height, width)


def _judged(result: DemoResult, scene: Scene, settings: DemoSettings) -> str:
    rows, pixels = scene.parts.test, result.accuracy.confusion.total
    below = rows.row - scene.parts.train.height
    bare = (
        "Pixels without a label are background, a class of its own."
        if result.accuracy.background
        else "Pixels without a label do not count."
    )
    return (
        f"{pixels:,} pixels in rows {rows.row:,} to {rows.row_stop - 1:,}. The {below} rows next to the "
        f"training part are left out: chips nearly show them. {bare}"
    )


def _outputs(result: DemoResult) -> tuple[tuple[str, str], ...]:
    verdict = "valid" if result.cog.valid else "not valid"
    return (
        (
            result.class_map.name,
            f"class map, cloud-optimised GeoTIFF ({verdict}), {result.cog.bytes / 1e6:.1f} MB",
        ),
        (result.package.name, "trained model: description and weights"),
        (result.chips.name, f"{result.chip_count:,} training chips, Zarr"),
        (result.metrics.name, "all figures of this page"),
    )


def _local(note: str) -> str:
    """A stage's note without the dashboard's address, which is gone when the page is read."""
    return note.partition(", dashboard at")[0]
