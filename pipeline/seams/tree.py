"""Settle what the cells of a run have found, level by level, as a plan of the one driver each."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rasterloom.cluster.driver import OnProgress, execute
from rasterloom.cluster.jobs import BatchResult
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.places import Place
from rasterloom.pipeline.seams.candidates import Candidates
from rasterloom.pipeline.seams.found import Found
from rasterloom.pipeline.seams.nodes import CellTree, Node, NodeBlock
from rasterloom.pipeline.seams.resolve import SeamRules, settle

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["CellTree", "cell_file", "forget_seams", "resolve_tree"]


def cell_file(row: int, col: int) -> str:
    """Name of the file that holds what a cell has found, as :meth:`Candidates.to_bytes` writes it."""
    return f"{row}_{col}.cand"


def resolve_tree(
    client: "Client | None",
    source: Place,
    tree: CellTree,
    rules: SeamRules,
    folder: RunFolder,
    *,
    threads: int | None = None,
    on_progress: OnProgress | None = None,
    title: str = "",
) -> Iterator[Found]:
    """Resolve all that the cells of a run have found, whatever its size, as ``resolve`` would all at once.

    Each node settles what it can and leaves the rest to the one above, so memory goes with what is near the
    borders of nodes. Everything is computed before this returns; the same call after an interruption goes on
    with the nodes that are missing.

    Parameters
    ----------
    client
        Where to run; None runs in this process, with the same result.
    source
        Folder of the cells' files, named by :func:`cell_file`. A cell without a file has found nothing.
    tree
        The cells of the run.
    rules
        How candidates become things.
    folder
        Folder of the run that wrote the files. The work of this step stands in ``seams`` within it until
        :func:`forget_seams`.
    threads, on_progress, title
        As for ``execute``. Progress is told for each level anew.

    Returns
    -------
    Iterator of Found
        Part by part, read as they are asked for, in an order that only the run decides. No thing is in two.

    Raises
    ------
    RunInterrupted
        On Ctrl-C, or when the cluster was lost.
    OutputError
        If something cannot be written.
    """
    work = folder.place / "seams" / _digest(source, tree, rules)[:16]
    for level in range(tree.levels):
        plan = LevelPlan(tree, rules, level, source, work)
        execute(
            client,
            plan,
            settle_nodes,
            RunFolder(work / f"level_{level}"),
            max_failed=0.0,
            threads=threads,
            on_progress=on_progress,
            title=f"{title or 'join what chips have found'}, step {level + 1} of {tree.levels}",
        )
    return _parts(work / "parts")


def forget_seams(folder: RunFolder) -> None:
    """Remove what :func:`resolve_tree` left in the folder of a run."""
    (folder.place / "seams").remove_all()


@dataclass(frozen=True)
class LevelPlan:
    """Settle all nodes of one level."""

    tree: CellTree
    rules: SeamRules
    level: int
    source: Place
    """Folder of the cells' files."""
    work: Place
    """Folder that takes what nodes settle, and what they leave open."""

    @property
    def id(self) -> str:
        """Hash of what decides the result. The name of the work's folder stands for all but the level."""
        return hashlib.sha256(f"{self.work.name} {self.level}".encode()).hexdigest()

    @property
    def batch_count(self) -> int:
        return self.tree.block_count(self.level)

    @property
    def cell_count(self) -> int:
        rows, cols = self.tree.shape(self.level)
        return rows * cols

    def batches(self) -> Iterator[NodeBlock]:
        return self.tree.blocks(self.level)


def settle_nodes(plan: LevelPlan, batch: NodeBlock) -> BatchResult:
    """Settle some nodes: write what is decided, and what is left open. Safe to repeat.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    MemoryError
        If a node's candidates do not fit into memory.
    """
    started, told, left = time.perf_counter(), 0, 0
    for node in batch.nodes():
        candidates = Candidates.joined(_loaded(plan, child) for child in plan.tree.children(node))
        found, waiting = settle(candidates, plan.rules, plan.tree.exposed(node, plan.rules.views))
        if len(waiting):
            (plan.work / "open").write(f"{node.id}.cand", waiting.to_bytes())
        if len(found):
            (plan.work / "parts").write(f"{node.id}.found", found.to_bytes())
        told, left = told + len(found), left + len(waiting)
    seconds = time.perf_counter() - started
    return BatchResult(batch.id, batch.cells, 0, seconds, summary={"found": told, "open": left})


def _loaded(plan: LevelPlan, child: Node) -> Candidates:
    try:
        if child.level < 0:
            name = cell_file(plan.tree.row + child.row, plan.tree.col + child.col)
            return Candidates.from_bytes(plan.source.read(name))
        return Candidates.from_bytes((plan.work / "open").read(f"{child.id}.cand"))
    except FileNotFoundError:  # nothing found, or nothing left open
        return Candidates.empty()


def _digest(source: Place, tree: CellTree, rules: SeamRules) -> str:
    """Hash of what decides the result; a cell that was computed later changes it by its name."""
    cells = hashlib.sha256("\n".join(sorted(source.names())).encode()).hexdigest()
    parts = {"version": 1, "tree": asdict(tree), "rules": asdict(rules), "cells": cells}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _parts(place: Place) -> Iterator[Found]:
    nodes = sorted(tuple(map(int, name.removesuffix(".found").split("_"))) for name in place.names())
    for level, row, col in nodes:
        yield Found.from_bytes(place.read(f"{level}_{row}_{col}.found"))
