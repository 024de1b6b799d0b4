"""Open a file, a mosaic, STAC items, a Zarr store or an array as a raster value, or as a DataArray."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rasterloom.models.errors import RasterError, SettingError
from rasterloom.pipeline.rasters.addresses import Address, find
from rasterloom.pipeline.rasters.arrays import describe_array, lazy_windows, mark_opened
from rasterloom.pipeline.rasters.folders import (
    SUFFIXES as SUFFIXES,
    describe_parts,
    describe_place,
    rasters_in as rasters_in,
)
from rasterloom.pipeline.rasters.gdal import reading
from rasterloom.pipeline.rasters.raster import Pixels, Raster, check_resampling
from rasterloom.pipeline.rasters.stac import Assets, describe_items, is_stac, load_items, read_items
from rasterloom.pipeline.rasters.zarrs import describe_zarr, is_store

_JSON = (".json", ".geojson")
"""How the names of STAC items and collections end."""


def describe(
    source: Any,
    *,
    resampling: str | None = None,
    assets: Assets = None,
    variable: str | Sequence[str] | None = None,
    alpha: str | None = None,
) -> Raster:
    """Say what a source of pixels is without reading its pixels.

    Pixels are read as they are stored: scale and offset are not applied, and of a file with a colour map the
    numbers of the colours are read.

    Parameters
    ----------
    source
        One of these, or a :class:`Raster`, which comes back as it is:

        - the path of a file, or its address: ``https://``, ``s3://``, ``gs://``, ``az://``, a ``/vsi`` path
          of GDAL's, and, for GeoTIFF, what fsspec reads (``memory://``, ``ftp://``, ...);
        - a list of paths and addresses, or a folder: one mosaic;
        - a STAC item or ItemCollection: the path or address of its JSON, a dictionary, an object of pystac's,
          or a list of items. Several items are one mosaic;
        - the path or address (ending in ``.zarr``) of a Zarr store with a georeference;
        - a georeferenced (band, y, x) or (y, x) ``xarray.DataArray``. One that :func:`open_raster` made and
          nobody has computed with is read from its files directly.
    resampling
        How parts of a mosaic are brought onto its grid, which is that of the first part: its CRS and cell
        size. A name of ``rasterio.enums.Resampling``; None takes ``average`` where cells grow by more than a
        half, else ``bilinear``, and ``nearest`` with a colour map. Parts that lie on the grid are taken as
        they are. Assets of a STAC item are brought onto the grid of the finest in the same way.
    assets
        Of STAC items: names of assets, whose bands follow each other, or a dictionary of names and the bands
        of each (numbers from 1, or names). None takes the assets that are GeoTIFF or JPEG 2000 and no
        preview or mask by their role; of these those with the role ``data``, if any has it, and of these
        those with named bands, if any has. They must be of one pixel type.
    variable
        Of a Zarr store: which arrays, in the order of the bands. None takes all that are rasters, by name.
    alpha
        What a last band is that the file calls alpha: ``"mask"`` says which pixels are valid, ``"band"`` is
        data like the others. None looks at some spots: many different values make it a band, with a warning,
        as GDAL calls the near infrared of a four-band GeoTIFF of bytes alpha unless it is told otherwise.

    Raises
    ------
    MissingInputError
        If there is no such file, or the folder holds no raster.
    RasterError
        If it cannot be opened as a raster, holds pixels that are not plain numbers, or has no place on the
        ground, the parts of a mosaic do not fit together, or an address or a VRT leads to what is not
        followed.
    CrsError
        If it has no coordinate reference system.
    MissingExtraError
        If an address needs a package that is not installed.
    SettingError
        If an argument cannot work, or does not belong to the kind of source.
    """
    if resampling is not None:
        check_resampling(resampling)
    if isinstance(source, Raster):
        return source
    if hasattr(source, "dims") and hasattr(source, "coords"):
        _refuse(assets=assets, variable=variable)
        return describe_array(source)
    listed = isinstance(source, Sequence) and not isinstance(source, str | bytes)
    items = _stac_items(source, listed)
    if items is not None:
        _refuse(variable=variable)
        return describe_items(items, assets, resampling=resampling, alpha=alpha)
    _refuse(assets=assets)
    if isinstance(source, str | os.PathLike):
        place = find(os.fspath(source))
        if _is_zarr(place):
            return describe_zarr(place, variable)
        _refuse(variable=variable)
        return describe_place(place, resampling=resampling, alpha=alpha)
    if listed and source and all(isinstance(item, str | os.PathLike) for item in source):
        _refuse(variable=variable)
        places = [find(os.fspath(item)) for item in source]
        return describe_parts(places, resampling=resampling, alpha=alpha)
    what = "a list without paths" if listed else type(source).__name__
    raise RasterError(
        f"a raster cannot be made of {what}: "
        "give a path, a list of paths, a folder, an address, STAC items or a georeferenced DataArray."
    )


def open_raster(source: Any, *, chunks: int = 1024, **options: Any) -> Any:
    """Open pixels as a chunked, georeferenced ``xarray.DataArray`` of dims (band, y, x). Nothing is read yet.

    Parameters
    ----------
    source
        What :func:`describe` takes.
    chunks
        Side of the Dask chunks, in pixels.
    options
        ``resampling``, ``assets``, ``variable`` and ``alpha``, as :func:`describe` takes them.

    Returns
    -------
    xarray.DataArray
        Dask-backed, with its CRS and nodata under ``.rio`` and band names in ``attrs["band_names"]``. Tools
        read its files directly for as long as it is what this function returned. What is computed from it
        keeps nodata values, where the computation does, but no mask or alpha band.

    Raises
    ------
    MissingInputError, RasterError, CrsError, SettingError
        As :func:`describe`.
    """
    import rioxarray

    raster = describe(source, **options)
    if raster.array is not None and raster.grid == raster.native and not isinstance(raster.array, Pixels):
        return raster.array
    path = str(raster.path)
    # of a netCDF file rioxarray would open all variables and decode their times
    ours = path.endswith((".nc", ".nc4", ".cdf")) or path.startswith("/vsi") or "://" in path[:16]
    if raster.array is not None or raster.grid != raster.native or ours:
        return mark_opened(lazy_windows(raster, chunks), raster)
    with reading():
        array = rioxarray.open_rasterio(raster.path, chunks={"x": chunks, "y": chunks}, lock=False)
    return mark_opened(array.isel(band=slice(0, raster.band_count)), raster)


def _refuse(**arguments: Any) -> None:
    belongs = {"assets": "STAC items", "variable": "a Zarr store"}
    for name, value in arguments.items():
        if value is not None:
            raise SettingError(f"{name}= is for {belongs[name]}, and the source is none: leave it out.")


def _stac_items(source: Any, listed: bool) -> list[Any] | None:
    """The STAC items that a source holds; None where it is something else."""
    if listed and source and all(is_stac(each) or _is_json(each) for each in source):
        return [item for each in source for item in _stac_items(each, False) or []]
    if is_stac(source):
        return read_items(source)
    return load_items(find(os.fspath(source))) if _is_json(source) else None


def _is_json(source: Any) -> bool:
    return isinstance(source, str | os.PathLike) and os.fspath(source).split("?")[0].lower().endswith(_JSON)


def _is_zarr(place: Path | Address) -> bool:
    if isinstance(place, Path):
        return is_store(place)
    return place.name.rstrip("/").lower().endswith(".zarr")
