"""Lines to compare, in one coordinate system that measures lengths."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio.errors
import shapely

from rasterloom.models.errors import CrsError, LabelError, MissingInputError

_PARQUET = (".parquet", ".geoparquet", ".pq")


def road_lines(truth: Any, proposal: Any) -> tuple[np.ndarray, np.ndarray]:
    """The single lines of two layers, both in the CRS of the first, or in metres where it has degrees.

    Raises
    ------
    MissingInputError
        If a file is not there.
    LabelError
        If something is no layer of lines.
    CrsError
        If only one of them has a CRS.
    """
    one, other = _series("truth", truth), _series("proposal", proposal)
    if (one.crs is None) != (other.crs is None):
        lacking = "truth" if one.crs is None else "proposal"
        raise CrsError(f"{lacking} has no CRS and the other has one: set it, so that both can be compared.")
    if one.crs is not None:
        target = one.crs
        if target.is_geographic:
            whole = geopandas.GeoSeries([*one[:], *other.to_crs(target)], crs=target)
            whole = whole[~whole.is_empty & whole.notna()]
            target = whole.estimate_utm_crs() if len(whole) else target
        one, other = one.to_crs(target), other.to_crs(target)
    return _single("truth", one), _single("proposal", other)


def _series(name: str, source: Any) -> geopandas.GeoSeries:
    if isinstance(source, geopandas.GeoDataFrame):
        return source.geometry
    if isinstance(source, geopandas.GeoSeries):
        return source
    if not isinstance(source, str | Path):
        return geopandas.GeoSeries(np.asarray(source, object))
    if "://" not in str(source) and not Path(source).exists():
        raise MissingInputError(f"{name}: there is no layer at {source}: check the path.")
    try:
        if Path(str(source)).suffix.lower() in _PARQUET:
            return geopandas.read_parquet(source).geometry
        return geopandas.read_file(source).geometry
    except (pyogrio.errors.DataSourceError, ValueError, OSError) as error:
        raise LabelError(f"{name}: {source} is no vector layer: {error}.") from error


def _single(name: str, series: geopandas.GeoSeries) -> np.ndarray:
    shapes = np.asarray(series.array, object)
    shapes = shapely.get_parts(shapely.force_2d(shapes[shapely.is_geometry(shapes)]))
    shapes = shapes[~shapely.is_empty(shapes)]
    kinds = set(shapely.get_type_id(shapes).tolist()) - {1, 2}  # lines, and rings of lines
    if kinds:
        raise LabelError(
            f"{name} holds {shapely.GeometryType(min(kinds)).name.lower()}s: give a layer of lines."
        )
    return np.asarray(shapes[shapely.length(shapes) > 0], object)
