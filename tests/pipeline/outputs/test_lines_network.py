"""Arcs of any parts of a raster give the network of the whole raster."""

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings, strategies as st
from skimage.morphology import thin

from rasterloom.pipeline.outputs.lines_chains import chains_of
from rasterloom.pipeline.outputs.lines_draw import FROM, LENGTH, TO, WIDTH, Drawing, Ground, Path, draw_lines
from rasterloom.pipeline.outputs.lines_network import Network, network_of
from rasterloom.pipeline.outputs.lines_trace import Arcs, arcs_of
from rasterloom.pipeline.rasters.grid import Grid, Window
from tests.support.lines import bodies, naive_lines

DIAGONAL = float(np.hypot(1, 1))


def _arcs(lines: np.ndarray, side: int) -> Arcs:
    """Arcs of all squares of a side, one square after the other."""
    height, width = lines.shape
    parts = []
    for row in range(0, height, side):
        for col in range(0, width, side):
            window = Window(row, col, min(side, height - row), min(side, width - col))
            around = np.pad(lines, 1)[row : row + window.height + 2, col : col + window.width + 2]
            parts.append(arcs_of(around, window, max(width, 3)))
    starts = np.cumsum([0, *np.concatenate([np.diff(part.starts) for part in parts])])
    return Arcs(np.concatenate([part.pixels for part in parts]), starts.astype(np.int64))


def _network(arcs: Arcs, columns: int, minimum_length: float) -> Network:
    return network_of(
        arcs.ends,
        arcs.steps(columns),
        columns,
        sizes=(1.0, 1.0, DIAGONAL, DIAGONAL),
        minimum_length=minimum_length,
    )


def _drawn(body: np.ndarray, side: int, minimum_length: float, **how: Any) -> list[dict[str, Any]]:
    arcs = _arcs(thin(body), side)
    height, width = body.shape
    ground = Ground(Grid("", (1.0, 0.0, -0.5, 0.0, 1.0, -0.5), height, width))  # y is the row, x the column
    network = _network(arcs, ground.columns, minimum_length)
    drawing = Drawing(ground=ground, **{"simplify": 0.0, **how})

    def path_of(row: int) -> Path:
        pixels = arcs.pixels[arcs.starts[row] : arcs.starts[row + 1]]
        return Path(pixels, (pixels % 7)[:, None].astype(float))

    block = draw_lines(network, 0, len(network), path_of, drawing)
    lines = [
        {
            "from": block.columns[FROM][row],
            "to": block.columns[TO][row],
            "points": shapely.get_coordinates(line)[:, ::-1].tolist(),
            "mean": block.columns[WIDTH][row],
            "length": block.columns[LENGTH][row],
        }
        for row, line in enumerate(block.geometry)
    ]
    return sorted(lines, key=lambda line: tuple(line.values()))


CROSS_IN_A_RING = np.array(
    [[0, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 1], [1, 0, 1, 0, 0, 1], [1, 1, 0, 0, 0, 1], [0, 1, 1, 1, 1, 0]], bool
)


@settings(deadline=None, max_examples=25)
@given(
    body=bodies(),
    side=st.sampled_from([1, 2, 3, 7, 20, 64]),
    least=st.sampled_from([0.0, 2.5, 4.0, 9.0, 30.0]),
)
@example(body=CROSS_IN_A_RING, side=2, least=0.0)
@example(body=CROSS_IN_A_RING, side=3, least=4.0)
@example(body=np.pad(np.zeros((3, 3), bool), 2, constant_values=True), side=3, least=100.0)
def test_the_network_is_that_of_the_plain_way(body: np.ndarray, side: int, least: float) -> None:
    found = _drawn(body, side, least)
    wanted = naive_lines(body, least)
    columns = max(body.shape[1], 3)
    for line in wanted:
        line["mean"] = float(np.mean([(row * columns + col) % 7 for row, col in line["pixels"]]))
    for lines in (
        found,
        wanted,
    ):  # parallel lines by what lies on them, which is told in steps of a thousandth
        lines.sort(key=lambda line: (line["from"], line["to"], round(1000 * line["mean"]), line["points"][1]))
    assert [(line["from"], line["to"]) for line in found] == [(line["from"], line["to"]) for line in wanted]
    for one, other in zip(found, wanted, strict=True):
        course, plain = shapely.linestrings(one["points"]), shapely.linestrings(other["points"])
        assert shapely.hausdorff_distance(course, plain) < 1e-9
        assert shapely.length(course) == pytest.approx(shapely.length(plain))
        assert one["points"][0] == pytest.approx(other["points"][0])
        assert one["mean"] == pytest.approx(other["mean"])


