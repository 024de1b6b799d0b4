"""Open a file, a mosaic or an array as a raster value, or as a chunked DataArray."""

import hashlib
import os
import threading
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.errors import NotGeoreferencedWarning

from rasterloom.models.errors import CrsError, MissingInputError, RasterError
from rasterloom.pipeline.rasters.arrays import describe_array, lazy_windows, mark_opened
from rasterloom.pipeline.rasters.gdal import DRIVERS, FAILURES, open_source, reading
from rasterloom.pipeline.rasters.grid import Grid
from rasterloom.pipeline.rasters.mosaics import mosaic_xml
from rasterloom.pipeline.rasters.raster import Raster

SUFFIXES = (".tif", ".tiff", ".vrt", ".png", ".jpg", ".jpeg", ".jp2", ".mrf", ".img", ".webp")
"""Files of a folder that are taken as its rasters."""

_quiet = threading.Lock()
"""Held while Python's warning filters, which all threads share, are not as they were."""


def describe(source: Any) -> Raster:
    """Say what a source of pixels is without reading its pixels.

    Parameters
    ----------
    source
        A path, a list of paths or a folder (taken as one mosaic), a georeferenced (band, y, x) or (y, x)
        ``xarray.DataArray``, or a :class:`Raster`, which comes back as it is. A DataArray that
        :func:`open_raster` made and nobody has computed with is read from its files directly.

    Raises
    ------
    MissingInputError
        If there is no such file, it is not on a local disk, or the folder holds no raster.
    RasterError
        If it cannot be opened as a raster, holds pixels that are not plain numbers, or has no place on the
        ground, or the parts of a mosaic do not fit together.
    CrsError
        If it has no coordinate reference system.
    """
    if isinstance(source, Raster):
        return source
    if hasattr(source, "dims") and hasattr(source, "coords"):
        return describe_array(source)
    if isinstance(source, str | os.PathLike):
        path = _local_path(source)
        return _describe_files(_rasters_in(path)) if path.is_dir() else _describe_file(path)
    listed = isinstance(source, Sequence) and not isinstance(source, bytes)
    if listed and source and all(isinstance(item, str | os.PathLike) for item in source):
        return _describe_files([_local_path(item) for item in source])
    what = "a list without paths" if listed else type(source).__name__
    raise RasterError(
        f"a raster cannot be made of {what}: "
        "give a path, a list of paths, a folder or a georeferenced DataArray."
    )


def open_raster(source: Any, *, chunks: int = 1024) -> Any:
    """Open pixels as a chunked, georeferenced ``xarray.DataArray`` of dims (band, y, x). Nothing is read yet.

    Parameters
    ----------
    source
        What :func:`describe` takes.
    chunks
        Side of the Dask chunks, in pixels.

    Returns
    -------
    xarray.DataArray
        Dask-backed, with its CRS and nodata under ``.rio`` and band names in ``attrs["band_names"]``. Tools
        read its files directly for as long as it is what this function returned. What is computed from it
        keeps nodata values, where the computation does, but no mask or alpha band.

    Raises
    ------
    MissingInputError, RasterError, CrsError
        As :func:`describe`.
    """
    import rioxarray

    raster = describe(source)
    if raster.array is not None:
        return raster.array
    # of a netCDF file rioxarray would open all variables and decode their times
    if raster.grid != raster.native or str(raster.path).endswith((".nc", ".nc4", ".cdf")):
        return mark_opened(lazy_windows(raster, chunks), raster)
    with reading():
        array = rioxarray.open_rasterio(raster.path, chunks={"x": chunks, "y": chunks}, lock=False)
    return mark_opened(array.isel(band=slice(0, raster.band_count)), raster)


def _local_path(source: Any) -> Path:
    text = os.fspath(source)
    if "://" in text or text.startswith("/vsi"):
        raise MissingInputError(
            f"{text.split('?')[0]} is not on a local disk, and rasters are read from local files: "
            "download it first, or open it as a DataArray (rioxarray.open_rasterio) and give that."
        )
    try:
        found = bool(text) and Path(text).exists()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise MissingInputError(f"there is no raster at {text[:200]!r}: {error.strerror}.") from error
    if not found:
        raise MissingInputError(f"there is no raster at {text!r}: check the path.")
    return Path(text)


def _rasters_in(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )
    if not found:
        raise MissingInputError(f"the folder {folder} holds no raster: looked for {', '.join(SUFFIXES)}.")
    return found


