"""Prepared features on disk, so that each task reads only those near its own chips."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet
import shapely

from rasterloom.models.contract import classes_from_json
from rasterloom.pipeline.labels.features import Labels
from rasterloom.pipeline.rasters.grid import Bounds

ROW_GROUP = 4096
"""Features that are read or passed over together."""

_CLASSES = b"rasterloom.classes"


def write_prepared(labels: Labels, path: Path) -> None:
    """Write features so that :func:`read_prepared` finds those in a rectangle without reading the rest.

    Rows run from north to south, because tasks own strips of chips: a strip then lies in few row groups.
    """
    bounds = shapely.bounds(labels.geometries)  # (feature, west south east north)
    order = np.argsort(-(bounds[:, 1] + bounds[:, 3]), kind="stable")
    schema = pyarrow.schema(
        [
            ("position", pyarrow.int64()),
            ("value", pyarrow.int32()),
            *((side, pyarrow.float64()) for side in ("west", "south", "east", "north")),
            ("geometry", pyarrow.binary()),
        ],
        metadata={_CLASSES: json.dumps([asdict(c) for c in labels.classes]).encode()},
    )
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, len(order), ROW_GROUP):
            rows = order[start : start + ROW_GROUP]
            columns = [
                rows,
                labels.values[rows],
                *(np.ascontiguousarray(bounds[rows, side]) for side in range(4)),
                shapely.to_wkb(labels.geometries[rows]),
            ]
            arrays = [pyarrow.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
            writer.write_table(pyarrow.table(arrays, schema=schema))


def read_prepared(path: Path, bounds: Bounds) -> Labels:
    """The prepared features whose bounding box meets ``bounds`` (CRS units), in file order."""
    west, south, east, north = bounds
    field = pyarrow.compute.field
    across = (field("west") <= east) & (field("east") >= west)
    near = across & (field("south") <= north) & (field("north") >= south)
    # tasks run side by side already: Arrow's own threads would only compete
    table = pyarrow.parquet.read_table(
        path, columns=["position", "value", "geometry"], filters=near, use_threads=False
    )
    table = table.sort_by("position")
    geometries = shapely.from_wkb(table["geometry"].to_numpy())
    classes = classes_from_json(json.loads(pyarrow.parquet.read_schema(path).metadata[_CLASSES]))
    return Labels(np.asarray(geometries, object), table["value"].to_numpy().astype(np.int64), classes)
