"""STAC items as rasters: the bands of their assets, and many items as one mosaic."""

import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rasterloom.models.errors import MissingInputError, RasterError, SettingError
from rasterloom.pipeline.rasters.addresses import Address, fetch, find, redacted
from rasterloom.pipeline.rasters.folders import describe_place
from rasterloom.pipeline.rasters.mosaics import mosaic, stack
from rasterloom.pipeline.rasters.raster import Raster

Assets = str | Sequence[str] | Mapping[str, Sequence[int | str]] | None
"""Names of assets, or names and the bands of each by number (from 1) or name."""

_LIMIT = 64 * 2**20
"""Bytes of an item's or collection's JSON."""

_MEDIA = ("image/tiff", "image/vnd.stac.geotiff", "image/jp2", "image/x.geotiff")
"""Media types of assets that are rasters of measurements."""

_SUFFIXES = (".tif", ".tiff", ".jp2")
"""How the names of such assets end, where no media type is given."""

_ASIDE = {"thumbnail", "overview", "visual", "metadata", "data-mask", "saturation", "cloud", "cloud-shadow"}
"""Roles of assets that show or qualify the data."""


@dataclass(frozen=True)
class StacItem:
    """What is used of a STAC item."""

    name: str
    base: str
    """Path or URL of its JSON, which relative names begin at; empty where it has none."""
    assets: Mapping[str, Mapping[str, Any]]
    properties: Mapping[str, Any]


def is_stac(source: Any) -> bool:
    """Whether an object is a STAC item or collection of items: of pystac's classes, or a dictionary."""
    if isinstance(source, Mapping):
        return "assets" in source or source.get("type") == "FeatureCollection"
    return hasattr(source, "to_dict") and (hasattr(source, "assets") or hasattr(source, "items"))


def read_items(source: Any, base: str = "") -> list[StacItem]:
    """The items of an object that :func:`is_stac` accepts.

    Raises
    ------
    RasterError
        If it holds none.
    """
    if not isinstance(source, Mapping):
        base = base or (source.get_self_href() or "" if hasattr(source, "get_self_href") else "")
        source = source.to_dict(transform_hrefs=False)
    if source.get("type") == "FeatureCollection":
        listed = source.get("features") or []
        items = [item for each in listed if isinstance(each, Mapping) for item in read_items(each, base)]
    else:
        items = [_item(source, base)] if isinstance(source.get("assets"), Mapping) else []
    if not items:
        raise RasterError(
            f"{redacted(base) or 'the dictionary'} holds no STAC item with assets: "
            "give an item, an ItemCollection, or a list of items."
        )
    return items


def load_items(place: Path | Address) -> list[StacItem]:
    """The items of a JSON file.

    Raises
    ------
    RasterError
        If it is no JSON, or holds no items.
    """
    if isinstance(place, Path):
        name, content = str(place.resolve()), place.read_bytes()
    else:
        name, content = place.url or place.name, fetch(place, _LIMIT)
    try:
        read = json.loads(content)
    except ValueError as error:
        raise RasterError(f"{redacted(name)} is not JSON: {error}.") from error
    if not isinstance(read, Mapping) or not (is_stac(read) or read.get("type") == "Feature"):
        kind = read.get("type", "no type") if isinstance(read, Mapping) else type(read).__name__
        raise RasterError(
            f"{redacted(name)} is no STAC item or ItemCollection (it says {kind!r}): give those, "
            "as a search of the catalog returns them."
        )
    return read_items(read, name)


def describe_items(
    items: Sequence[StacItem], assets: Assets, *, resampling: str | None, alpha: str | None
) -> Raster:
    """The chosen assets' bands, stacked; several items side by side.

    Raises
    ------
    SettingError
        If an item lacks one of the assets.
    RasterError
        If it is not clear which assets are meant; the message lists them.
    """
    if assets is None:
        chosen: Mapping[str, Sequence[int | str] | None] = dict.fromkeys(_usual_assets(items[0]))
    elif isinstance(assets, Mapping):
        chosen = dict(assets)
    else:
        chosen = dict.fromkeys([assets] if isinstance(assets, str) else assets)
    if not chosen:
        raise SettingError(f"assets= is empty: name some of {', '.join(items[0].assets)}.")
    rasters = [_stacked(item, chosen, assets is None, resampling, alpha) for item in items]
    if len(rasters) == 1:
        return rasters[0]
    return replace(mosaic(rasters, resampling=resampling), name=f"mosaic of {len(items)} STAC items")


def _item(source: Mapping[str, Any], base: str) -> StacItem:
    links = source.get("links") or []
    own = [link.get("href") for link in links if isinstance(link, Mapping) and link.get("rel") == "self"]
    return StacItem(
        str(source.get("id", "without id")),
        base or str(own[0] if own else ""),
        {str(key): asset for key, asset in source["assets"].items() if isinstance(asset, Mapping)},
        source.get("properties") or {},
    )


def _usual_assets(item: StacItem) -> list[str]:
    """Rasters of measurements: those with the role data if any has it, those with named bands if any has."""
    rasters = [key for key, asset in item.assets.items() if _is_raster(asset)]
    rasters = [key for key in rasters if "data" in _roles(item.assets[key])] or rasters
    rasters = [key for key in rasters if _listed_bands(item.assets[key])] or rasters
    if not rasters:
        raise RasterError(
            f"STAC item {item.name} has no asset that looks like data: "
            f"name some with assets= among {', '.join(item.assets)}."
        )
    return rasters


