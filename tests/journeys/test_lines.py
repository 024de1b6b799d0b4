"""Roads of a scene become a network that leads where the roads lead."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rasterloom.pipeline import apls, extract_lines, generate_landscape, line_quality
from rasterloom.pipeline.landscape.classes import ROAD
from tests.support.roads import true_lines

SIZE = 1024


def test_roads_of_a_generated_scene_are_found_and_connected(tmp_path: Path) -> None:
    scene = generate_landscape(tmp_path / "scene", size=SIZE, seed=3)
    output = extract_lines(
        scene.truth,
        tmp_path / "roads.parquet",
        class_value=ROAD,
        minimum_length=20,
        minimum_area=100,
        smooth=True,
        cell_size=300,
        progress=False,
    )
    roads = geopandas.read_parquet(output)
    true = true_lines(scene, 3)
    assert len(true) > 10
    quality = line_quality(true, roads, 4.0)
    assert quality.quality >= 0.8
    assert apls(true, roads, tolerance=8.0).apls >= 0.7
    assert roads["Width"].median() == pytest.approx(9, abs=2)
    assert len(roads) < 2 * len(true)
    assert _largest_part(roads) > 0.9


def _largest_part(roads: geopandas.GeoDataFrame) -> float:
    """Share of the length that hangs together."""
    names, ends = np.unique(roads[["FromNode", "ToNode"]].to_numpy(), return_inverse=True)
    ends = ends.reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), bool), ends.T), shape=(len(names),) * 2)
    part = connected_components(graph, directed=False)[1][ends[:, 0]]
    lengths = np.bincount(part, weights=roads["Length"])
    return float(lengths.max() / lengths.sum())


def test_a_real_road_mask_becomes_a_network(data_folder: Path, tmp_path: Path) -> None:
    mask = data_folder / "roads_vegas" / "sample_road_raster_mask.tif"
    outputs = [
        extract_lines(
            mask,
            tmp_path / f"roads_{side}.parquet",
            class_value=255,
            minimum_length=10,
            minimum_area=50,
            smooth=True,
            cell_size=side,
            progress=False,
        )
        for side in (2000, 500)
    ]
    assert Path(outputs[0]).read_bytes() == Path(outputs[1]).read_bytes()
    true = data_folder / "roads_vegas" / "sample_roads_for_masking.geojson"
    quality = line_quality(true, outputs[0], 4.0)
    assert quality.correctness >= 0.8
    assert quality.quality >= 0.7
    assert apls(true, outputs[0]).apls >= 0.5
