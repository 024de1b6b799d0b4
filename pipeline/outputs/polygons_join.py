"""Neighbouring rectangles of faces as one rectangle, as if it had been traced as one."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rasterloom.pipeline.outputs.polygons import COLUMNS, Chains, Faces, Patch, followed, offsets, ragged
from rasterloom.pipeline.rasters.grid import Window


def join(patches: Sequence[Patch], *, connectivity: int = 4) -> Patch:
    """One patch of several that lie side by side and fill a rectangle together.

    Parameters
    ----------
    patches
        At least one, cut along lines that go through the whole rectangle.
    connectivity
        4 or 8, as they were traced.
    """
    patches, faces = _side_by_side(patches)
    window = _around(patches)
    seams = list(_seams(patches, across=True)) + list(_seams(patches, across=False))
    seamed = [_of_seam(*seam, faces.values) for seam in seams]
    chains = _together([*(patch.chains for patch in patches), *seamed])
    corners = list(_corners(patches)) if connectivity == 8 else []
    faces, numbers = _united(faces, [(one, other) for *_, one, other in seams], corners)
    whole = Patch(
        window,
        patches[0].shape,
        faces,
        chains,
        np.concatenate([patch.near for patch in patches]),
        *_rims(patches, window),
    ).numbered(numbers, faces)
    # at the outer edge of the whole, what seems to go on may have met a border that is gone
    columns = {patch.window.col for patch in patches} - {window.col}
    rows = {patch.window.row for patch in patches} - {window.row}
    return replace(whole, chains=_linked(whole, columns, rows))


def _side_by_side(patches: Sequence[Patch]) -> tuple[list[Patch], Faces]:
    """The patches with all their faces in one table, whose row 0 is nothing."""
    placed, start = [], 0
    tables: list[Faces] = []
    for patch in patches:
        numbers = np.arange(len(patch.faces)) + start
        numbers[0] = 0
        groups = numbers[patch.faces.groups]
        placed.append(patch.numbered(numbers, patch.faces))
        rows = np.arange(0 if not tables else 1, len(patch.faces))
        tables.append(replace(patch.faces, groups=groups).taken(rows))
        start += len(patch.faces) - 1
    columns = zip(*((t.values, t.anchors, t.groups, t.pixels, t.shares, t.sure) for t in tables), strict=True)
    return placed, Faces(*(np.concatenate(column) for column in columns))


def _around(patches: Sequence[Patch]) -> Window:
    row, col = min(p.window.row for p in patches), min(p.window.col for p in patches)
    row_stop, col_stop = max(p.window.row_stop for p in patches), max(p.window.col_stop for p in patches)
    return Window(row, col, row_stop - row, col_stop - col)


def _seams(
    patches: Sequence[Patch], *, across: bool
) -> Iterator[tuple[bool, int, int, np.ndarray, np.ndarray]]:
    """Where two patches meet: whether along a row, where the seam lies, where it begins, both sides' faces.

    Faces above or to the west come first.
    """
    if across:
        below = {(patch.window.row, patch.window.col): patch for patch in patches}
        for patch in patches:
            other = below.get((patch.window.row_stop, patch.window.col))
            if other is not None:
                yield True, other.window.row, other.window.col, patch.bottom, other.top
        return
    beside = {(patch.window.row, patch.window.col): patch for patch in patches}
    for patch in patches:
        other = beside.get((patch.window.row, patch.window.col_stop))
        if other is not None:
            yield False, other.window.col, other.window.row, patch.right, other.left


def _of_seam(
    across: bool, line: int, begin: int, one: np.ndarray, other: np.ndarray, values: np.ndarray
) -> Chains:
    """The borders along a seam, in straight pieces."""
    cracks = values[one] != values[other]
    cut = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    starts, stops = cracks.copy(), cracks.copy()
    starts[1:] &= ~cracks[:-1] | cut
    stops[:-1] &= ~cracks[1:] | cut
    start, stop = np.flatnonzero(starts), np.flatnonzero(stops) + 1
    first, second = one[start], other[start]
    # going east, what is above is to the left; going south, what is to the east
    left, right = (first, second) if across else (second, first)
    back = values[left] > values[right]
    ends = np.stack([np.where(back, stop, start), np.where(back, start, stop)], axis=1) + begin  # (n, 2)
    fixed = np.full_like(ends, line)
    points = np.stack([ends, fixed] if across else [fixed, ends], axis=2).reshape(-1, 2)
    way = np.where(back, 2, 0).astype(np.int8) + np.int8(0 if across else 1)
    return Chains(
        points.astype(np.int32),
        2 * np.arange(len(start) + 1, dtype=np.int64),
        np.where(back, right, left),
        np.where(back, left, right),
        way,
        way,
        np.zeros(len(start), bool),
        np.zeros(len(start), bool),
    )


def _corners(patches: Sequence[Patch]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Faces of pixels that meet at a corner only, across seams."""
    places = {(patch.window.row, patch.window.col): patch for patch in patches}
    for *_, one, other in [*_seams(patches, across=True), *_seams(patches, across=False)]:
        yield one[1:], other[:-1]
        yield one[:-1], other[1:]
    for patch in patches:
        window = patch.window
        diagonal = places.get((window.row_stop, window.col_stop))
        if diagonal is not None:
            yield patch.bottom[-1:], diagonal.top[:1]
            east, south = (
                places[(window.row, window.col_stop)],
                places[(window.row_stop, window.col)],
            )
            yield east.bottom[:1], south.top[-1:]


