"""Squares of cells, squares of such squares, and so on up to one that holds the whole run."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rasterloom.pipeline.seams.candidates import ChipViews
from rasterloom.pipeline.seams.resolve import Exposed

FAN = 4
"""Children on each side of a node."""

MOST_BATCHES = 10_000
"""Above this many nodes in a level, several go into one batch."""


@dataclass(frozen=True)
class NodeBlock:
    """A rectangle of neighbouring nodes of one level: the work of one task."""

    level: int
    row: int
    col: int
    rows: int
    cols: int

    @property
    def id(self) -> str:
        return f"{self.level}_{self.row}_{self.col}_{self.rows}_{self.cols}"

    @property
    def cells(self) -> int:
        return self.rows * self.cols

    def halves(self) -> "tuple[NodeBlock, NodeBlock] | None":
        """The block cut across its longer side; None when it is a single node."""
        if self.cells == 1:
            return None
        if self.rows >= self.cols:
            cut = self.rows // 2
            return (
                NodeBlock(self.level, self.row, self.col, cut, self.cols),
                NodeBlock(self.level, self.row + cut, self.col, self.rows - cut, self.cols),
            )
        cut = self.cols // 2
        return (
            NodeBlock(self.level, self.row, self.col, self.rows, cut),
            NodeBlock(self.level, self.row, self.col + cut, self.rows, self.cols - cut),
        )

    def nodes(self) -> "Iterator[Node]":
        """Every node, row-major."""
        for row in range(self.row, self.row + self.rows):
            for col in range(self.col, self.col + self.cols):
                yield Node(self.level, row, col)

    def cell_ids(self) -> Iterator[str]:
        return (node.id for node in self.nodes())


@dataclass(frozen=True)
class Node:
    """A square of cells."""

    level: int
    """0 for FAN x FAN cells, one more for each FAN x FAN of those."""
    row: int
    col: int

    @property
    def id(self) -> str:
        return f"{self.level}_{self.row}_{self.col}"


@dataclass(frozen=True, kw_only=True)
class CellTree:
    """The cells of a run, and the squares of them in which their findings are settled."""

    row: int
    """First row of cells."""
    col: int
    """First column of cells."""
    rows: int
    """Cells down, at least 1."""
    cols: int
    """Cells across, at least 1."""
    strides: int
    """Chips on each side of a cell. Cell (r, c) has the chips from (r * strides, c * strides) on."""

    @property
    def levels(self) -> int:
        """How many levels there are; the last has one node."""
        side, levels = FAN, 1
        while side < max(self.rows, self.cols):
            side, levels = side * FAN, levels + 1
        return levels

    def shape(self, level: int) -> tuple[int, int]:
        """Nodes of a level, down and across. Level -1 are the cells themselves."""
        side = FAN ** (level + 1)
        return -(-self.rows // side), -(-self.cols // side)

    def blocks(self, level: int) -> Iterator[NodeBlock]:
        """All nodes of a level in at most MOST_BATCHES rectangles, row-major."""
        rows, cols = self.shape(level)
        side = self._block_side(level)
        for row in range(0, rows, side):
            for col in range(0, cols, side):
                yield NodeBlock(level, row, col, min(side, rows - row), min(side, cols - col))

    def block_count(self, level: int) -> int:
        """How many rectangles :meth:`blocks` makes."""
        side = self._block_side(level)
        return math.prod(-(-count // side) for count in self.shape(level))

    def children(self, node: Node) -> Iterator[Node]:
        """The nodes below; below level 0, the cells as nodes of level -1, counted from the run's first."""
        rows, cols = self.shape(node.level - 1)
        for row in range(node.row * FAN, min((node.row + 1) * FAN, rows)):
            for col in range(node.col * FAN, min((node.col + 1) * FAN, cols)):
                yield Node(node.level - 1, row, col)

    def exposed(self, node: Node, views: ChipViews) -> Exposed:
        """Which boxes a chip of the run, but not of the node, sees some of."""
        cells = FAN ** (node.level + 1)
        side = self.strides * views.stride  # of a cell, in pixels
        top, bottom = _within(node.row, cells, self.row, self.rows, side, views.padding)
        left, right = _within(node.col, cells, self.col, self.cols, side, views.padding)

        def some(boxes: np.ndarray) -> np.ndarray:
            x1, y1, x2, y2 = boxes.T
            return (x1 < left) | (y1 < top) | (x2 > right) | (y2 > bottom)

        return some

    def _block_side(self, level: int) -> int:
        return max(1, math.ceil(math.sqrt(math.prod(self.shape(level)) / MOST_BATCHES)))


def _within(place: int, cells: int, start: int, count: int, side: int, padding: int) -> tuple[float, float]:
    """From where to where, along one axis, only the node's own chips see; no limit at the run's ends."""
    first, stop = place * cells, (place + 1) * cells
    low = (start + first) * side + padding if first > 0 else -math.inf
    high = (start + stop) * side - padding if stop < count else math.inf
    return low, high
