"""Roads of generated scenes as their makers know them."""

import geopandas
import numpy as np
import rasterio
import shapely

from rasterloom.pipeline.landscape.features import BLOCK
from rasterloom.pipeline.landscape.roads import road_sections, street_lines
from rasterloom.pipeline.landscape.write import Landscape


def true_lines(scene: Landscape, seed: int) -> geopandas.GeoSeries:
    """Middles of all roads and streets of a scene with this seed, cut at its sides."""
    with rasterio.open(scene.truth) as truth:
        corner, metres = (truth.transform.c, truth.transform.f), truth.transform.a * scene.size
        crs = truth.crs
    blocks = range(-1, int(np.ceil(metres / BLOCK)) + 1)
    lines = [
        line
        for row in blocks
        for col in blocks
        for line in [*road_sections(seed, row, col)[0], *street_lines(seed, row, col)]
    ]
    shapes = shapely.linestrings(
        np.concatenate(lines), indices=np.repeat(np.arange(len(lines)), [*map(len, lines)])
    )
    inside = shapely.intersection(shapes, shapely.box(0, 0, metres, metres))
    # streets run along the lattice that roads run along: what is there twice is one line
    merged = shapely.line_merge(shapely.union_all(inside))
    placed = shapely.transform(merged, lambda points: points * [1.0, -1.0] + corner)
    return geopandas.GeoSeries(shapely.get_parts(placed), crs=crs)