def _united(
    faces: Faces, sides: list[tuple[np.ndarray, np.ndarray]], corners: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[Faces, np.ndarray]:
    """The faces of all patches, those that go across a seam as one; and the row that each has become."""
    numbers = _components(len(faces), _alike(faces, sides))
    count = int(numbers.max()) + 1
    first = np.zeros(count, np.int64)
    first[numbers[::-1]] = np.arange(len(faces))[::-1]
    anchors = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(anchors, numbers, faces.anchors)
    sums = []
    for column in (faces.pixels, faces.shares, faces.sure):
        total = np.zeros(count, np.int64)
        np.add.at(total, numbers, column)
        sums.append(total)
    members = np.stack([numbers, numbers[faces.groups]])
    touching = [(numbers[one], numbers[other]) for one, other in _alike(faces, corners)]
    wide = _components(count, [(members[0], members[1]), *touching])
    head = np.zeros(int(wide.max()) + 1, np.int64)
    head[wide[::-1]] = np.arange(count)[::-1]
    return Faces(faces.values[first], anchors, head[wide], *sums), numbers


def _alike(faces: Faces, pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of pairs of faces those of one value, without nothing."""
    alike = []
    for one, other in pairs:
        same = (faces.values[one] == faces.values[other]) & (one > 0)
        alike.append((one[same], other[same]))
    return alike


def _components(count: int, pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """(count,) number of the set that each belongs to, counted from that of 0."""
    one = np.concatenate([np.zeros(0, np.int64), *(pair[0] for pair in pairs)])
    other = np.concatenate([np.zeros(0, np.int64), *(pair[1] for pair in pairs)])
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
    numbers = connected_components(graph, directed=False)[1]
    _, first, back = np.unique(numbers, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return np.asarray(order[back.reshape(-1)])


def _rims(patches: Sequence[Patch], window: Window) -> Iterator[np.ndarray]:
    """Top, right, bottom and left of the whole."""
    by_col = sorted(patches, key=lambda patch: patch.window.col)
    by_row = sorted(patches, key=lambda patch: patch.window.row)
    yield np.concatenate([p.top for p in by_col if p.window.row == window.row])
    yield np.concatenate([p.right for p in by_row if p.window.col_stop == window.col_stop])
    yield np.concatenate([p.bottom for p in by_col if p.window.row_stop == window.row_stop])
    yield np.concatenate([p.left for p in by_row if p.window.col == window.col])


def _together(tables: Sequence[Chains]) -> Chains:
    columns = [np.concatenate([getattr(table, name) for table in tables]) for name in COLUMNS]
    lengths = np.concatenate([table.lengths for table in tables])
    return Chains(np.concatenate([table.points for table in tables]), offsets(lengths), *columns)


def _linked(patch: Patch, columns: set[int], rows: set[int]) -> Chains:
    """The chains of a patch, those that go on across one of its inner seams put together."""
    chains = patch.chains
    heads, tails = chains.heads, chains.tails
    ends = np.concatenate([heads, tails]).astype(np.int64)
    here = np.isin(ends[:, 0], list(columns)) | np.isin(ends[:, 1], list(rows))
    here &= ~patch.on_rim(ends)
    keys = ends[:, 1] * (patch.shape[1] + 1) + ends[:, 0]
    corner, degree = np.unique(keys[here], return_counts=True)
    spot = np.minimum(np.searchsorted(corner, keys), max(len(corner) - 1, 0))
    through = np.zeros(len(keys), bool)
    if len(corner):
        through = here & (corner[spot] == keys) & (degree[spot] == 2)
    leaving = np.full(len(corner), -1, np.int64)
    count = len(chains)
    begin, end = through[:count], through[count:]
    leaving[spot[:count][begin]] = np.flatnonzero(begin)
    after = np.full(count, -1, np.int64)
    after[end] = leaving[spot[count:][end]]
    order, bounds, opened = followed(after)
    return _chained(chains, order, bounds, opened)


def _chained(chains: Chains, order: np.ndarray, bounds: np.ndarray, opened: int) -> Chains:
    """Chains that follow each other as one each, without points on straight lines between two of them."""
    first, final = order[bounds[:-1]], order[bounds[1:] - 1]
    lengths = chains.lengths[order]
    points = chains.points[ragged(chains.starts[order], lengths)]
    place = offsets(lengths)
    keep = np.ones(len(points), bool)
    joint = np.ones(len(order), bool)
    joint[bounds[:-1]] = False  # nothing goes before the first of each
    # the end of one is the start of the next; where both go the same way, neither is a corner
    keep[place[:-1][joint]] = False
    follower = np.flatnonzero(joint)
    straight = chains.first[order[follower]] == chains.last[order[follower - 1]]
    keep[place[follower][straight] - 1] = False
    walks = np.add.reduceat(np.add.reduceat(keep.astype(np.int64), place[:-1]), bounds[:-1])
    return Chains(
        points[keep],
        offsets(walks),
        chains.left[first],
        chains.right[first],
        chains.first[first],
        chains.last[final],
        chains.done[first],
        chains.loop[first] | (np.arange(len(first)) >= opened),
    )
