"""Describe raster files as a SpatioTemporal Asset Catalog that stands beside them."""

import math
from datetime import UTC, datetime
from typing import Any

from rasterio.crs import CRS
from rasterio.warp import transform_geom

from rasterloom.models.errors import CrsError
from rasterloom.pipeline.outputs.raster import BandStatistics, OutputRaster
from rasterloom.pipeline.rasters.gdal import FAILURES
from rasterloom.pipeline.rasters.grid import Bounds, Grid, project_bounds

_VERSION = "1.1.0"
_EXTENSIONS = [
    f"https://stac-extensions.github.io/{name}/schema.json"
    for name in ("projection/v2.0.0", "raster/v1.1.0", "classification/v2.0.0")
]
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_WORLD = (-180.0, -90.0, 180.0, 90.0)


def item(what: OutputRaster, name: str, sidecar: str | None) -> dict[str, Any]:
    """The STAC item of one file, for a JSON file in the same folder as ``collection.json``.

    Its date is the moment of writing: what the pixels show has none of its own.

    References
    ----------
    STAC specification 1.1.0; extensions projection 2.0.0, raster 1.1.0, classification 2.0.0.
    """
    now = _now()
    box = _box(what.grid)
    assets = {"data": _asset(what, f"./{name}", _COG)}
    if sidecar:
        assets["names"] = {"href": f"./{sidecar}", "type": "application/xml", "roles": ["metadata"]}
    return {
        "type": "Feature",
        "stac_version": _VERSION,
        "stac_extensions": _EXTENSIONS,
        "id": name.rpartition(".")[0],
        "collection": name.rpartition(".")[0].rsplit("_", 2)[0],
        "geometry": _outline(what.grid) if box else None,
        **({"bbox": list(box)} if box else {}),
        "properties": {"datetime": now, "created": now, **_projection(what.grid)},
        "links": [
            {"rel": rel, "href": "./collection.json", "type": "application/json"}
            for rel in ("root", "parent", "collection")
        ],
        "assets": assets,
    }


def collection(what: OutputRaster, stem: str, items: list[str]) -> dict[str, Any]:
    """The STAC collection of all ``items``, file names in its own folder.

    Its asset is the virtual raster "<stem>.vrt" in the folder above.
    """
    now = _now()
    return {
        "type": "Collection",
        "stac_version": _VERSION,
        "stac_extensions": _EXTENSIONS,
        "id": stem,
        "description": f"The parts of {stem}.vrt.",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [list(_box(what.grid) or _WORLD)]},
            "temporal": {"interval": [[now, now]]},
        },
        "links": [
            {"rel": "root", "href": "./collection.json", "type": "application/json"},
            *({"rel": "item", "href": f"./{name}", "type": "application/geo+json"} for name in items),
        ],
        "assets": {"mosaic": _asset(what, f"../{stem}.vrt", "application/xml")},
    }


def _asset(what: OutputRaster, href: str, kind: str) -> dict[str, Any]:
    bands = [_band(what, index) for index in range(len(what.bands))]
    described: dict[str, Any] = {
        "href": href,
        "type": kind,
        "roles": ["data"],
        "bands": [{"name": name} for name in what.bands],
        "raster:bands": bands,
    }
    if what.is_class_map:
        described["classification:classes"] = [
            {"value": c.value, "name": c.name, "color_hint": "".join(f"{part:02X}" for part in c.color)}
            for c in what.classes
        ]
    return described


def _band(what: OutputRaster, index: int) -> dict[str, Any]:
    described: dict[str, Any] = {"data_type": what.dtype, "spatial_resolution": what.grid.cell_size[0]}
    if what.nodata is not None:
        described["nodata"] = "nan" if math.isnan(what.nodata) else what.nodata
    if what.scale is not None:
        described |= {"scale": what.scale, "offset": 0}
    if what.statistics and (found := what.statistics[index]):
        described["statistics"] = _statistics(found)
    return described


def _statistics(found: BandStatistics) -> dict[str, float]:
    values = {
        "minimum": found.minimum,
        "maximum": found.maximum,
        "mean": found.mean,
        "stddev": found.stddev,
    }
    return {key: value for key, value in values.items() if value is not None and math.isfinite(value)}


def _projection(grid: Grid) -> dict[str, Any]:
    crs = CRS.from_user_input(grid.crs)
    code = crs.to_epsg()
    named = {"proj:code": f"EPSG:{code}"} if code else {"proj:code": None, "proj:wkt2": grid.crs}
    return named | {
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform),
        "proj:bbox": list(grid.bounds),
    }


def _box(grid: Grid) -> Bounds | None:
    """West, south, east, north in degrees; None where the CRS has no place on the globe."""
    try:
        return project_bounds(grid.bounds, grid.crs, "EPSG:4326")
    except CrsError:
        return None


def _outline(grid: Grid) -> dict[str, Any] | None:
    corners = [(0, 0), (0, grid.height), (grid.width, grid.height), (grid.width, 0), (0, 0)]
    ring = [list(grid.affine @ corner) for corner in corners]
    try:
        found: dict[str, Any] = transform_geom(
            grid.crs, "EPSG:4326", {"type": "Polygon", "coordinates": [ring]}
        )
    except FAILURES:
        return None
    return {"type": "Polygon", "coordinates": [[list(point) for point in found["coordinates"][0]]]}


def _now() -> str:
    return datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