@settings(deadline=None, max_examples=25)
@given(
    body=bodies(),
    side=st.sampled_from([3, 8, 17]),
    simplify=st.sampled_from([0.0, 1.0, 5.0]),
    smooth=st.booleans(),
    least=st.sampled_from([0.0, 5.0]),
)
def test_drawn_lines_are_the_same_to_the_last_bit_however_they_are_cut(
    body: np.ndarray, side: int, simplify: float, smooth: bool, least: float
) -> None:
    whole = _drawn(body, 64, least, simplify=simplify, smooth=smooth)
    assert _drawn(body, side, least, simplify=simplify, smooth=smooth) == whole


@settings(deadline=None, max_examples=25)
@given(body=bodies(), simplify=st.sampled_from([0.0, 1.0, 5.0]), smooth=st.booleans())
def test_lines_that_share_a_node_end_in_the_very_same_point(
    body: np.ndarray, simplify: float, smooth: bool
) -> None:
    points: dict[int, set[tuple[float, ...]]] = {}
    for line in _drawn(body, 64, 0.0, simplify=simplify, smooth=smooth):
        coordinates = line["points"]
        assert len(coordinates) >= 2
        assert line["from"] != line["to"] or len({tuple(each) for each in coordinates}) >= 3
        points.setdefault(line["from"], set()).add(tuple(coordinates[0]))
        points.setdefault(line["to"], set()).add(tuple(coordinates[-1]))
    assert all(len(each) == 1 for each in points.values())
    assert len(set.union(set(), *points.values())) == len(points)


@settings(deadline=None, max_examples=25)
@given(body=bodies(), side=st.sampled_from([2, 5, 64]))
def test_every_step_between_two_pixels_is_in_one_arc(body: np.ndarray, side: int) -> None:
    arcs = _arcs(thin(body), side)
    inside = np.ones(len(arcs.pixels), bool)
    inside[arcs.starts[1:] - 1] = False
    first = np.flatnonzero(inside)
    steps = np.sort(np.stack([arcs.pixels[first], arcs.pixels[first + 1]], axis=1), axis=1)
    assert len(np.unique(steps, axis=0)) == len(steps) == arcs.steps(max(body.shape[1], 3)).sum()
    whole = _arcs(thin(body), 64)
    assert len(steps) == len(whole.pixels) - len(whole)


def test_a_short_spur_goes_and_the_longer_branch_of_a_fork_stays() -> None:
    body = np.zeros((20, 60), bool)
    body[10, 5:50] = True
    body[7:10, 25] = True  # a spur of three pixels in the middle
    body[10 - np.arange(5), 49 + np.arange(5)] = True  # a fork at the end: five up, three down
    body[10 + np.arange(3), 49 + np.arange(3)] = True
    assert len(_drawn(body, 64, 0.0)) == 5
    (line,) = _drawn(body, 64, 8.0)
    assert line["points"][0] == [6.0, 53.0]
    assert line["points"][-1] == [10.0, 5.0]
    assert not _drawn(body, 64, 100.0)


def test_chains_of_nothing_are_none() -> None:
    chains = chains_of(np.zeros((0, 2), np.int64), np.zeros(0, bool))
    assert not len(chains.links)
    assert chains.starts.tolist() == [0]


def test_a_ring_is_opened_at_its_point_of_least_rank() -> None:
    ends = np.array([[0, 1], [2, 1], [2, 0]])
    chains = chains_of(ends, np.zeros(3, bool), np.array([1, 1, 0]))
    first = ends[chains.links[0]][::-1] if chains.turned[0] else ends[chains.links[0]]
    assert first[0] == 2
    assert sorted(chains.links.tolist()) == [0, 1, 2]
