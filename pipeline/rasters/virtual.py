"""Judge a virtual raster (VRT) from outside before GDAL follows what it names."""

import re
from pathlib import Path
from typing import Any

from rasterloom.models.errors import MissingInputError, RasterError
from rasterloom.pipeline.rasters.addresses import local_path, parse_address, redacted

MAX_TEXT = 512 * 2**20
"""Bytes of a virtual raster's text: a mosaic of a million files."""

_DEPTH = 8
"""Virtual rasters within virtual rasters."""

_KINDS = (None, "VRTWarpedDataset", "VRTPansharpenedDataset")
"""Kinds of virtual raster that only combine the pixels of others."""

_BANDS = (
    None,
    "VRTSourcedRasterBand",
    "VRTWarpedRasterBand",
    "VRTPansharpenedRasterBand",
    "VRTDerivedRasterBand",
)
"""Kinds of band likewise; a raw band would show the bytes of any file."""

_NAMING = ("SourceFilename", "SourceDataset", "RPCDEM", "DEM")
"""Elements whose text names a source."""

_KEYS = ("X_DATASET", "Y_DATASET", "RPC_DEM")
"""Metadata that does so too."""


def is_virtual(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is the text of a virtual raster."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:11] == b"<VRTDataset"


def check_virtual(text: bytes, name: str, folder: str) -> None:
    """Make sure that a virtual raster draws its pixels from files and addresses that are read here anyway.

    Parameters
    ----------
    text
        Its XML.
    name
        What messages call it.
    folder
        Folder, local or an address, that its relative names begin at.

    Raises
    ------
    RasterError
        If it is no well-formed XML, holds code or raw bands, or names a service.
    MissingInputError
        If a local file that it names is not there.
    """
    _check(text, name, folder, set(), 0)


def _check(text: bytes, name: str, folder: str, seen: set[str], depth: int) -> None:
    if depth > _DEPTH:
        raise RasterError(f"{name} nests virtual rasters deeper than {_DEPTH}: write it as a GeoTIFF first.")
    root = _parsed(text, name)
    for element in root.iter():
        kind = element.get("subClass")
        known = {"VRTDataset": _KINDS, "VRTRasterBand": _BANDS}.get(element.tag)
        if known and kind not in known:
            raise RasterError(
                f"{name} holds a {element.tag} of kind {kind}, which is not followed: "
                "write it as a GeoTIFF first (gdal_translate IN.vrt OUT.tif)."
            )
        if element.tag in _NAMING or (element.tag in ("MDI", "Option") and _key(element) in _KEYS):
            source = (element.text or "").strip()
            relative = element.get("relativeToVRT", element.get("relativetoVRT", "0")) == "1"
            if source and source not in seen:
                seen.add(source)
                _check_source(source, name, folder if relative else "", seen, depth)


def _parsed(text: bytes, name: str) -> Any:
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        return fromstring(text)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise RasterError(f"{name} is no virtual raster that can be read: {error}.") from error


def _key(element: Any) -> str:
    return str(element.get("key") or element.get("name") or "").upper()


def _check_source(source: str, name: str, folder: str, seen: set[str], depth: int) -> None:
    if source.startswith("<"):
        if not is_virtual(source.encode()):
            raise RasterError(f"{name} holds the description of a service, which is not followed.")
        _check(source.encode(), name, folder, seen, depth + 1)
        return
    inside = re.fullmatch(r'NETCDF:"?([^"]+?)"?:[^:/]+', source)
    source = local_path(inside.group(1) if inside else source)
    if folder and ("://" in folder or folder.startswith("/vsi")) and not source.startswith("/"):
        return  # beside the virtual raster itself, on the same server
    if parse_address(source) is not None:
        return
    path = Path(folder) / source if folder else Path(source)
    if not path.is_file():
        raise MissingInputError(
            f"{name} draws pixels from {redacted(str(path))!r}, which is no file: "
            "check its path, or build the virtual raster again."
        )
    with path.open("rb") as file:
        head = file.read(1024)
        if is_virtual(head):
            _check(head + file.read(MAX_TEXT), str(path), str(path.parent), seen, depth + 1)
        elif head.lstrip()[:1] in (b"<", b"{"):
            raise RasterError(f"{name} names {path}, which describes a service and is not followed.")
