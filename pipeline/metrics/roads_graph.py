"""Road lines as a graph in which ways can be looked for."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

Ways = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From points (s) to points (t) of a graph, by number, -1 for none: lengths (s, t) of the shortest ways."""

_DIGITS = 6
"""Decimals to which points must agree to be one."""


@dataclass(frozen=True, eq=False)
class RoadGraph:
    """Straight pieces between points; pieces with a point in common are connected."""

    lines: np.ndarray
    """(l,) the lines themselves."""
    points: np.ndarray
    """(p, 2) float64"""
    pieces: np.ndarray
    """(n, 2) int64, numbers of the points at both ends."""

    @classmethod
    def of(cls, lines: np.ndarray) -> "RoadGraph":
        """The graph of lines."""
        points, line = shapely.get_coordinates(lines, return_index=True)
        # 0.0 is added so that -0 and 0 are one
        points, number = np.unique(points.round(_DIGITS) + 0.0, axis=0, return_inverse=True)
        number = number.reshape(-1)
        along = np.flatnonzero(line[1:] == line[:-1])
        pieces = np.stack([number[along], number[along + 1]], axis=1)
        return cls(lines, points, pieces[pieces[:, 0] != pieces[:, 1]])

    def places(self, spacing: float) -> np.ndarray:
        """(n, 2) ends and crossings, and points along each line no further apart than ``spacing``."""
        degree = np.bincount(self.pieces.reshape(-1), minlength=len(self.points))
        found = [self.points[(degree != 2) & (degree > 0)]]
        lengths = shapely.length(self.lines)
        parts = np.maximum(np.ceil(lengths / spacing), 1).astype(np.int64)
        line = np.repeat(np.arange(len(parts)), parts + 1)
        place = np.arange(len(line)) - np.repeat(np.cumsum(parts + 1) - parts - 1, parts + 1)
        along = shapely.line_interpolate_point(self.lines[line], place / parts[line], normalized=True)
        found.append(shapely.get_coordinates(along))
        return np.unique(np.concatenate(found).round(_DIGITS) + 0.0, axis=0)

    def joined(self, places: np.ndarray, tolerance: float) -> tuple[Ways, np.ndarray]:
        """The graph with places put into it where they are nearest, and the number of each: -1 if too far."""
        numbers = np.full(len(places), -1, np.int64)
        if not len(self.pieces) or not len(places):
            return self._ways(np.zeros((0, 2), np.int64), np.zeros(0), len(self.points)), numbers
        ends = self.points[self.pieces]  # (piece, end, 2)
        spot = shapely.points(places)
        shapes = shapely.linestrings(ends)
        limit = None if np.isinf(tolerance) else tolerance
        near, piece = shapely.STRtree(shapes).query_nearest(spot, max_distance=limit, all_matches=False)
        share = shapely.line_locate_point(shapes[piece], spot[near], normalized=True)
        numbers[near] = len(self.points) + np.arange(len(near))
        # each piece is cut at its ends and at the places on it
        count = len(self.pieces)
        owner = np.concatenate([np.arange(count), np.arange(count), piece])
        where = np.concatenate([np.zeros(count), np.ones(count), share])
        point = np.concatenate([self.pieces[:, 0], self.pieces[:, 1], numbers[near]])
        order = np.lexsort((where, owner))
        owner, where, point = owner[order], where[order], point[order]
        long = np.hypot(*(ends[:, 1] - ends[:, 0]).T)
        same = np.flatnonzero(owner[1:] == owner[:-1])
        links = np.stack([point[same], point[same + 1]], axis=1)
        return self._ways(
            links, (where[same + 1] - where[same]) * long[owner[same]], len(self.points) + len(near)
        ), numbers

    @staticmethod
    def _ways(links: np.ndarray, lengths: np.ndarray, count: int) -> Ways:
        # of several pieces between the same points the shortest counts, and csgraph takes 0 for no link
        order = np.argsort(lengths, kind="stable")
        ends = np.sort(links, axis=1)[order]
        ends, first = np.unique(ends, axis=0, return_index=True)
        weights = np.maximum(lengths[order][first], 1e-12)
        graph = coo_array((weights, (ends[:, 0], ends[:, 1])), shape=(count, count)).tocsr()

        def ways(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
            found = np.full((len(sources), len(targets)), np.inf)
            known, wanted = np.flatnonzero(sources >= 0), np.flatnonzero(targets >= 0)
            if len(known) and len(wanted):
                reached = dijkstra(graph, directed=False, indices=sources[known])
                found[np.ix_(known, wanted)] = reached[:, targets[wanted]]
            return found

        return ways
