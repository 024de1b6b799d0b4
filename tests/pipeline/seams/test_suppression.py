"""Suppression: that of torchvision, in double precision, and of the shapes themselves."""

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings, strategies as st
from torchvision.ops import nms

from rasterloom.pipeline.seams import suppression
from rasterloom.pipeline.seams.greedy import DROPPED, KEPT, OPEN
from rasterloom.pipeline.seams.suppression import suppress_shapes


def random_boxes(count: int, side: float, *, seed: int = 0, large: float = 30.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, side, (count, 2))
    return np.concatenate([corners, corners + random.uniform(0, large, (count, 2))], axis=1)


def torchvision_keeps(boxes: np.ndarray, labels: np.ndarray, threshold: float) -> list[int]:
    """Rows that torchvision keeps of boxes in the order of rank, each label by itself."""
    scores = torch.arange(len(boxes), 0, -1, dtype=torch.float64)
    kept: list[int] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        kept += rows[nms(torch.tensor(boxes[rows]), scores[rows], threshold).numpy()].tolist()
    return sorted(kept)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("chunk", [7, 100_000])
def test_random_boxes_are_kept_as_torchvision_keeps_them(
    threshold: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppression, "_CHUNK", chunk)
    count = 60 * chunk if chunk < 100 else 5000
    boxes = random_boxes(count, 400, large=60)
    boxes[::5] = boxes[3 % count]  # some are one and the same
    labels = np.random.default_rng(1).integers(0, 3, count)
    state = suppress_shapes(boxes, labels, threshold)
    assert np.flatnonzero(state == KEPT).tolist() == torchvision_keeps(boxes, labels, threshold)
    assert set(state.tolist()) <= {KEPT, DROPPED}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2, 0.5]), st.booleans())
def test_what_is_decided_early_holds_and_the_rest_can_be_decided_alone(
    seed: int, threshold: float, drawn: bool
) -> None:
    random = np.random.default_rng(seed)
    count = 40
    boxes, labels = random_boxes(count, 60, seed=seed), random.integers(0, 2, count)
    shapes = _some_drawn(boxes, random) if drawn else None
    unknown = random.random(count) < 0.3
    whole = suppress_shapes(boxes, labels, threshold, shapes=shapes)
    state = suppress_shapes(boxes, labels, threshold, shapes=shapes, unknown=unknown)
    decided = state != OPEN
    assert (state[decided] == whole[decided]).all()
    rest = np.flatnonzero(~decided)
    later = suppress_shapes(
        boxes[rest], labels[rest], threshold, shapes=None if shapes is None else shapes[rest]
    )
    assert (later == whole[rest]).all()


def _some_drawn(boxes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    shapes = np.full(len(boxes), None, object)
    for row in np.flatnonzero(random.random(len(boxes)) < 0.5):
        x1, y1, x2, y2 = boxes[row]
        shapes[row] = shapely.Polygon([(x1, y1), (x2, y1), (x1, y2)])
    return shapes


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2, 0.5]))
def test_shapes_are_compared_as_what_they_are(seed: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    boxes = random_boxes(25, 50, seed=seed)
    shapes = _some_drawn(boxes, random)
    state = suppress_shapes(boxes, np.zeros(25, int), threshold, shapes=shapes)
    kept: list[int] = []
    outlines = [shape or shapely.box(*box) for shape, box in zip(shapes, boxes, strict=True)]
    for row, outline in enumerate(outlines):
        others = [outlines[other] for other in kept]
        shares = [outline.intersection(o).area / outline.union(o).area for o in others]
        if not any(share > threshold + 1e-12 for share in shares):
            kept.append(row)
    assert np.flatnonzero(state == KEPT).tolist() == kept


def test_two_triangles_of_one_box_do_not_overlap() -> None:
    boxes = np.array([[0.0, 0, 4, 4]] * 2)
    shapes = np.array([shapely.Polygon([(0, 0), (4, 0), (0, 4)]), shapely.Polygon([(4, 4), (4, 0), (0, 4)])])
    assert suppress_shapes(boxes, np.zeros(2), 0.0).tolist() == [KEPT, DROPPED]
    assert suppress_shapes(boxes, np.zeros(2), 0.0, shapes=shapes).tolist() == [KEPT, KEPT]


def test_boxes_that_are_all_in_one_place_do_not_fill_the_memory() -> None:
    boxes = np.repeat([[0.0, 0, 1, 1]], 20_000, axis=0)
    assert suppress_shapes(boxes, np.zeros(len(boxes)), 0.5).tolist() == [KEPT] + [DROPPED] * 19_999


@pytest.mark.parametrize(("threshold", "kept"), [(0.3, [0, 2, 4, 6, 8]), (0.4, list(range(10)))])
def test_in_a_chain_every_other_link_is_kept(threshold: float, kept: list[int]) -> None:
    start = np.arange(10) * 0.5  # neighbours share a third of their common area
    boxes = np.stack([start, start * 0, start + 1, start * 0 + 1], axis=1)
    assert np.flatnonzero(suppress_shapes(boxes, np.zeros(10), threshold) == KEPT).tolist() == kept


def test_what_has_no_area_overlaps_nothing() -> None:
    boxes = np.array([[0.0, 0, 4, 4], [1, 1, 1, 3], [2, 2, 2, 2], [1, 1, 1, 3]])
    assert suppress_shapes(boxes, np.zeros(4), 0.0).tolist() == [KEPT] * 4
