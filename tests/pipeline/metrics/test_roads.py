"""Agreement of road lines: figures that can be reckoned by hand, and what must hold of all."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from scipy.sparse.csgraph import floyd_warshall
from shapely import LineString

from rasterloom.models.errors import CrsError, LabelError, MissingInputError, SettingError
from rasterloom.pipeline import apls, line_quality

ANGLE = [LineString([(0, 0), (500, 0)]), LineString([(500, 0), (500, 500)])]


@st.composite
def networks(draw: st.DrawFn) -> list[LineString]:
    """Some streets of a grid of hundred metres."""
    random = np.random.default_rng(draw(st.integers(0, 9999)))
    spots = [(100 * x, 100 * y) for x in range(4) for y in range(4)]
    pairs = [(a, b) for a in spots for b in spots if a < b and abs(a[0] - b[0]) + abs(a[1] - b[1]) == 100]
    kept = random.random(len(pairs)) < draw(st.sampled_from([0.3, 0.7, 1.0]))
    return [LineString(pair) for pair, keep in zip(pairs, kept, strict=True) if keep]


@settings(deadline=None, max_examples=30)
@given(lines=networks())
def test_a_network_agrees_with_itself_however_its_lines_are_cut(lines: list[LineString]) -> None:
    if not lines:
        return
    halves = [shapely.segmentize(line, 37.0) for line in lines]
    pieces = [
        LineString(pair) for line in halves for pair in zip(line.coords[:-1], line.coords[1:], strict=True)
    ]
    same = apls(lines, pieces)
    assert same.apls == pytest.approx(1)
    assert same.truth_to_proposal == pytest.approx(1)
    quality = line_quality(lines, pieces, 1.0)
    assert (quality.completeness, quality.correctness, quality.quality) == pytest.approx((1, 1, 1))


@settings(deadline=None, max_examples=30)
@given(truth=networks(), proposal=networks())
def test_both_directions_swap_with_the_networks(truth: list[LineString], proposal: list[LineString]) -> None:
    one, other = apls(truth, proposal), apls(proposal, truth)
    assert one.truth_to_proposal == pytest.approx(other.proposal_to_truth, nan_ok=True)
    assert one.apls == pytest.approx(other.apls, nan_ok=True)
    here, there = line_quality(truth, proposal, 3.0), line_quality(proposal, truth, 3.0)
    assert here.completeness == pytest.approx(there.correctness, nan_ok=True)
    if truth and proposal:
        assert 0 <= one.apls <= 1
        assert 0 <= here.quality <= min(here.completeness, here.correctness) + 1e-9


@settings(deadline=None, max_examples=30)
@given(truth=networks(), proposal=networks())
def test_path_lengths_are_those_of_a_plain_search(
    truth: list[LineString], proposal: list[LineString]
) -> None:
    found = apls(truth, proposal, spacing=100, tolerance=4)
    spots = sorted({point for line in truth for point in line.coords})
    loss = []
    here, there = _plain_ways(truth, spots), _plain_ways(proposal, spots)
    for one in range(len(spots)):
        for other in range(one + 1, len(spots)):
            if np.isfinite(here[one, other]):
                lost = abs(here[one, other] - there[one, other]) / here[one, other]
                loss.append(min(lost, 1))
    assert found.truth_to_proposal == pytest.approx(1 - np.mean(loss) if loss else np.nan, nan_ok=True)


def _plain_ways(lines: list[LineString], spots: list[tuple[float, ...]]) -> np.ndarray:
    graph = np.full((len(spots) + 16,) * 2, np.inf)
    every = spots + sorted({point for line in lines for point in line.coords} - set(spots))
    for line in lines:
        a, b = (every.index(point) for point in line.coords)
        graph[a, b] = graph[b, a] = line.length
    return np.asarray(floyd_warshall(graph)[: len(spots), : len(spots)])


def test_half_of_the_lines_found_is_half_complete_and_wholly_correct() -> None:
    quality = line_quality(ANGLE, ANGLE[:1], 3)
    assert quality.completeness == pytest.approx(0.503, abs=1e-3)  # three metres beyond the corner are near
    assert quality.correctness == pytest.approx(1)
    assert quality.quality == pytest.approx(500 / (500 + 497), abs=1e-3)
    assert (quality.truth_length, quality.proposal_length) == (1000, 500)


def test_a_gap_that_hardly_shortens_lines_breaks_the_ways_through_them() -> None:
    gap = [LineString([(0, 1), (240, 1)]), LineString([(260, 1), (500, 1)]), ANGLE[1]]
    assert line_quality(ANGLE, gap, 3).quality > 0.97
    broken = apls(ANGLE, gap)
    assert broken.proposal_to_truth > 0.98
    assert broken.truth_to_proposal < 0.6
    assert broken.apls == pytest.approx(
        2 / (1 / broken.truth_to_proposal + 1 / broken.proposal_to_truth), rel=1e-9
    )


def test_lines_that_only_cross_are_not_connected() -> None:
    crossing = [LineString([(0, 0), (100, 0)]), LineString([(50, -50), (50, 50)])]
    meeting = [LineString([(0, 0), (50, 0), (100, 0)]), LineString([(50, -50), (50, 0), (50, 50)])]
    assert apls(meeting, crossing).truth_to_proposal < 0.7
    assert apls(crossing, meeting).truth_to_proposal == pytest.approx(1)


def test_few_sources_tell_about_the_same_as_all() -> None:
    random = np.random.default_rng(0)
    streets = [LineString([(100 * x, 0), (100 * x, 900)]) for x in range(10)]
    streets = [shapely.segmentize(line, 100) for line in streets]
    streets += [shapely.segmentize(LineString([(0, 100 * y), (900, 100 * y)]), 100) for y in range(10)]
    pieces = [
        LineString(pair) for line in streets for pair in zip(line.coords[:-1], line.coords[1:], strict=True)
    ]
    found = [piece for piece in pieces if random.random() < 0.8]
    every, some = apls(pieces, found, most_sources=10_000), apls(pieces, found, most_sources=40)
    assert some.paths < every.paths / 2
    assert some.apls == pytest.approx(every.apls, abs=0.03)


def test_nothing_to_compare_is_no_figure_and_nothing_found_is_zero() -> None:
    assert np.isnan(apls([], []).apls)
    assert apls(ANGLE, []).apls == 0
    assert apls([], ANGLE).apls == 0
    nothing = line_quality(ANGLE, [], 3)
    assert (nothing.completeness, nothing.quality) == (0, 0)
    assert np.isnan(nothing.correctness)
    assert np.isnan(line_quality([], [], 3).quality)


def test_layers_are_brought_into_metres(tmp_path: Path) -> None:
    truth = geopandas.GeoDataFrame(geometry=[LineString([(15, 60), (15.01, 60)])], crs=4326)
    moved = truth.to_crs(32633).translate(0, 5)
    truth.to_file(tmp_path / "truth.gpkg")
    moved.to_frame("geometry").to_parquet(tmp_path / "found.parquet")
    near = line_quality(tmp_path / "truth.gpkg", str(tmp_path / "found.parquet"), 6)
    assert near.quality == pytest.approx(1, abs=0.02)
    assert near.truth_length == pytest.approx(558, rel=0.01)
    assert line_quality(truth, moved, 4).quality == 0


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="buffer=0"):
        line_quality(ANGLE, ANGLE, 0)
    with pytest.raises(SettingError, match="spacing=-1"):
        apls(ANGLE, ANGLE, spacing=-1)
    with pytest.raises(CrsError, match="truth has no CRS"):
        apls(ANGLE, geopandas.GeoSeries(ANGLE, crs=32633))
    with pytest.raises(LabelError, match="proposal holds polygons"):
        apls(ANGLE, [shapely.box(0, 0, 1, 1)])
    with pytest.raises(MissingInputError, match="there is no layer at"):
        apls(tmp_path / "none.gpkg", ANGLE)
    (tmp_path / "text.gpkg").write_text("no layer")
    with pytest.raises(LabelError, match="no vector layer"):
        apls(tmp_path / "text.gpkg", ANGLE)
