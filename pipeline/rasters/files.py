"""Describe one file: local, or behind an address."""

import hashlib
import threading
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as GdalWindow

from rasterloom.models.errors import MissingInputError, RasterError, SettingError
from rasterloom.pipeline.rasters.addresses import Address, Glimpse, fetch, glimpse, redacted
from rasterloom.pipeline.rasters.checks import check_data_set
from rasterloom.pipeline.rasters.gdal import DRIVERS, FAILURES, open_source, reading
from rasterloom.pipeline.rasters.grid import Grid, Window
from rasterloom.pipeline.rasters.raster import Raster
from rasterloom.pipeline.rasters.virtual import MAX_TEXT, check_virtual, is_virtual
from rasterloom.pipeline.rasters.vrt import add_band, add_source, start_vrt, to_xml

ALPHA = (None, "mask", "band")
"""What a last band that the file calls alpha may be taken for; None looks at its values."""

quiet = threading.Lock()
"""Held while Python's warning filters, which all threads share, are not as they were."""

_SPOT = 64
"""Pixels a side of the places where an alpha band is looked at, three by three of them."""

_BLOCKS = 64
"""Blocks, spread over the file, whose places in it stand for its content where nothing else is known."""


def describe_file(place: Path | Address, alpha: str | None = None) -> Raster:
    """Say what one file is without reading its pixels, but for spots of an alpha band.

    Raises
    ------
    MissingInputError
        If nothing is at the address.
    RasterError, CrsError
        If it cannot be used as a raster.
    SettingError
        If ``alpha`` is none of ``ALPHA``.
    """
    if alpha not in ALPHA:
        raise SettingError(f"alpha={alpha!r} cannot work: use 'mask', 'band' or None.")
    if isinstance(place, Path):
        return _describe_local(place.resolve(), alpha)
    return _describe_remote(place, alpha)


def _describe_local(path: Path, alpha: str | None) -> Raster:
    try:
        with path.open("rb") as file:
            head = file.read(1024)
            text = head + file.read(MAX_TEXT) if is_virtual(head) else b""
    except OSError as error:  # a folder, or a file that may not be read
        raise RasterError(f"{path} cannot be opened as a raster: {error.strerror}.") from error
    if text:
        check_virtual(text, str(path), str(path.parent))
    return _described(str(path), str(path), alpha, lambda source: _files_token(path, source.files))


def _describe_remote(address: Address, alpha: str | None) -> Raster:
    seen = glimpse(address)
    if seen and is_virtual(seen.head):
        folder = address.gdal.rpartition("/")[0]
        check_virtual(fetch(address, MAX_TEXT), address.name, folder)
    return _described(
        address.gdal,
        address.name,
        alpha,
        lambda source: _remote_token(address.name, seen, source),
        remote=bool(address.url),
    )


def _described(path: str, name: str, alpha: str | None, token: Any, *, remote: bool = False) -> Raster:
    try:
        with reading(remote=remote), quiet, warnings.catch_warnings():
            # the checks say the same as an error, with what to do
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with open_source(path) as source:
                check_data_set(name, source)
                return replace(_raster(path, name, source, alpha, token(source)), remote=remote)
    except FAILURES as error:
        raise _refusal(name, error) from (error if redacted(str(error)) == str(error) else None)


def _refusal(name: str, error: Exception) -> Exception:
    reason = redacted(str(error))
    if "response code: 404" in reason or ("does not exist" in reason and "Access Key" not in reason):
        return MissingInputError(f"there is no raster at {name}: check the address. {reason}")
    if "not recognized" not in reason:
        return RasterError(f"{name} cannot be opened as a raster: {reason}")
    return RasterError(
        f"{name} is not a raster of a kind that is read here ({', '.join(DRIVERS)}), or it is damaged: "
        "convert it to GeoTIFF first (gdal_translate IN OUT.tif)."
    )


