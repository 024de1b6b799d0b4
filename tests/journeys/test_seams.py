"""A detector that makes no mistakes makes none either on a raster that is cut into tiles."""

import itertools
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings, strategies as st

from rasterloom.cluster.start import connect
from rasterloom.pipeline import detect_objects
from tests.support.detectors import CLASSES, colour_model, found_boxes, painted, write_scene

Box = tuple[int, int, int, int]


def _free(boxes: list[Box], shape: tuple[int, int]) -> list[Box]:
    """The boxes that lie on the raster and on no earlier one; they may touch."""
    taken, kept = np.zeros(shape, bool), []
    for x1, y1, x2, y2 in boxes:
        x2, y2 = min(x2, shape[1]), min(y2, shape[0])
        if x2 > x1 and y2 > y1 and not taken[y1:y2, x1:x2].any():
            taken[y1:y2, x1:x2] = True
            kept.append((x1, y1, x2, y2))
    return kept


@st.composite
def scenes(draw: st.DrawFn) -> dict[str, Any]:
    """A raster, tiles, cells, and boxes no longer than two tiles overlap."""
    tile = draw(st.integers(9, 48))
    padding = draw(st.integers(1, (tile - 1) // 2))
    shape = draw(st.tuples(st.integers(5, 120), st.integers(5, 120)))
    stride = tile - 2 * padding
    random = np.random.default_rng(draw(st.integers(0, 999)))
    sizes = random.integers(1, 2 * padding + 1, (150, 2))
    corners = random.integers(0, shape[::-1], (150, 2))
    # half of them at corners of tiles: of what is seen, and of what is owned
    near = random.random(150) < 0.5
    steps = random.integers(0, 1 + max(shape) // stride, (150, 2)) * stride
    ends = random.choice([-padding, 0, padding], (150, 2)) - sizes // 2
    corners[near] = np.clip((steps + ends)[near], 0, np.array(shape[::-1]) - 1)
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners.tolist(), sizes.tolist(), strict=True)]
    return {
        "shape": shape,
        "boxes": _free(boxes, shape),
        "tile": tile,
        "padding": padding,
        "cell_size": draw(st.sampled_from([1, 2 * stride, 5 * stride, 4096])),
        "batch_size": draw(st.integers(1, 5)),
        "workers": draw(st.sampled_from(["100%", 1, 3])),
    }


@pytest.mark.parametrize("masks", [False, True])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scene=scenes())
def test_what_is_no_longer_than_the_overlap_is_found_once_and_whole(
    tmp_path: Path, masks: bool, scene: dict[str, Any]
) -> None:
    model = colour_model(masks=masks)
    path = write_scene(tmp_path / "scene.tif", painted(scene["shape"], scene["boxes"]))
    output = detect_objects(
        path,
        model,
        {"tile_size": scene["tile"], "padding": scene["padding"], "batch_size": scene["batch_size"]},
        tmp_path / "found.parquet",
        context={"parallelProcessingFactor": scene["workers"]},
        cell_size=scene["cell_size"],
        overwrite=True,
        progress=False,
    )
    found = geopandas.read_parquet(output)
    assert sorted(found_boxes(found)) == sorted(scene["boxes"])
    assert not found["Cut"].any()
    assert found.geometry.is_valid.all()
    value = {box: number for number, box in enumerate(scene["boxes"], 1)}
    for box, (_, row) in zip(found_boxes(found), found.iterrows(), strict=True):
        assert row["Class"] == CLASSES[1 - value[box] % 2]
        assert row["Confidence"] == pytest.approx(50 + value[box] % 50, abs=1e-3)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tile=st.integers(12, 40),
    share=st.floats(0, 1),
    long=st.tuples(st.integers(50, 110), st.integers(1, 6)),
    corner=st.tuples(st.integers(0, 30), st.integers(0, 90)),
    cell_size=st.sampled_from([1, 50, 4096]),
)
def test_what_is_longer_than_a_tile_is_joined_or_said_to_be_cut(
    tmp_path: Path, tile: int, share: float, long: tuple[int, int], corner: tuple[int, int], cell_size: int
) -> None:
    padding = round(share * ((tile - 1) // 2))
    (x, y), (width, height) = corner, long
    boxes = [(x, y, min(x + width, 130), y + height)]
    path = write_scene(tmp_path / "scene.tif", painted((100, 130), boxes))
    arguments = {"tile_size": tile, "padding": padding}
    output = detect_objects(
        path,
        colour_model(),
        arguments,
        tmp_path / "o.gpkg",
        cell_size=cell_size,
        overwrite=True,
        progress=False,
    )
    found = geopandas.read_file(output)
    whole = found[~found["Cut"].astype(bool)]
    assert found_boxes(whole) in ([], boxes)
    if not len(whole):  # pieces that nothing overlaps: each is marked, none is there twice
        pieces = shapely.box(*np.array(found_boxes(found), float).T)
        assert shapely.union_all(pieces).area == pytest.approx(sum(piece.area for piece in pieces))
    if padding > max(height, 2):
        assert found_boxes(whole) == boxes


def test_an_outline_that_straddles_tiles_is_one_polygon(tmp_path: Path) -> None:
    rows, cols = np.mgrid[:120, :120]
    ring = np.hypot(rows - 60, cols - 60)
    image = ((ring < 50) & (ring > 35)).astype(np.uint16)
    path = write_scene(tmp_path / "scene.tif", image)
    output = detect_objects(
        path,
        colour_model(masks=True),
        {"tile_size": 80, "padding": 30},
        tmp_path / "ring.parquet",
        cell_size=20,
        progress=False,
    )
    found = geopandas.read_parquet(output)
    assert len(found) == 1
    assert found.geometry[0].area == image.sum() * 4
    assert len(found.geometry[0].interiors) == 1


def test_the_layer_is_the_same_bytes_for_any_workers_and_cells(tmp_path: Path, client: Any) -> None:
    with connect(n_workers=1, dashboard=False) as one, connect(n_workers=3, dashboard=False) as three:
        _check_bytes(tmp_path, [None, one, client, three])


def _check_bytes(tmp_path: Path, clients: list[Any]) -> None:
    random = np.random.default_rng(5)
    boxes = [(x, y, x + 9, y + 7) for x, y in random.integers(0, 90, (90, 2)).tolist()]
    path = write_scene(tmp_path / "scene.tif", painted((100, 100), _free(boxes, (100, 100))))
    model = colour_model(masks=True)
    contents = {
        Path(
            detect_objects(
                path,
                model,
                {"padding": 8, "batch_size": batch},
                tmp_path / f"{number}.parquet",
                client=where,
                cell_size=cell,
                progress=False,
            )
        ).read_bytes()
        for number, (where, cell, batch) in enumerate(
            itertools.chain(
                [(None, None, 4), (None, 1, 1)],
                zip(clients, (50, 32, 70, 16), (2, 3, 4, 3), strict=True),
            )
        )
    }
    assert len(contents) == 1
