"""Seams resolved the plain way: every candidate against every other, one pair after the other."""

from itertools import combinations
from typing import Any

import numpy as np
import shapely
from hypothesis import strategies as st

from rasterloom.pipeline.seams.candidates import Candidates, ChipViews
from rasterloom.pipeline.seams.resolve import SeamRules

Box = tuple[float, float, float, float]
Thing = tuple[Box, float, int, bool, bytes]
"""Box, score, label, cut, outline."""


def things(found: Any) -> list[Thing]:
    """What was found as plain values, in an order of their own."""
    return sorted(
        (tuple(box), float(score), int(label), bool(cut), bytes(outline))
        for box, score, label, cut, outline in zip(
            found.boxes.tolist(), found.scores, found.labels, found.cut, found.outlines, strict=True
        )
    )


def naive_resolve(candidates: Candidates, rules: SeamRules) -> list[Thing]:
    """What ``resolve`` should say, in the order of :func:`things`."""
    members = [_Member(candidates, row, rules.views) for row in range(len(candidates))]
    groups = _groups([m for m in members if _size(m.box) > 0])
    results: list[tuple[Thing, list[_Member]]] = []
    for group in groups:
        if len(group) == 1 and rules.exclude_pad_detections and not group[0].owns:
            continue
        results.append((_thing(group), group))
    results.sort(key=lambda result: _rank(result[0]))
    kept: list[tuple[Thing, list[_Member]]] = []
    for thing, group in results:
        if not any(
            thing[2] == other[2]
            and _iou(thing[0], other[0]) > rules.nms_overlap
            and any(_shared(a.box, b.box) > 0 for a in group for b in others)
            for other, others in kept
        ):
            kept.append((thing, group))
    return sorted(thing for thing, _ in kept)


