"""Outlines of a scene's features as GeoParquet, written part by part."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import shapely

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.landscape.classes import LANDSCAPE_CLASSES
from rasterloom.pipeline.landscape.features import Features, join
from rasterloom.pipeline.landscape.layers import LAYERS, Box, block_features, blocks_reaching
from rasterloom.pipeline.landscape.moments import changed_buildings
from rasterloom.pipeline.rasters.grid import Bounds, Grid

_ROWS = 8192
"""Features of one row group: what is held in memory at once."""

_SCHEMA = pa.schema(
    [
        ("classvalue", pa.int32()),
        ("classname", pa.string()),
        ("geometry", pa.binary()),
        ("bbox", pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])),
    ]
)


def scene_features(seed: int, grid: Grid) -> Iterator[Features]:
    """Every feature that reaches into a scene, once, in painting order and in parts of some thousands."""
    box = _box(grid)
    rows, cols = blocks_reaching(box)
    return _gathered(
        _inside(block_features(seed, layer, row, col), box)
        for layer in range(len(LAYERS))
        for row in rows
        for col in cols
    )


def changed_features(seed: int, grid: Grid) -> Iterator[Features]:
    """Every building that reaches into a pair of scenes and stands at one date only, as what happened to it,
    in painting order and in parts of some thousands."""
    box = _box(grid)
    rows, cols = blocks_reaching(box)
    return _gathered(_inside(changed_buildings(seed, row, col), box) for row in rows for col in cols)


def _box(grid: Grid) -> Box:
    return 0.0, 0.0, grid.width * grid.cell_size[0], grid.height * grid.cell_size[1]


def _gathered(parts: Iterable[Features]) -> Iterator[Features]:
    held: list[Features] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) >= _ROWS:
            yield join(held)
            held = []
    yield join(held)


def write_outlines(
    parts: Iterable[Features],
    grid: Grid,
    files: dict[Path, str],
    *,
    classes: Sequence[ClassInfo] = LANDSCAPE_CLASSES,
) -> int:
    """Write features as GeoParquet 1.1 and return how many there were.

    Parameters
    ----------
    parts
        Features in metres from the scene's upper-left corner, in file order.
    grid
        The scene's grid.
    files
        What to write: a file, and the CRS of the features in it.
    classes
        Names of the features' values.
    """
    names = {info.value: info.name for info in classes}
    writers = [_Writer(path, grid.crs, crs, names) for path, crs in files.items()]
    count = 0
    try:
        for part in parts:
            if len(part):
                points = part.vertices * [1.0, -1.0] + [grid.transform[2], grid.transform[5]]
                for writer in writers:
                    writer.write(part, points)
                count += len(part)
    finally:
        for writer in writers:
            writer.close()
    return count


def _inside(features: Features, box: Box) -> Features:
    near = features.take(features.touching(box))
    # A bounding box that lies in the scene needs no closer look.
    x0, y0, x1, y1 = box
    own = near.bounds
    within = (own[:, 0] > x0) & (own[:, 1] > y0) & (own[:, 2] < x1) & (own[:, 3] < y1)
    edge = np.flatnonzero(~within)
    within[edge] = shapely.intersects(_polygons(near.take(edge), near.take(edge).vertices), shapely.box(*box))
    return near.take(np.flatnonzero(within))


def _polygons(features: Features, points: np.ndarray) -> np.ndarray:
    """Shapely polygons (n) from the vertices (V, 2) of features."""
    lengths = np.diff(features.offsets)
    rings = np.repeat(np.arange(len(features)), lengths)
    return shapely.polygons(shapely.linearrings(points, indices=rings)) if len(features) else np.array([])


class _Writer:
    """One GeoParquet file in one CRS."""

    def __init__(self, path: Path, source_crs: str, target_crs: str, names: dict[int, str]) -> None:
        self._names = names
        self._crs = pyproj.CRS.from_user_input(target_crs)
        self._transformer = pyproj.Transformer.from_crs(source_crs, self._crs, always_xy=True)
        self._moves = pyproj.CRS.from_user_input(source_crs) != self._crs
        self._file = pq.ParquetWriter(path, _SCHEMA, compression="zstd", version="2.6")
        self._bounds: Bounds | None = None

    def write(self, features: Features, points: np.ndarray) -> None:
        """Add one row group; ``points`` (V, 2) are the features' vertices in the source CRS."""
        if self._moves:
            points = np.stack(self._transformer.transform(points[:, 0], points[:, 1]), axis=1)
        shapes = _polygons(features, points)
        boxes = shapely.bounds(shapes)
        self._widen(boxes)
        sides = [pa.array(boxes[:, k]) for k in range(4)]
        columns = [
            pa.array(features.values.astype(np.int32)),
            pa.array([self._names[int(value)] for value in features.values], pa.string()),
            pa.array(shapely.to_wkb(shapes), pa.binary()),
            pa.StructArray.from_arrays(sides, ["xmin", "ymin", "xmax", "ymax"]),
        ]
        self._file.write_table(pa.Table.from_arrays(columns, schema=_SCHEMA), row_group_size=len(features))

    def close(self) -> None:
        """Write the file's footer; the extent is known only now."""
        self._file.add_key_value_metadata({"geo": json.dumps(self._metadata())})
        self._file.close()

    def _widen(self, boxes: np.ndarray) -> None:
        held = boxes if self._bounds is None else np.vstack([boxes, [self._bounds]])
        (west, south), (east, north) = held[:, :2].min(axis=0), held[:, 2:].max(axis=0)
        self._bounds = (float(west), float(south), float(east), float(north))

    def _metadata(self) -> dict[str, object]:
        covering = {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}
        column: dict[str, object] = {
            "encoding": "WKB",
            "geometry_types": ["Polygon"],
            "crs": self._crs.to_json_dict(),
            "covering": {"bbox": covering},
        }
        if self._bounds is not None:
            column["bbox"] = list(self._bounds)
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