def _is_raster(asset: Mapping[str, Any]) -> bool:
    media = str(asset.get("type") or "").lower().replace(" ", "")
    named = str(asset.get("href", "")).split("?")[0].lower().endswith(_SUFFIXES)
    return (media.startswith(_MEDIA) or (not media and named)) and not _ASIDE & set(_roles(asset))


def _roles(asset: Mapping[str, Any]) -> Iterable[str]:
    return [str(role) for role in asset.get("roles") or []]


def _listed_bands(asset: Mapping[str, Any]) -> list[Any]:
    return list(asset.get("bands") or asset.get("eo:bands") or [])


def _stacked(
    item: StacItem,
    chosen: Mapping[str, Sequence[int | str] | None],
    guessed: bool,
    resampling: str | None,
    alpha: str | None,
) -> Raster:
    parts, numbers, names = [], [], []
    for key, bands in chosen.items():
        part = describe_place(_place(item, key), resampling=resampling, alpha=alpha)
        part = replace(part, bands=_band_names(item, key, part))
        picked = _numbers(item, key, part, bands)
        parts.append(part)
        numbers.append(picked)
        names.append([part.bands[number - 1] for number in picked])
    if guessed and len({part.dtype for part in parts}) > 1:
        kinds = ", ".join(f"{key} ({part.dtype})" for key, part in zip(chosen, parts, strict=True))
        raise RasterError(
            f"STAC item {item.name} has data of several pixel types: choose with assets= among {kinds}."
        )
    flat = _told_apart(list(chosen), names)
    whole = len(parts) == 1 and numbers[0] == list(range(1, parts[0].band_count + 1))
    raster = (
        replace(parts[0], bands=tuple(flat))
        if whole
        else stack(parts, flat, numbers=numbers, resampling=resampling)
    )
    return replace(raster, name=f"STAC item {item.name}")


def _place(item: StacItem, key: str) -> Path | Address:
    if key not in item.assets:
        raise SettingError(f"STAC item {item.name} has no asset {key!r}: it has {', '.join(item.assets)}.")
    href = str(item.assets[key].get("href", ""))
    if not href:
        raise RasterError(f"asset {key} of STAC item {item.name} says nowhere where it lies (href).")
    if not (re.match(r"[A-Za-z][\w+.\-]*://", href) or href.startswith("/")):
        if not item.base:
            raise RasterError(
                f"asset {key} of STAC item {item.name} lies at {redacted(href)!r}, beside a JSON file "
                "that is not known: give its path, or an item that knows it (pystac.Item.from_file)."
            )
        href = _joined(item.base, href)
    try:
        return find(href)
    except MissingInputError as error:
        raise MissingInputError(f"asset {key} of STAC item {item.name}: {error}") from error


def _joined(base: str, href: str) -> str:
    if base.startswith("file://"):
        base = base.removeprefix("file://")
    scheme, mark, rest = base.partition("://")
    folder = posixpath.dirname(rest.split("?")[0] if mark else base)
    path = posixpath.normpath(posixpath.join(folder, href))
    return f"{scheme}://{path}" if mark else str(Path(path).absolute())


def _band_names(item: StacItem, key: str, part: Raster) -> tuple[str, ...]:
    names = [_band_name(item, band) for band in _listed_bands(item.assets[key])]
    if len(names) == part.band_count and all(names):
        return tuple(names)
    return (
        (key,) if part.band_count == 1 else tuple(f"{key}_{number + 1}" for number in range(part.band_count))
    )


def _band_name(item: StacItem, band: Any) -> str:
    listed = item.properties.get("eo:bands") or []
    if isinstance(band, int) and 0 <= band < len(listed):  # up to STAC 0.8: a place in the item's own list
        band = listed[band]
    if not isinstance(band, Mapping):
        return ""
    return str(band.get("eo:common_name") or band.get("common_name") or band.get("name") or "")


def _numbers(item: StacItem, key: str, part: Raster, bands: Sequence[int | str] | None) -> list[int]:
    """Numbers, from 1, of the bands that are wanted of an asset."""
    if bands is None:
        return list(range(1, part.band_count + 1))
    found = []
    for band in [bands] if isinstance(bands, int | str) else bands:
        if isinstance(band, str) and band in part.bands:
            found.append(part.bands.index(band) + 1)
        elif isinstance(band, int) and 1 <= band <= part.band_count:
            found.append(band)
        else:
            raise SettingError(
                f"asset {key} of STAC item {item.name} has no band {band!r}: "
                f"it has 1 to {part.band_count} ({', '.join(part.bands)})."
            )
    if not found:
        raise SettingError(f"assets= names no band of asset {key}: it has {', '.join(part.bands)}.")
    return found


def _told_apart(keys: Sequence[str], names: Sequence[Sequence[str]]) -> list[str]:
    """All names in order; where two are the same, with the asset's."""
    flat = [name for group in names for name in group]
    return [
        name if flat.count(name) == 1 else (key if len(group) == 1 else f"{key}_{name}")
        for key, group in zip(keys, names, strict=True)
        for name in group
    ]
