"""What there is in one cell of a raster that lines are extracted from: bodies, thin lines, arcs."""

import io
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import ndimage

from rasterloom.cluster.places import Place
from rasterloom.pipeline.inference.cells import cell_id
from rasterloom.pipeline.inference.lines_plan import MOST_AROUND, PASSES, LinesPlan
from rasterloom.pipeline.inference.wanted import inside_mask
from rasterloom.pipeline.outputs.lines_thin import REACH
from rasterloom.pipeline.outputs.lines_trace import Arcs, arcs_of
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.read import read_window

_AROUND = REACH * PASSES - 1
"""Pixels around a cell, and one around it, in which its lines look for the side of their body first: no more
than was read to thin it, so that what can be thinned can be measured."""

_EIGHT = np.ones((3, 3), bool)


def body_in(plan: LinesPlan, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels of a window, that may reach beyond what is searched, belong to bodies; and all values.

    Raises
    ------
    ReadError
        If pixels cannot be read.
    """
    held = np.zeros((window.height, window.width), bool)
    values = np.zeros(held.shape, plan.raster.dtype)
    part = common(window, plan.cells.extent)
    if part.height and part.width:
        pixels, valid = read_window(plan.raster, part, (plan.body.band,))
        wanted = valid if plan.mask is None else valid & inside_mask(plan.mask, plan.raster.grid, part)
        place = replace(part, row=part.row - window.row, col=part.col - window.col).slices
        held[place] = wanted & plan.body.held(pixels[0])
        values[place] = pixels[0]
    return held, values


def common(one: Window, other: Window) -> Window:
    """What two windows share; without a height or a width where that is nothing."""
    row, col = max(one.row, other.row), max(one.col, other.col)
    height = max(0, min(one.row_stop, other.row_stop) - row)
    return Window(row, col, height, max(0, min(one.col_stop, other.col_stop) - col))


def bodies_apart(held: np.ndarray) -> np.ndarray:
    """(row, column) number of the body that a pixel belongs to, as far as this window shows; 0 for none."""
    return np.asarray(ndimage.label(held, _EIGHT)[0])


def thin_to_bytes(thin: np.ndarray) -> bytes:
    """A file that :func:`thin_in` reads."""
    return zlib.compress(np.packbits(thin).tobytes(), 1)


def thin_name(row: int, col: int, turn: int) -> str:
    """Name of the file with what is left of a cell after some turns of thinning."""
    return f"{cell_id(row, col)}.{turn}"


def thin_in(plan: LinesPlan, window: Window, turn: int) -> np.ndarray:
    """What is left of the bodies in a window after a turn; nothing beyond what is searched."""
    thin = np.zeros((window.height, window.width), bool)
    part = common(window, plan.cells.extent)
    if not part.height or not part.width:
        return thin
    for row, col in replace(plan.cells, extent=part).whole.positions():
        cell = plan.cells.window(row, col)
        shared = common(cell, window)
        place = replace(shared, row=shared.row - window.row, col=shared.col - window.col).slices
        source = replace(shared, row=shared.row - cell.row, col=shared.col - cell.col).slices
        for bits in _latest(plan.place, row, col, turn):
            thin[place] = np.unpackbits(bits, count=cell.height * cell.width).reshape(
                cell.height, cell.width
            )[source]
    return thin


def _latest(place: Place, row: int, col: int, turn: int) -> Iterator[np.ndarray]:
    """The last file of a cell up to a turn: turns leave out cells in which nothing changes any more."""
    for number in range(turn, -1, -1):
        try:
            yield np.frombuffer(zlib.decompress(place.read(thin_name(row, col, number))), np.uint8)
        except FileNotFoundError:
            continue
        return


def arcs_in(plan: LinesPlan, window: Window, turn: int) -> tuple[Arcs, dict[str, np.ndarray]]:
    """The arcs of a cell, and columns: ``values`` of each of their pixels, ``body`` of each arc.

    Values are the width of the body there, in the units of lengths, and, of a raster of probabilities, the
    probability.
    """
    around = window.padded(1)
    columns = plan.ground.columns
    arcs = arcs_of(thin_in(plan, around, turn), window, columns)
    if not len(arcs):
        return arcs, {}
    rows, cols = np.divmod(arcs.pixels, columns)
    rows, cols = rows - around.row, cols - around.col
    held, pixels = body_in(plan, around.padded(_AROUND))
    values = [_widths(plan, around, held, rows, cols)]
    if plan.body.threshold is not None:
        values.append(pixels[rows + _AROUND, cols + _AROUND] * np.float64(plan.body.scale))
    body = np.zeros(len(arcs), np.int64)
    if plan.labelled:
        first, beside = arcs.starts[:-1], _AROUND + 1
        own = held[beside:-beside, beside:-beside]
        body = bodies_apart(own)[rows[first] - 1, cols[first] - 1].astype(np.int64)
    return arcs, {"values": np.stack(values, axis=1), "body": body}


def _widths(
    plan: LinesPlan, around: Window, held: np.ndarray, rows: np.ndarray, cols: np.ndarray
) -> np.ndarray:
    """(n,) how wide bodies are at some pixels of a cell and one pixel around it.

    From the middle of a pixel to that of the nearest one outside, twice, less half a pixel: of a straight
    body n pixels wide this is n - 0.5 or n + 0.5. ``held`` shows _AROUND more pixels on all sides.
    """
    right, down, *_ = plan.ground.steps
    margin = _AROUND
    while True:
        distance = ndimage.distance_transform_edt(np.pad(held, 1), sampling=(down, right))[1:-1, 1:-1]
        found = distance[rows + margin, cols + margin]
        # nothing that was not looked at is nearer than this
        sure = (margin + 1) * min(right, down)
        if margin >= MOST_AROUND or (found < sure).all():
            most = (MOST_AROUND + 1) * min(right, down)
            return np.asarray(2 * np.minimum(found, most) - (right + down) / 4)
        margin = 2 * margin + 1
        held, _ = body_in(plan, around.padded(margin))


def to_bytes(**columns: np.ndarray) -> bytes:
    """A file that :func:`from_bytes` reads; the same columns give the same bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **columns)
    return file.getvalue()


def from_bytes(data: bytes) -> dict[str, np.ndarray]:
    """What :func:`to_bytes` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
