"""Leaf by leaf is the same as all at once."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings, strategies as st

from rasterloom.pipeline.seams import apart
from rasterloom.pipeline.seams.apart import LeafPlan, suppress_apart
from rasterloom.pipeline.seams.greedy import KEPT
from rasterloom.pipeline.seams.leaves import Leaves
from rasterloom.pipeline.seams.spool import Spool
from rasterloom.pipeline.seams.suppression import suppress_shapes


def at_once(geometries: Any, scores: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """(n,) bool, what is kept of all features in memory."""
    order = np.argsort(-scores, kind="stable")
    boxes = shapely.bounds(geometries)
    state = suppress_shapes(boxes[order], labels[order], threshold, shapes=geometries[order])
    kept = np.zeros(len(order), bool)
    kept[order] = state == KEPT
    return kept


def features(
    count: int, seed: int, *, spread: float = 60, drawn: bool = True, large: float = 0.02
) -> tuple[Any, Any, Any]:
    """Boxes of all sizes in clusters, some of them triangles, with scores of which many are the same."""
    random = np.random.default_rng(seed)
    centres = random.uniform(0, spread, (max(count // 20, 1), 2))
    corner = centres[random.integers(0, len(centres), count)] + random.normal(0, 3, (count, 2))
    sides = random.choice(
        [1, 2, 4, spread / 2], (count, 2), p=[0.5, 0.3, 0.2 - large, large]
    ) * random.random((count, 2))
    geometries = shapely.box(*corner.T, *(corner + sides).T)
    for row in np.flatnonzero(random.random(count) < 0.3) if drawn else []:
        x1, y1, x2, y2 = shapely.bounds(geometries[row])
        geometries[row] = shapely.Polygon([(x1, y1), (x2, y1), (x1, y2)])
    return geometries, random.integers(0, 20, count) / 20, random.integers(0, 3, count)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 300),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.sampled_from([3, 20, 1000]),
)
def test_leaves_of_any_size_decide_as_all_at_once(
    tmp_path_factory: pytest.TempPathFactory, count: int, seed: int, threshold: float, leaf: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    given_features = features(count, seed)
    blocks = [tuple(column[i : i + 50] for column in given_features) for i in range(0, count, 50)]
    spool = Spool.write(folder / "spool", blocks)
    kept = suppress_apart(spool, threshold, folder, leaf=leaf)
    assert kept.tolist() == at_once(*given_features, threshold).tolist()


@pytest.mark.parametrize("upwards", [True, False])
def test_a_chain_through_all_leaves_is_decided_from_its_best_link(tmp_path: Path, upwards: bool) -> None:
    count = 5000
    start = np.arange(count) * 0.5
    geometries = shapely.box(start, 0, start + 1, 1)
    scores = np.arange(count, dtype=float) if upwards else np.arange(count, 0, -1.0)
    spool = Spool.write(tmp_path / "spool", [(geometries, scores, np.zeros(count))])
    kept = suppress_apart(spool, 0.3, tmp_path, leaf=100)
    assert np.flatnonzero(kept).tolist() == list(range(int(upwards), count, 2))


def test_few_are_left_to_be_decided_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "_WIDE", 4)
    given_features = features(20_000, 0, spread=1000, drawn=False, large=0.005)
    spool = Spool.write(tmp_path / "spool", [given_features])
    kept = suppress_apart(spool, 0.1, tmp_path, leaf=100)
    left = {int(i) for file in (tmp_path / "open").iterdir() for i in np.fromfile(file, np.int64)}
    assert (tmp_path / "touching" / "wide").exists()
    assert len(left) < 0.3 * len(kept)
    assert kept.tolist() == at_once(*given_features, 0.1).tolist()


def test_workers_decide_as_this_process_does(tmp_path: Path, client: Any) -> None:
    given_features = features(500, 3)
    spool = Spool.write(tmp_path / "spool", [given_features])
    kept = suppress_apart(spool, 0.1, tmp_path, leaf=50, client=client)
    assert kept.tolist() == at_once(*given_features, 0.1).tolist()


def test_a_plan_is_small(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 0, drawn=False)
    plan = LeafPlan(spool, 0.1, Leaves(np.arange(9.0), np.zeros((10, 9))), tmp_path)
    assert len(pickle.dumps(plan)) < 3000
    assert sorted(batch.leaf for batch in plan.batches()) == list(range(100))
