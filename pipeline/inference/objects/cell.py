"""What the chips of one cell find: read it with its halo, see its chips in mini-batches."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rasterloom.pipeline.inference.cell import Sight, cut_chips, mini_batches
from rasterloom.pipeline.inference.objects.chips import candidates_of
from rasterloom.pipeline.inference.objects.finds import Finds
from rasterloom.pipeline.inference.objects.plan import ObjectPlan
from rasterloom.pipeline.inference.objects.predict import ObjectPredictor
from rasterloom.pipeline.inference.wanted import inside_mask
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.read import read_padded
from rasterloom.pipeline.seams.candidates import Candidates

Look = Callable[[Sight, list[tuple[int, int]]], list[Finds]]
"""From what is seen, and the corners in it of some chips, to what is in each chip."""


@dataclass(frozen=True)
class CellFinds:
    """What the chips of a cell have found."""

    candidates: Candidates
    chips: int
    """Chips that were looked at."""
    unusable: int
    """Things that were left out, because their score or box is no number."""


def find_in_cell(plan: ObjectPlan, look: Look, window: Window) -> CellFinds:
    """What the chips that own the pixels of a cell find.

    A chip is looked at whole, or not at all where it sees no pixel that is valid and wanted.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    """
    span = plan.cells.chip_span(window)
    seen = plan.cells.read_window(span)
    pixels, valid = read_padded(plan.raster, seen, plan.bands)
    sight = Sight(seen, pixels, valid)
    tile, stride = plan.cells.tile, plan.cells.stride
    parts: list[Candidates] = []
    chips = unusable = 0
    for corners in mini_batches(_useful(plan, sight), plan.arguments.batch_size):
        found = look(sight, corners)
        places = np.array([(span.row + row // stride, span.col + col // stride) for row, col in corners])
        views = np.stack([valid[row : row + tile, col : col + tile] for row, col in corners])
        parts.append(candidates_of(found, places, plan.views, views))
        chips += len(corners)
        unusable += sum(finds["unusable"] for finds in found)
    return CellFinds(Candidates.joined(parts), chips, unusable)


def with_network(plan: ObjectPlan, predictor: ObjectPredictor) -> Look:
    """How a network looks at chips."""
    given = plan.arguments

    def look(sight: Sight, corners: list[tuple[int, int]]) -> list[Finds]:
        chips, valid = cut_chips(sight, corners, tile=given.tile_size, size=given.batch_size)
        found = predictor.find(
            chips,
            valid,
            threshold=given.threshold,
            nms_overlap=given.nms_overlap,
            tta=given.test_time_augmentation,
            merge_policy=given.merge_policy,
        )
        return found[: len(corners)]

    return look


def _useful(plan: ObjectPlan, sight: Sight) -> Iterator[tuple[int, int]]:
    """Upper-left corners, in what is seen, of the chips that see something wanted."""
    tile, stride = plan.cells.tile, plan.cells.stride
    height, width = sight.valid.shape
    wanted = sight.valid if plan.mask is None else sight.valid & _inside(plan, sight.window)
    for row in range(0, height - tile + 1, stride):
        for col in range(0, width - tile + 1, stride):
            if wanted[row : row + tile, col : col + tile].any():
                yield row, col


def _inside(plan: ObjectPlan, window: Window) -> np.ndarray:
    """Which pixels of a window, that may reach beyond the raster, the mask holds."""
    assert plan.mask is not None, "asked only where there is one"
    part = window.clipped(plan.raster.grid.shape)
    inside = np.zeros((window.height, window.width), bool)
    place = replace(part, row=part.row - window.row, col=part.col - window.col).slices
    inside[place] = inside_mask(plan.mask, plan.raster.grid, part)
    return inside