def _describe_files(paths: Sequence[Path]) -> Raster:
    if len(paths) == 1:
        return _describe_file(paths[0])
    parts = [_describe_file(path) for path in paths]
    xml, grid = mosaic_xml(parts)
    first = parts[0]
    return Raster(
        name=f"mosaic of {len(parts)} rasters in {Path(first.name).parent}",
        path=xml,
        array=None,
        native=grid,
        grid=grid,
        bands=first.bands,
        dtype=first.dtype,
        nodata=first.nodata,
        resampling="nearest",
        etag=hashlib.sha256("".join(part.etag for part in parts).encode()).hexdigest(),
    )


def _describe_file(path: Path) -> Raster:
    path = path.resolve()
    try:
        with reading(), _quiet, warnings.catch_warnings():
            # the checks below say the same as an error, with what to do
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with open_source(str(path)) as source:
                return _described(path, source)
    except FAILURES as error:
        if "not recognized" not in str(error):
            raise RasterError(f"{path} cannot be opened as a raster: {error}") from error
        raise RasterError(
            f"{path} is not a raster of a kind that is read here ({', '.join(DRIVERS)}), or it is damaged: "
            "convert it to GeoTIFF first (gdal_translate IN OUT.tif)."
        ) from error


def _described(path: Path, source: Any) -> Raster:
    _check_bands(path, source)
    _check_place(path, source)
    bands = _file_bands(source)
    grid = Grid(source.crs.to_wkt(), tuple(source.transform)[:6], source.height, source.width)
    # an alpha band says what is valid, also where some colour equals the nodata value; bands that
    # disagree about nodata are read through their masks
    one_value = len(set(source.nodatavals)) == 1 and len(bands) == source.count
    return Raster(
        name=str(path),
        path=str(path),
        array=None,
        native=grid,
        grid=grid,
        bands=bands,
        dtype=str(source.dtypes[0]),
        nodata=source.nodata if one_value or _all_nan(source.nodatavals) else None,
        resampling="nearest",
        etag=_files_token(path, source.files),
    )


def _check_bands(path: Path, source: Any) -> None:
    if source.count == 0:
        held = ", ".join(name.split(":")[-1] for name in source.subdatasets[:8])
        raise RasterError(
            f"{path} is a container without bands of its own{f' (it holds {held})' if held else ''}: "
            "convert one of its parts to GeoTIFF, or open it with "
            "rioxarray.open_rasterio(FILE, variable=NAME) and give that."
        )
    kinds = list(dict.fromkeys(source.dtypes))
    if len(kinds) > 1:
        raise RasterError(
            f"{path} has bands of different pixel types ({', '.join(kinds)}): "
            "bring them to one first (gdal_translate -ot Float32 IN OUT.tif)."
        )
    if kinds[0].startswith("complex"):
        raise RasterError(
            f"{path} holds complex numbers ({kinds[0]}): write their magnitudes to a new file and give that."
        )


def _check_place(path: Path, source: Any) -> None:
    unplaced = source.transform.is_identity or source.transform.determinant == 0
    if unplaced and (source.gcps[0] or source.rpcs is not None):
        by = "ground control points" if source.gcps[0] else "rational polynomials"
        raise CrsError(f"{path} is placed by {by} only: warp it to a grid first (gdalwarp IN OUT.tif).")
    if not source.crs:
        raise CrsError(
            f"{path} has no coordinate reference system: "
            "give it one (rio edit-info --crs EPSG:32633 FILE) or use a georeferenced copy."
        )
    if unplaced:
        raise RasterError(
            f"{path} does not say where its pixels lie: give it a transform "
            "(rio edit-info --transform '[1, 0, WEST, 0, -1, NORTH]' FILE) or use a georeferenced copy."
        )


def _all_nan(values: Sequence[float | None]) -> bool:
    return all(value is not None and np.isnan(value) for value in values)


def _file_bands(source: Any) -> tuple[str, ...]:
    """Band names: the file's descriptions, else what colour each band is, else its number."""
    names = []
    for index, (text, color) in enumerate(zip(source.descriptions, source.colorinterp, strict=True), start=1):
        if color.name == "alpha" and index == source.count and index > 1:
            continue  # a mask, not something to learn from
        known = color.name.capitalize() if color.name in ("red", "green", "blue") else f"Band_{index}"
        names.append(text or known)
    return tuple(names)


def _files_token(path: Path, files: Iterable[str]) -> str:
    """A hash of name, size and time of the file and of those it draws its pixels from."""
    token = hashlib.sha256()
    # other programs leave statistics in .aux.xml files; the pixels stay what they are
    drawn = (Path(name) for name in sorted(files) if not name.endswith(".aux.xml"))
    for each in (path, *drawn):
        status = each.stat() if each.exists() else None
        token.update(f"{each}|{status and (status.st_size, status.st_mtime_ns)}\n".encode())
    return token.hexdigest()
