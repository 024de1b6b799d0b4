"""Rasters in Zarr stores: described from their metadata, read by windows."""

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.errors import MissingExtraError, RasterError, SettingError
from rasterloom.pipeline.rasters.addresses import Address
from rasterloom.pipeline.rasters.arrays import array_bands, array_grid, array_nodata, band_y_x
from rasterloom.pipeline.rasters.checks import check_block, check_size
from rasterloom.pipeline.rasters.files import quiet
from rasterloom.pipeline.rasters.grid import Window, same_value
from rasterloom.pipeline.rasters.raster import Raster

_METADATA = ("zarr.json", ".zmetadata", ".zgroup", ".zarray")
"""Files that make a folder a Zarr store."""


@dataclass(frozen=True)
class ZarrPixels:
    """Bands in the arrays of a Zarr store."""

    url: str
    """Local path or URL of the store."""
    arrays: tuple[str, ...]
    """Arrays of the store, (row, column) or (band, row, column), whose bands follow each other."""
    counts: tuple[int, ...]
    """Bands of each."""
    etag: str
    """Of what stood there when it was described: a store that was written anew is opened anew."""

    def read(self, window: Window, bands: Sequence[int]) -> np.ndarray:
        """The pixels (band, row, column) of a window; only the chunks it meets are read."""
        try:
            return self._read(window, bands)
        except OSError:
            raise
        except Exception as error:  # codecs and stores have errors of their own, and they all mean this
            raise OSError(f"{type(error).__name__}: {error}") from error

    def _read(self, window: Window, bands: Sequence[int]) -> np.ndarray:
        rows, cols = window.slices
        where = [(index, band) for index, count in enumerate(self.counts) for band in range(count)]
        first = self._array(self.arrays[0])
        pixels = np.empty((len(bands), window.height, window.width), first.dtype.newbyteorder("="))
        for index in dict.fromkeys(where[band][0] for band in bands):
            wanted = [(place, where[band][1]) for place, band in enumerate(bands) if where[band][0] == index]
            array = self._array(self.arrays[index])
            if array.ndim == 2:
                pixels[[place for place, _ in wanted]] = array[rows, cols]
                continue
            low, high = min(band for _, band in wanted), max(band for _, band in wanted)
            held = array[low : high + 1, rows, cols]  # one read: a chunk may hold several bands
            pixels[[place for place, _ in wanted]] = held[[band - low for _, band in wanted]]
        return pixels

    def _array(self, name: str) -> Any:
        return _opened(self.url, name, self.etag, os.getpid())


def is_store(path: Path) -> bool:
    """Whether a local folder is a Zarr store."""
    return path.is_dir() and any((path / name).is_file() for name in _METADATA)


def describe_zarr(place: Path | Address, variable: str | Sequence[str] | None = None) -> Raster:
    """Say what a Zarr store with a georeference, as xarray and rioxarray write it, holds.

    Parameters
    ----------
    place
        The store.
    variable
        Which arrays, in the order of the bands. None takes all that are rasters, by name; they must share a
        grid and a pixel type. Numbers are read as they are stored: scale factors are not applied.

    Returns
    -------
    Raster
        Whose etag follows the times and sizes of a local store's files; of a store behind an address, its
        metadata only.

    Raises
    ------
    RasterError, CrsError
        If it holds no raster, or several that are not one.
    SettingError
        If it has no such variable.
    """
    url = str(place.resolve()) if isinstance(place, Path) else place.url
    name = url if isinstance(place, Path) else place.name
    dataset = _dataset(url, name)
    try:
        chosen = _chosen(dataset, variable, name)
        layers = [band_y_x(dataset[each]) for each in chosen]
        _check_order(dataset, layers, chosen, name)
        grid, dtype, nodata = _shared(layers, chosen, name)
        check_size(name, *grid.shape)
        for each in chosen:
            _check_chunk(name, dataset[each])
        etag = _token(url, dataset, chosen)
        counts = tuple(int(layer.shape[0]) for layer in layers)
        return Raster(
            name=name,
            path=None,
            array=ZarrPixels(url, tuple(chosen), counts, etag),
            native=grid,
            grid=grid,
            bands=_bands(layers, chosen),
            dtype=dtype,
            nodata=nodata,
            resampling="nearest",
            etag=etag,
        )
    finally:
        dataset.close()


@lru_cache(maxsize=64)
def _opened(url: str, name: str, etag: str, process: int) -> Any:
    import zarr

    # a forked process may not use the connections of its parent: `process` gives it its own
    return zarr.open_array(url, path=name, mode="r", **_options(url))