class _Member:
    """A candidate as plain values."""

    def __init__(self, candidates: Candidates, row: int, views: ChipViews) -> None:
        self.chip = tuple(candidates.chips[row].tolist())
        self.view = tuple(views.views(candidates.chips[row : row + 1])[0].tolist())
        self.box = _both(tuple(candidates.boxes[row].tolist()), self.view)
        self.score, self.label = float(candidates.scores[row]), int(candidates.labels[row])
        self.cut = tuple(candidates.cut[row].tolist())
        self.outline = bytes(candidates.outlines[row])
        x, y = (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2
        self.owns = (y // views.stride, x // views.stride) == self.chip

    @property
    def order(self) -> Any:
        row, col = self.chip
        x1, y1, x2, y2 = self.box
        return col, row, y2, x2, y1, x1, self.label, self.score, self.cut[::-1], self.outline


def _groups(members: list[_Member]) -> list[list[_Member]]:
    groups = [[member] for member in members]
    joined = True
    while joined:
        joined = False
        for first, second in combinations(groups, 2):
            if any(_same(a, b) for a in first for b in second):
                first.extend(second)
                groups.remove(second)
                joined = True
                break
    return groups


def _same(a: _Member, b: _Member) -> bool:
    both = _both(a.view, b.view)
    if a.chip == b.chip or a.label != b.label:
        return False
    if _size(both) == 0:
        return False
    if a.outline and b.outline:
        limits = shapely.box(*both)
        one, other = (shapely.from_wkb(m.outline) for m in (a, b))
        shared = one.intersection(other).intersection(limits).area
        common = one.intersection(limits).area + other.intersection(limits).area - shared
        return bool(common > 0 and shared / common > 0.5)
    return _iou(_both(a.box, both), _both(b.box, both)) > 0.5


def _thing(group: list[_Member]) -> Thing:
    whole = [member for member in group if not any(member.cut)]
    if whole:
        best = min(whole, key=lambda member: (not member.owns, -member.score, member.order))
        return best.box, best.score, best.label, False, best.outline
    x1, y1, x2, y2 = zip(*(member.box for member in group), strict=True)
    hull = (min(x1), min(y1), max(x2), max(y2))
    cut = any(_unseen(member, group) for member in group)
    return hull, max(member.score for member in group), group[0].label, cut, _outline(group)


def _unseen(member: _Member, group: list[_Member]) -> bool:
    """Whether a cut side of the member is left that no view of the group goes on beyond."""
    x1, y1, x2, y2 = member.box
    for side in range(4):
        if not member.cut[side]:
            continue
        for other in group:
            left, top, right, bottom = other.view
            further = (
                other.view[side] < member.view[side] if side < 2 else other.view[side] > member.view[side]
            )
            along = (top <= y1 and y2 <= bottom) if side in (0, 2) else (left <= x1 and x2 <= right)
            if further and along:
                break
        else:
            return True
    return False


def _outline(group: list[_Member]) -> bytes:
    if len(group) == 1 or not any(member.outline for member in group):
        return group[0].outline if len(group) == 1 else b""
    parts = [shapely.from_wkb(m.outline) if m.outline else shapely.box(*m.box) for m in group]
    return bytes(shapely.to_wkb(shapely.normalize(shapely.union_all(parts))))


def _rank(thing: Thing) -> Any:
    (x1, y1, x2, y2), score, label, cut, outline = thing
    return -score, y1, x1, y2, x2, label, cut, outline


def _both(a: Any, b: Any) -> Box:
    x1, y1 = max(a[0], b[0]), max(a[1], b[1])
    return x1, y1, max(x1, min(a[2], b[2])), max(y1, min(a[3], b[3]))


def _size(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(a: Box, b: Box) -> float:
    return _size(_both(a, b))


def _iou(a: Box, b: Box) -> float:
    shared = _shared(a, b)
    common = _size(a) + _size(b) - shared
    return shared / common if common > 0 else 0.0


def chips_of(views: ChipViews) -> np.ndarray:
    """(n, 2) row and column of every chip that owns some of the raster."""
    rows, cols = (-(-side // views.stride) for side in views.shape)
    return np.stack(np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij"), axis=-1).reshape(-1, 2)


def seen_by_chips(boxes: np.ndarray, views: ChipViews, *, margin: float = 0.0) -> Candidates:
    """What a faultless detector makes of boxes (n, 4): each chip finds what it sees of each, and no more.

    All have one label; ``margin`` is how near to the view's side a box counts as cut there.
    """
    chips, size = chips_of(views), np.array([*views.shape[::-1]] * 2, float)
    rows = []
    for chip in chips:
        view = views.views(chip[None])[0]
        for box in boxes:
            part = _both(tuple(box), tuple(view))
            if _size(part) > 0:
                near = np.abs(np.array(part) - view) <= margin
                inside = np.array([view[0] > 0, view[1] > 0, view[2] < size[2], view[3] < size[3]])
                rows.append((part, chip, near & inside))
    if not rows:
        return Candidates.empty()
    found, where, cut = (np.array(column) for column in zip(*rows, strict=True))
    count = len(found)
    outlines = np.full(count, b"", object)
    ones = np.ones(count)
    return Candidates(
        found, ones.astype(np.float32), ones.astype(np.int32), where.astype(np.int32), cut, outlines
    )


@st.composite
def views(draw: Any) -> ChipViews:
    padding = draw(st.integers(0, 6))
    stride = draw(st.integers(4, 12))
    shape = draw(st.tuples(st.integers(8, 50), st.integers(8, 50)))
    return ChipViews(tile=stride + 2 * padding, padding=padding, shape=shape)


@st.composite
def candidates(draw: Any, given_views: ChipViews, *, most: int = 24) -> Candidates:
    """Any boxes that chips might find: near the same few places, so that many agree, overlap, or are cut."""
    chips = chips_of(given_views)
    count = draw(st.integers(0, most))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spots = random.integers(0, [given_views.shape[1], given_views.shape[0]], (max(count // 4, 1), 2))
    chosen = chips[random.integers(0, len(chips), count)]
    start = spots[random.integers(0, len(spots), count)] + random.integers(-2, 3, (count, 2))
    sides = random.integers(1, draw(st.sampled_from([6, 16])), (count, 2)) / 2
    outlined = draw(st.booleans())
    boxes = np.concatenate([start, start + sides], axis=1).astype(float)
    outlines = np.full(count, b"", object)
    for row in np.flatnonzero(random.random(count) < 0.7) if outlined else []:
        x1, y1, x2, y2 = boxes[row]
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        ell = shapely.Polygon([(x1, y1), (x2, y1), (x2, y), (x, y), (x, y2), (x1, y2)])
        outlines[row] = shapely.to_wkb(ell if random.random() < 0.5 else shapely.box(x1, y1, x2, y2))
    return Candidates(
        boxes,
        random.choice(np.array([0.25, 0.5, 0.75], np.float32), count),
        random.integers(1, 3, count).astype(np.int32),
        chosen.astype(np.int32),
        random.random((count, 4)) < draw(st.sampled_from([0.0, 0.3, 0.9])),
        outlines,
    )


@st.composite
def cases(draw: Any) -> tuple[Candidates, SeamRules]:
    rules = SeamRules(draw(views()), draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])), draw(st.booleans()))
    return draw(candidates(rules.views)), rules
