"""Features in files: what suppression needs of them comes back."""

from pathlib import Path

import numpy as np
import shapely

from rasterloom.pipeline.seams.spool import Spool


def test_features_come_back_by_their_number(tmp_path: Path) -> None:
    triangle = shapely.Polygon([(0, 0), (4, 0), (0, 4)])
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    tilted = shapely.Polygon([(1, 0), (2, 1), (1, 2), (0, 1)])
    geometries = np.array([shapely.box(0, 1, 2, 3), triangle, None, bow, shapely.Point(7, 8), tilted])
    halves = [(geometries[i], np.arange(6.0)[i], np.arange(6)[i]) for i in (slice(0, 2), slice(2, 6))]
    spool = Spool.write(tmp_path / "spool", halves)
    assert spool.count == 6
    assert spool.column("boxes")[[0, 1, 4]].tolist() == [[0, 1, 2, 3], [0, 0, 4, 4], [7, 8, 7, 8]]
    assert spool.column("scores").tolist() == [0, 1, 2, 3, 4, 5]
    assert spool.column("labels").tolist() == [0, 1, 2, 3, 4, 5]
    shapes = spool.shapes(np.array([5, 1, 0, 3, 2]))
    assert shapes is not None
    assert shapes[0].equals(tilted)
    assert shapes[1].equals(triangle)
    assert shapes[2] is None
    assert shapes[3].is_valid
    assert shapes[3].area == 2
    assert shapes[4] is None


def test_upright_rectangles_are_boxes_however_they_are_drawn(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    corner, side = random.uniform(1e5, 6e6, (200, 2)), random.uniform(0.01, 100, (200, 2))
    boxes = shapely.box(*corner.T, *(corner + side).T)
    turned = np.array([shapely.Polygon(box.exterior.coords[::-1]) for box in boxes])
    spool = Spool.write(tmp_path / "spool", [(turned, np.ones(200), np.ones(200))])
    assert not spool.drawn
    assert (spool.column("boxes") == shapely.bounds(boxes)).all()


def test_nothing_is_a_spool_too(tmp_path: Path) -> None:
    spool = Spool.write(tmp_path / "spool", [])
    assert (spool.count, spool.column("boxes").shape, spool.shapes(np.zeros(0, int))) == (0, (0, 4), None)
