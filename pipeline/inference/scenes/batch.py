"""The work of one task: look at chips, keep what they show for whoever puts it together."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely

from rasterloom.cluster.jobs import BatchResult
from rasterloom.pipeline.inference.forward import shared_cores
from rasterloom.pipeline.inference.scenes.answers import Answers, from_bytes, keep
from rasterloom.pipeline.inference.scenes.chips import SIDES, chip_file
from rasterloom.pipeline.inference.scenes.decide import labels_of
from rasterloom.pipeline.inference.scenes.plan import ChipBatch, ScenePlan
from rasterloom.pipeline.inference.scenes.predict import ScenePredictor, resident_classifier
from rasterloom.pipeline.inference.scenes.squares import on_square
from rasterloom.pipeline.inference.scenes.strips import Strips
from rasterloom.pipeline.inference.wanted import inside_mask_at
from rasterloom.pipeline.labels.burn import burn
from rasterloom.pipeline.labels.features import Labels
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.read import read_window


def run_scene_batch(plan: ScenePlan, batch: ChipBatch) -> BatchResult:
    """Classify the chips of ``batch`` and write one file of answers. No Dask inside; safe to repeat.

    Returns
    -------
    BatchResult
        Its summary says how many chips were looked at, how many showed nothing or lay outside of the mask,
        and for how many the network gave no number.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    OutputError
        If the file cannot be written.
    MemoryError
        If not even one chip fits into memory.
    """
    started = time.perf_counter()
    assert plan.tiles is not None, "the plan has been brought home"
    predictor = resident_classifier(plan.package, plan.digest, plan.device, plan.precision)
    table = from_bytes(plan.inputs.read(chip_file(batch.number)))
    chips = table.slice(batch.start * plan.group, batch.cells * plan.group)
    answers = Answers()
    with shared_cores(plan.device):
        classify_chips(plan, predictor, chips, answers)
    keep(plan.tiles, batch.id, answers.table())
    return BatchResult(
        batch=batch.id,
        cells=batch.cells,
        pixels=answers.looked * plan.arguments.tile_size**2,
        seconds=time.perf_counter() - started,
        failed=(),
        summary=answers.summary(),
    )


def classify_chips(plan: ScenePlan, predictor: ScenePredictor, chips: Any, answers: Answers) -> None:
    """Look at the chips of a table, group by group.

    A group is looked at in passes of one size, the last filled up: so it does not matter which groups are
    computed together.
    """
    windows = np.stack([chips[side].to_numpy() for side in SIDES], axis=1)
    strips = Strips(
        lambda window: read_window(plan.raster, window, plan.bands), plan.raster.grid.shape, windows
    )
    size, side = plan.arguments.chips_in_pass(len(plan.classes)), plan.arguments.tile_size
    dtype = np.uint8 if plan.raster.dtype == "uint8" and plan.arguments.fix_chip_size else np.float32
    for start in range(0, len(chips), plan.group):
        group = chips.slice(start, plan.group)
        images, positions = np.zeros((size, len(plan.bands), side, side), dtype), list[int]()
        for position, image in _images(plan, strips, group):
            images[len(positions)] = image
            positions.append(position)
            if len(positions) == size:
                _look(plan, predictor, images, positions, answers)
                positions = []
        if positions:
            images[len(positions) :] = 0
            _look(plan, predictor, images, positions, answers)
        answers.dark = start + len(group) - answers.looked


def _look(
    plan: ScenePlan, predictor: ScenePredictor, images: np.ndarray, positions: list[int], answers: Answers
) -> None:
    shares = predictor.classify(images, merge=plan.arguments.merge)[: len(positions)]
    answers.add(positions, *labels_of(plan, shares))


def _images(plan: ScenePlan, strips: Strips, group: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Position of each object that shows something wanted, and its chip, (C, T, T)."""
    wanted = _wanted(plan, group)
    shapes = group["shape"].to_pylist()
    for number, row in enumerate(group.select(["position", *SIDES]).to_pylist()):
        if not wanted[number]:
            continue
        window = Window(*(row[side] for side in SIDES))
        seen = strips.chip(window)
        if seen is None or not seen[1].any():
            continue
        pixels = seen[0]
        if shapes[number] is not None:
            pixels = pixels * _shown(shapes[number], plan.raster.grid, window)
        yield row["position"], on_square(pixels, plan.arguments.tile_size)


def _wanted(plan: ScenePlan, group: Any) -> np.ndarray:
    if plan.mask is None:
        return np.ones(len(group), bool)
    points = np.stack([group["x"].to_numpy(), group["y"].to_numpy()], axis=1)
    return inside_mask_at(plan.mask, plan.raster.grid, points)


def _shown(outline: bytes, grid: Grid, window: Window) -> np.ndarray:
    """Which pixels of a chip an object fills: the others are blackened, as in training."""
    one = Labels(np.array([shapely.from_wkb(outline)], object), np.ones(1, np.int64), ())
    part = grid.cropped(window)
    return burn(one, part, Window(0, 0, *part.shape)) > 0
