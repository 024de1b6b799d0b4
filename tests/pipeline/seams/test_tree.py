"""Seams of runs of any size: cut into cells however one likes, the result is that of all at once."""

import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.pipeline.seams import nodes, tree as seams_tree
from rasterloom.pipeline.seams.candidates import Candidates, ChipViews
from rasterloom.pipeline.seams.found import Found
from rasterloom.pipeline.seams.resolve import SeamRules, resolve
from rasterloom.pipeline.seams.tree import CellTree, cell_file, forget_seams, resolve_tree
from tests.support.seams import cases, chips_of, naive_resolve, things


def written(candidates: Candidates, strides: int, views: ChipViews, folder: Path) -> CellTree:
    """The candidates as files of cells of so many strides, and the tree over those cells."""
    source, cells = Place.of(folder), candidates.chips // strides
    for row, col in {tuple(cell) for cell in cells.tolist()}:
        mine = candidates.taken((cells == (row, col)).all(axis=1))
        source.write(cell_file(row, col), mine.to_bytes())
    rows, cols = (chips_of(views) // strides).max(axis=0) + 1
    return CellTree(row=0, col=0, rows=int(rows), cols=int(cols), strides=strides)


def resolved(tree: CellTree, rules: SeamRules, folder: Path, client: Any = None) -> Found:
    return Found.joined(resolve_tree(client, Place.of(folder / "cells"), tree, rules, RunFolder(folder)))


@settings(max_examples=25, deadline=None)
@given(cases(), st.integers(1, 4), st.sampled_from([2, 4]))
def test_a_tree_over_any_cells_agrees_with_a_plain_loop_over_all_pairs(
    case: tuple[Candidates, SeamRules], strides: int, fan: int
) -> None:
    candidates, rules = case
    with tempfile.TemporaryDirectory() as folder, patch.object(nodes, "FAN", fan):
        tree = written(candidates, strides, rules.views, Path(folder) / "cells")
        found = resolved(tree, rules, Path(folder))
    assert things(found) == naive_resolve(candidates, rules)


def dense(count: int, *, seed: int = 0) -> tuple[Candidates, SeamRules]:
    """Boxes so dense that each is connected to all others, through some others."""
    views = ChipViews(tile=40, padding=10, shape=(800, 800))
    random = np.random.default_rng(seed)
    chips = random.integers(0, 40, (count, 2))
    centres = (chips[:, ::-1] + 0.5) * 20 + random.uniform(-15, 15, (count, 2))
    sides = random.uniform(4, 14, (count, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    scores = random.random(count).astype(np.float32)
    chips, labels = chips.astype(np.int32), np.ones(count, np.int32)
    cut, outlines = np.zeros((count, 4), bool), np.full(count, b"", object)
    candidates = Candidates(boxes, scores, labels, chips, cut, outlines)
    return candidates, SeamRules(views, 0.0, exclude_pad_detections=False)


def test_boxes_that_all_hang_together_are_still_settled_near_where_they_are(tmp_path: Path) -> None:
    candidates, rules = dense(8_000)
    tree = written(candidates, 2, rules.views, tmp_path / "cells")
    found = resolved(tree, rules, tmp_path)
    assert found.ranked().to_bytes() == resolve(candidates, rules).to_bytes()
    assert tree.levels == 3
    left = []
    for level in range(tree.levels):
        (folder,) = (tmp_path / "seams").iterdir()
        results = RunFolder(folder / f"level_{level}").results()
        left.append(sum(result.summary["open"] for result in results))
    assert left[-1] == 0
    assert left[1] < left[0] / 2 < len(candidates) / 3


def test_workers_give_the_bytes_that_this_process_gives(tmp_path: Path, client: Any) -> None:
    candidates, rules = dense(500)
    tree = written(candidates, 3, rules.views, tmp_path / "a" / "cells")
    written(candidates, 3, rules.views, tmp_path / "b" / "cells")
    here = resolved(tree, rules, tmp_path / "a")
    there = resolved(tree, rules, tmp_path / "b", client)
    assert here.to_bytes() == there.to_bytes()


def test_the_same_call_goes_on_with_the_nodes_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidates, rules = dense(500)
    tree = written(candidates, 2, rules.views, tmp_path / "cells")
    settled, whole = [], seams_tree.settle_nodes

    def failing(plan: Any, batch: Any) -> Any:
        settled.append(batch.id)
        if len(settled) == 10:
            raise KeyError("a mistake")
        return whole(plan, batch)

    monkeypatch.setattr(seams_tree, "settle_nodes", failing)
    with pytest.raises(KeyError):
        resolve_tree(None, Place.of(tmp_path / "cells"), tree, rules, RunFolder(tmp_path), threads=1)
    found = resolved(tree, rules, tmp_path)
    assert found.ranked().to_bytes() == resolve(candidates, rules).to_bytes()
    assert len(settled) < 2 * 25 + 4 + 1, "what was settled is not settled again"
    assert resolved(tree, rules, tmp_path).to_bytes() == found.to_bytes()


def test_a_cell_that_was_computed_later_counts(tmp_path: Path) -> None:
    candidates, rules = dense(500)
    tree = written(candidates, 2, rules.views, tmp_path / "cells")
    cell = candidates.chips[0] // 2
    late = tmp_path / "cells" / cell_file(*cell.tolist())
    data = late.read_bytes()
    late.unlink()
    without = candidates.taken(~(candidates.chips // 2 == cell).all(axis=1))
    assert things(resolved(tree, rules, tmp_path)) == things(resolve(without, rules))
    late.write_bytes(data)
    assert things(resolved(tree, rules, tmp_path)) == things(resolve(candidates, rules))
    forget_seams(RunFolder(tmp_path))
    assert not (tmp_path / "seams").exists()


def test_nothing_found_is_no_parts(tmp_path: Path) -> None:
    tree = CellTree(row=2, col=5, rows=3, cols=1, strides=2)
    rules = SeamRules(ChipViews(tile=8, padding=2, shape=(100, 100)))
    assert list(resolve_tree(None, Place.of(tmp_path / "cells"), tree, rules, RunFolder(tmp_path))) == []