def _raster(path: str, name: str, source: Any, alpha: str | None, etag: str) -> Raster:
    grid = Grid(source.crs.to_wkt(), tuple(source.transform)[:6], source.height, source.width)
    marked = source.count > 1 and source.colorinterp[-1] == ColorInterp.alpha
    masking = marked and (alpha or _alpha_is(name, source)) == "mask"
    bands = _band_names(source)[: source.count - masking]
    # an alpha band says what is valid, also where some colour equals the nodata value; bands that
    # disagree about nodata are read through their masks
    one_value = len(set(source.nodatavals)) == 1 and not masking
    nodata = source.nodata if one_value or _all_nan(source.nodatavals) else None
    if marked and not masking:
        path, etag = _plain_bands(path, grid, bands, str(source.dtypes[0]), nodata), f"{etag} alpha=band"
    return Raster(
        name=name,
        path=path,
        array=None,
        native=grid,
        grid=grid,
        bands=bands,
        dtype=str(source.dtypes[0]),
        nodata=nodata,
        resampling="nearest",
        etag=etag,
        alpha=masking,
        indexed=source.count == 1 and source.colorinterp[0] == ColorInterp.palette,
    )


def _band_names(source: Any) -> tuple[str, ...]:
    """Band names: the file's descriptions, else what colour each band is, else its number."""
    names = []
    for index, (text, color) in enumerate(zip(source.descriptions, source.colorinterp, strict=True), start=1):
        known = color.name.capitalize() if color.name in ("red", "green", "blue") else f"Band_{index}"
        names.append(text or known)
    return tuple(names)


def _alpha_is(name: str, source: Any) -> str:
    """Whether the values of the alpha band are those of a mask, or measurements.

    GDAL calls the fourth band of any RGB GeoTIFF of bytes alpha unless it is told otherwise, near infrared
    too. A mask is 0 or one other value nearly everywhere.
    """
    seen = np.concatenate([_spot(source, row, col) for row in range(3) for col in range(3)])
    shown = seen[seen != 0]
    if shown.size == 0:
        return "mask"
    _, counts = np.unique(shown, return_counts=True)
    if shown.size - counts.max() <= seen.size // 10:
        return "mask"
    warnings.warn(
        f"the last band of {name} is marked as alpha and holds many values, so it is read as a band: "
        "say alpha='mask' where it is a mask, alpha='band' to read it as one without this warning.",
        stacklevel=2,
    )
    return "band"


def _spot(source: Any, row: int, col: int) -> np.ndarray:
    height, width = min(_SPOT, source.height), min(_SPOT, source.width)
    place = GdalWindow((source.width - width) * col // 2, (source.height - height) * row // 2, width, height)
    return np.asarray(source.read(source.count, window=place)).ravel()


def _plain_bands(path: str, grid: Grid, bands: Sequence[str], dtype: str, nodata: float | None) -> str:
    """A virtual raster of the same bands, none of which is called alpha."""
    root = start_vrt(grid)
    for index, name in enumerate(bands, start=1):
        band = add_band(root, index, dtype, name=name, nodata=nodata)
        add_source(band, path, Window(0, 0, *grid.shape), str(index))
    return to_xml(root)


def _all_nan(values: Sequence[float | None]) -> bool:
    return all(value is not None and np.isnan(value) for value in values)


def _files_token(path: Path, files: Iterable[str]) -> str:
    """A hash of name, size and time of the file and of those it draws its pixels from."""
    token = hashlib.sha256()
    # other programs leave statistics in .aux.xml files; the pixels stay what they are
    drawn = (Path(name) for name in sorted(files) if not name.endswith(".aux.xml") and name[:1] != "<")
    for each in (path, *drawn):
        status = each.stat() if each.exists() else None
        token.update(f"{each}|{status and (status.st_size, status.st_mtime_ns)}\n".encode())
    return token.hexdigest()


def _remote_token(name: str, seen: Glimpse | None, source: Any) -> str:
    """A hash of what the server says identifies the file; else of where its blocks lie in it."""
    token = hashlib.sha256(f"{name}|".encode())
    token.update((seen.identity if seen and seen.identity else _layout(source)).encode())
    return token.hexdigest()


def _layout(source: Any) -> str:
    """Sizes and offsets of blocks of a compressed GeoTIFF: another content has others."""
    rows, cols = source.block_shapes[0]
    down, across = -(-source.height // rows), -(-source.width // cols)
    count = down * across
    found = [source.files, source.tags(), source.profile]
    for index in {count * step // _BLOCKS for step in range(_BLOCKS)} | {count - 1}:
        block = f"{index % across}_{index // across}"
        found += [source.get_tag_item(f"BLOCK_{what}_{block}", "TIFF", bidx=1) for what in ("OFFSET", "SIZE")]
    return redacted(str(found))
