"""Small generated label layers, the same for the same seed."""

import geopandas
import numpy as np
from shapely.geometry import box


def square_labels(
    *,
    height: int,
    width: int,
    count: int = 12,
    classes: int = 3,
    side: tuple[float, float] = (6.0, 30.0),
    crs: str | None = "EPSG:32633",
    cell: float = 1.0,
    seed: int = 0,
    origin: tuple[float, float] = (500000.0, 5000000.0),
) -> geopandas.GeoDataFrame:
    """Squares on a raster of ``height`` x ``width`` pixels with ``classvalue`` 1..classes and ``classname``.

    Parameters
    ----------
    side
        Least and greatest side in pixels.
    origin
        Upper-left corner of the raster, as in ``write_raster``.
    """
    generator = np.random.default_rng(seed)
    sides = generator.uniform(*side, count) * cell
    wests = origin[0] + generator.uniform(0, 1, count) * np.maximum(width * cell - sides, 0)
    norths = origin[1] - generator.uniform(0, 1, count) * np.maximum(height * cell - sides, 0)
    values = np.arange(count) % classes + 1
    squares = [box(w, n - s, w + s, n) for w, n, s in zip(wests, norths, sides, strict=True)]
    columns = {"classvalue": values, "classname": [f"class {value}" for value in values]}
    return geopandas.GeoDataFrame(columns, geometry=squares, crs=crs)