def _options(url: str) -> dict[str, Any]:
    unsigned = os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in ("YES", "TRUE", "1")
    return {"storage_options": {"anon": True}} if url.startswith("s3") and unsigned else {}


def _dataset(url: str, name: str) -> Any:
    import rioxarray  # noqa: F401  gives arrays their .rio
    import xarray

    try:
        with quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata in one place or many: both are read
            dataset = xarray.open_zarr(
                url,
                chunks=None,
                mask_and_scale=False,
                decode_times=False,
                decode_coords="all",
                **_options(url),
            )
        # writing with chunk sizes of one's own loses the link from the arrays to the variable with the CRS
        lost = [key for key, each in dataset.data_vars.items() if each.ndim == 0 and "crs_wkt" in each.attrs]
        return dataset.set_coords(lost)
    except ImportError as error:
        raise MissingExtraError(f"reading {name} needs a package: {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RasterError(
            f"{name} cannot be opened as a Zarr store with dimensions, as xarray writes them: {error}."
        ) from error


def _chosen(dataset: Any, variable: str | Sequence[str] | None, name: str) -> list[str]:
    held = [str(key) for key in dataset.data_vars]
    if variable is not None:
        wanted = [variable] if isinstance(variable, str) else [str(each) for each in variable]
        for each in wanted:
            if each not in held:
                raise SettingError(f"{name} has no variable {each!r}: it has {', '.join(held)}.")
        return wanted
    rasters = [
        each for each in sorted(held) if dataset[each].ndim in (2, 3) and dataset[each].dtype.kind in "iuf"
    ]
    if not rasters:
        raise RasterError(
            f"{name} holds no array of numbers with dimensions (y, x) or (band, y, x): "
            f"it holds {', '.join(held) or 'nothing'}."
        )
    return rasters


def _check_order(dataset: Any, layers: Sequence[Any], chosen: Sequence[str], name: str) -> None:
    for layer, each in zip(layers, chosen, strict=True):
        if dataset[each].dims[-2:] != layer.dims[-2:]:
            raise RasterError(
                f"{name}: {each} has dimensions {dataset[each].dims}, and rows and columns must come last: "
                "store it transposed (DataArray.transpose, then to_zarr)."
            )


def _shared(layers: Sequence[Any], chosen: Sequence[str], name: str) -> tuple[Any, str, float | None]:
    """Grid, pixel type and nodata of all layers."""
    found = [(array_grid(layer), layer.dtype.newbyteorder("=").name, array_nodata(layer)) for layer in layers]
    grid, dtype, nodata = found[0]
    for (other, kind, hole), each in zip(found, chosen, strict=True):
        if other != grid or kind != dtype or not same_value(hole, nodata):
            raise RasterError(
                f"{name}: {each} differs from {chosen[0]} in grid, pixel type or nodata: "
                f"choose with variable= among {', '.join(chosen)}."
            )
    return grid, dtype, nodata


def _check_chunk(name: str, array: Any) -> None:
    chunk: Sequence[int] = array.encoding.get("chunks") or array.shape
    size = int(np.prod(np.array(chunk, np.float64))) * array.dtype.itemsize
    check_block(name, size, "store it in smaller chunks (DataArray.chunk, then to_zarr).")


def _bands(layers: Sequence[Any], chosen: Sequence[str]) -> tuple[str, ...]:
    if len(layers) == 1 and layers[0].shape[0] > 1:
        return array_bands(layers[0])
    names: list[str] = []
    for layer, each in zip(layers, chosen, strict=True):
        count = int(layer.shape[0])
        names += [each] if count == 1 else [f"{each}_{index + 1}" for index in range(count)]
    return tuple(names)


def _token(url: str, dataset: Any, chosen: Sequence[str]) -> str:
    token = hashlib.sha256(f"{url}|{chosen}|{_plain(dataset.attrs)}".encode())
    for each in chosen:
        layer = dataset[each]
        token.update(f"{layer.shape}{layer.dtype}{_plain(layer.attrs)}{_plain(layer.encoding)}".encode())
    if "://" in url:
        return token.hexdigest()
    for each in chosen:
        for line in _listing(Path(url) / each):
            token.update(line.encode())
    return token.hexdigest()


def _listing(folder: Path) -> Iterator[str]:
    """Name, size and time of every file in a folder and those in it."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _listing(Path(entry.path))
        else:
            status = entry.stat()
            yield f"{entry.path}|{status.st_size}|{status.st_mtime_ns}\n"


def _plain(values: Mapping[Any, Any]) -> str:
    return str(sorted((str(key), str(value)) for key, value in values.items()))
