"""Squares of cells: every cell in one node of each level, and every border where it is."""

import numpy as np
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.seams.candidates import ChipViews
from rasterloom.pipeline.seams.nodes import MOST_BATCHES, CellTree, Node

trees = st.builds(
    CellTree,
    row=st.integers(0, 30),
    col=st.integers(0, 30),
    rows=st.integers(1, 40),
    cols=st.integers(1, 40),
    strides=st.integers(1, 3),
)


def cells_of(tree: CellTree, node: Node) -> list[tuple[int, int]]:
    if node.level < 0:
        return [(node.row, node.col)]
    return [cell for child in tree.children(node) for cell in cells_of(tree, child)]


@settings(max_examples=50, deadline=None)
@given(trees)
def test_each_cell_is_in_exactly_one_node_of_each_level(tree: CellTree) -> None:
    everything = [(row, col) for row in range(tree.rows) for col in range(tree.cols)]
    for level in range(tree.levels):
        nodes = [node for block in tree.blocks(level) for node in block.nodes()]
        assert sorted(cell for node in nodes for cell in cells_of(tree, node)) == everything
    assert tree.shape(tree.levels - 1) == (1, 1)


@settings(max_examples=50, deadline=None)
@given(trees, st.data())
def test_a_box_is_exposed_if_a_chip_outside_the_node_sees_some_of_it(
    tree: CellTree, data: st.DataObject
) -> None:
    views = ChipViews(tile=9, padding=2, shape=(10_000, 10_000))
    level = data.draw(st.integers(0, tree.levels - 1))
    node = data.draw(st.sampled_from([node for block in tree.blocks(level) for node in block.nodes()]))
    mine = np.zeros((tree.rows, tree.cols), bool)
    mine[tuple(np.array(cells_of(tree, node)).T)] = True
    whole = np.repeat(np.repeat(mine, tree.strides, 0), tree.strides, 1)
    first = np.array([tree.row, tree.col]) * tree.strides
    outside = views.views(np.argwhere(~whole) + first)
    inside = views.views(np.argwhere(whole) + first)
    view = inside[data.draw(st.integers(0, len(inside) - 1))]
    x, y = data.draw(st.integers(0, 8)), data.draw(st.integers(0, 8))
    box = np.array([view[0] + x, view[1] + y, view[0] + x + 1, view[1] + y + 1])
    seen = ((outside[:, :2] < box[2:]) & (outside[:, 2:] > box[:2])).all(axis=1).any()
    assert tree.exposed(node, views)(box[None]).tolist() == [bool(seen)]


def test_a_large_level_goes_out_in_blocks_that_can_be_halved() -> None:
    tree = CellTree(row=0, col=0, rows=1200, cols=900, strides=2)
    blocks = list(tree.blocks(0))
    assert len(blocks) == tree.block_count(0) <= MOST_BATCHES
    assert sum(block.cells for block in blocks) == 300 * 225
    assert len({block.id for block in blocks}) == len(blocks)
    halves = max(blocks, key=lambda block: block.cells).halves()
    assert halves is not None
    assert {i for half in halves for i in half.cell_ids()} == set(
        max(blocks, key=lambda block: block.cells).cell_ids()
    )
