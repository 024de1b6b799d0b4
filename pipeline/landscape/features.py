"""Outlines with a class and a look, held as flat arrays so that thousands of them stay small."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rasterloom.pipeline.landscape.looks import LOOK_SIZE

BLOCK = 1024.0
"""Side in metres of the squares that own features. A feature reaches less than one block beyond its own."""

_STEPS_PER_METRE = 64


@dataclass(frozen=True)
class Features:
    """Polygons without holes, in the order in which they are painted."""

    vertices: np.ndarray
    """(V, 2) float64: metres east and south of the scene's upper-left corner; rings are not closed."""
    offsets: np.ndarray
    """(n + 1) int64: ring i is ``vertices[offsets[i]:offsets[i + 1]]``."""
    values: np.ndarray
    """(n) uint8 class values."""
    looks: np.ndarray
    """(n, LOOK_SIZE) float64 rows of the look table."""
    heights: np.ndarray
    """(n) float64 metres above the ground for what throws an outlined shadow, else 0."""

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def bounds(self) -> np.ndarray:
        """(n, 4): smallest x, smallest y, largest x, largest y."""
        if not len(self):
            return np.zeros((0, 4))
        low = np.minimum.reduceat(self.vertices, self.offsets[:-1])
        high = np.maximum.reduceat(self.vertices, self.offsets[:-1])
        return np.hstack([low, high])

    def touching(self, bounds: tuple[float, float, float, float]) -> np.ndarray:
        """Positions of those whose bounding box meets ``bounds`` (x0, y0, x1, y1), ascending."""
        x0, y0, x1, y1 = bounds
        own = self.bounds
        return np.flatnonzero((own[:, 0] < x1) & (own[:, 2] > x0) & (own[:, 1] < y1) & (own[:, 3] > y0))

    def ring(self, position: int) -> np.ndarray:
        """Vertices (k, 2) of one polygon, not closed."""
        return self.vertices[self.offsets[position] : self.offsets[position + 1]]

    def take(self, positions: np.ndarray) -> "Features":
        """Those at ``positions``, in that order."""
        if len(positions) == len(self):
            return self
        rings = [self.ring(p) for p in positions]
        return Features(
            vertices=np.concatenate(rings) if rings else np.zeros((0, 2)),
            offsets=np.concatenate([[0], np.cumsum([len(r) for r in rings], dtype=np.int64)]),
            values=self.values[positions],
            looks=self.looks[positions],
            heights=self.heights[positions],
        )


def polygons(
    rings: np.ndarray, values: np.ndarray | int, looks: np.ndarray, heights: np.ndarray | float = 0.0
) -> Features:
    """Features from rings of one length, (n, k, 2) metres, their vertices snapped."""
    count, length = rings.shape[:2]
    return Features(
        vertices=snap(rings).reshape(-1, 2),
        offsets=np.arange(count + 1, dtype=np.int64) * length,
        values=np.broadcast_to(values, count).astype(np.uint8),
        looks=looks,
        heights=np.broadcast_to(heights, count).astype(np.float64),
    )


def nothing() -> Features:
    """No features."""
    return polygons(np.zeros((0, 4, 2)), np.zeros(0), np.zeros((0, LOOK_SIZE)))


def join(parts: Sequence[Features]) -> Features:
    """All features of ``parts``, in order."""
    parts = [part for part in parts if len(part)] or [nothing()]
    shifts = np.cumsum([0] + [len(part.vertices) for part in parts])
    starts = [part.offsets[:-1] + shift for part, shift in zip(parts, shifts, strict=False)]
    return Features(
        vertices=np.concatenate([part.vertices for part in parts]),
        offsets=np.concatenate([*starts, shifts[-1:]]),
        values=np.concatenate([part.values for part in parts]),
        looks=np.concatenate([part.looks for part in parts]),
        heights=np.concatenate([part.heights for part in parts]),
    )


def snap(points: np.ndarray) -> np.ndarray:
    """Odd multiples of 1/128 m, so that no vertex lies on a pixel's centre.

    Few binary digits make every step of a scanline fill exact for cell sizes that are powers of two: a
    polygon covers the same pixels whether it is burned into a window or into the whole scene.
    """
    return (np.floor(points * _STEPS_PER_METRE) + 0.5) / _STEPS_PER_METRE


def ribbons(lines: np.ndarray, widths: np.ndarray, *, overrun: float = 0.0) -> np.ndarray:
    """Rings (n, 2k, 2) around centre lines (n, k, 2), ``widths`` (n) or (n, k) metres wide.

    ``overrun`` lengthens both ends by that share of half the width, which closes corners and crossings.
    """
    half = np.broadcast_to(widths.reshape(len(lines), -1) / 2.0, lines.shape[:2])[..., None]
    forward = np.gradient(lines, axis=1)
    forward /= np.linalg.norm(forward, axis=2, keepdims=True)
    lines = lines.copy()
    lines[:, 0] -= overrun * half[:, 0] * forward[:, 0]
    lines[:, -1] += overrun * half[:, -1] * forward[:, -1]
    aside = np.stack([-forward[..., 1], forward[..., 0]], axis=-1) * half
    return np.concatenate([lines + aside, (lines - aside)[:, ::-1]], axis=1)


def blobs(
    rng: np.random.Generator, centres: np.ndarray, radii: np.ndarray, *, points: int, ragged: float
) -> np.ndarray:
    """Star-shaped rings (n, points, 2) about ``centres`` that stay within ``radii`` metres."""
    count = len(centres)
    angle = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    wave = np.arange(2, 9)
    swing = ragged * rng.uniform(0.4, 1.0, (count, len(wave))) / wave
    phase = rng.uniform(0.0, 2.0 * np.pi, (count, len(wave)))
    radius = 1.0 + np.einsum("nw,nwp->np", swing, np.cos(wave[:, None] * angle + phase[..., None]))
    radius *= (radii / radius.max(axis=1))[:, None]
    flat, turn = rng.uniform(0.6, 1.0, (count, 1)), rng.uniform(0.0, np.pi, (count, 1))
    u, v = radius * np.cos(angle), radius * np.sin(angle) * flat
    x, y = u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)
    return centres[:, None, :] + np.stack([x, y], axis=-1)
