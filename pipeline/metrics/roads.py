"""How well found road lines agree with true ones: along their length, and in the ways they offer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.metrics.roads_graph import RoadGraph
from rasterloom.pipeline.metrics.roads_lines import road_lines

_SOURCES = 64
"""Points from which ways are looked for at once."""


@dataclass(frozen=True, kw_only=True)
class LineQuality:
    """Shares of length that agree; nan where there is nothing to take a share of."""

    completeness: float
    """Share of the true lines that lie near found ones."""
    correctness: float
    """Share of the found lines that lie near true ones."""
    quality: float
    """Found lines near true ones, as a share of all found ones and of the true ones that were not found."""
    truth_length: float
    """In the units of the buffer."""
    proposal_length: float


def line_quality(truth: Any, proposal: Any, buffer: float) -> LineQuality:
    """Compare lines by how much of them lies within a distance of the others.

    Parameters
    ----------
    truth, proposal
        Lines: path or URL of a layer, a GeoDataFrame or GeoSeries, or an array of geometries. Where they have
        a CRS, that of the truth is taken, or metres around the truth where it measures in degrees.
    buffer
        Furthest that lines may lie apart, in units of that CRS; above 0.

    Returns
    -------
    LineQuality

    Raises
    ------
    SettingError
        If the buffer cannot work.
    MissingInputError, LabelError, CrsError
        If the lines cannot be read or compared.

    References
    ----------
    Heipke, Mayer, Wiedemann and Jamet (1997), Evaluation of automatic road extraction.
    """
    _check(buffer=buffer)
    true, found = road_lines(truth, proposal)
    true_length, found_length = float(shapely.length(true).sum()), float(shapely.length(found).sum())
    true_near = _length_within(true, found, buffer)
    found_near = _length_within(found, true, buffer)
    return LineQuality(
        completeness=_share(true_near, true_length),
        correctness=_share(found_near, found_length),
        quality=_share(found_near, found_length + true_length - true_near),
        truth_length=true_length,
        proposal_length=found_length,
    )


@dataclass(frozen=True, kw_only=True)
class PathSimilarity:
    """How alike the ways through two road networks are, 0..1; nan where there is nothing to compare."""

    apls: float
    """Harmonic mean of the two below; 0 where one of them is."""
    truth_to_proposal: float
    """How well ways of the true network are kept in the found one: falls with gaps."""
    proposal_to_truth: float
    """How well ways of the found network are in the true one: falls with lines that are none."""
    paths: int
    """Ways that were compared, of both kinds."""


def apls(
    truth: Any,
    proposal: Any,
    *,
    spacing: float = 50.0,
    tolerance: float = 4.0,
    shortest: float = 10.0,
    most_sources: int = 500,
) -> PathSimilarity:
    """Average path length similarity: compare the lengths of shortest ways between the same places.

    Places are the ends and crossings of lines and points along them. Each is looked for in the other network.
    The ways between every two, where the first network has one, are compared: a way that is missing counts 1,
    another the difference of both lengths as a share of the first, at most 1. The result is one less their
    mean. Lines are connected where they have a point of their course in common: crossing alone, as bridges
    do, connects nothing.

    Parameters
    ----------
    truth, proposal
        As for :func:`line_quality`.
    spacing
        Distance of places along lines, at most; above 0.
    tolerance
        Furthest that a place may lie from the other network, above 0.
    shortest
        Shorter ways are left out.
    most_sources
        Ways begin at no more places than so many, taken evenly from all, and end at all of them.

    Returns
    -------
    PathSimilarity

    Raises
    ------
    SettingError
        If a number cannot work.
    MissingInputError, LabelError, CrsError
        If the lines cannot be read or compared.

    References
    ----------
    Van Etten, Lindenbaum and Bacastow (2018), SpaceNet: a remote sensing dataset and challenge series,
    arXiv:1807.01232, section 5.
    """
    _check(spacing=spacing, tolerance=tolerance, most_sources=most_sources)
    true, found = road_lines(truth, proposal)
    true_graph, found_graph = RoadGraph.of(true), RoadGraph.of(found)
    one, some = _kept_ways(true_graph, found_graph, spacing, tolerance, shortest, most_sources)
    other, more = _kept_ways(found_graph, true_graph, spacing, tolerance, shortest, most_sources)
    return PathSimilarity(
        apls=_harmonic(one, other), truth_to_proposal=one, proposal_to_truth=other, paths=some + more
    )


def _check(**numbers: float) -> None:
    for name, value in numbers.items():
        if not (isinstance(value, int | float) and np.isfinite(value) and value > 0):
            raise SettingError(f"{name}={value!r} cannot work: use a number above 0.")


def _share(part: float, whole: float) -> float:
    return min(part / whole, 1.0) if whole > 0 else float("nan")


def _harmonic(one: float, other: float) -> float:
    if np.isnan(one) and np.isnan(other):
        return float("nan")
    one, other = np.nan_to_num([one, other]).tolist()  # a network without ways has none of the other's
    return 2 * one * other / (one + other) if one + other > 0 else 0.0


def _length_within(lines: np.ndarray, others: np.ndarray, distance: float) -> float:
    """Length of all parts of lines that lie within a distance of others."""
    if not len(lines) or not len(others):
        return 0.0
    tree = shapely.STRtree(others)
    mine, theirs = tree.query(lines, predicate="dwithin", distance=distance)
    order = np.argsort(mine, kind="stable")
    mine, theirs = mine[order], theirs[order]
    total = 0.0
    begins = np.flatnonzero(np.diff(mine, prepend=-1))
    for group in np.split(np.arange(len(mine)), begins[1:]):
        if len(group):
            around = shapely.union_all(shapely.buffer(others[theirs[group]], distance, quad_segs=16))
            total += float(shapely.length(shapely.intersection(lines[mine[group[0]]], around)))
    return total


def _kept_ways(
    graph: RoadGraph, other: RoadGraph, spacing: float, tolerance: float, shortest: float, most: int
) -> tuple[float, int]:
    """One less the mean loss of the ways through a graph in another one, and how many ways there are."""
    places = graph.places(spacing)
    ways, here = graph.joined(places, np.inf)
    others, there = other.joined(places, tolerance)
    count = len(places)
    sources = np.unique(np.linspace(0, count - 1, min(count, int(most))).round().astype(np.int64))
    loss, pairs = 0.0, 0
    for start in range(0, len(sources), _SOURCES):
        some = sources[start : start + _SOURCES]
        long, kept = ways(here[some], here), others(there[some], there)
        counted = np.isfinite(long) & (long >= max(shortest, 1e-9))
        # each two once: from a source to what comes after it, or to what is no source
        later = (np.arange(count) > some[:, None]) | ~np.isin(np.arange(count), sources)
        counted &= later
        with np.errstate(invalid="ignore"):
            lost = np.abs(long - kept)[counted] / long[counted]
        loss += float(np.where(np.isfinite(lost), np.minimum(lost, 1.0), 1.0).sum())
        pairs += int(counted.sum())
    return (1 - loss / pairs if pairs else float("nan")), pairs
