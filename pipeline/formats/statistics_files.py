"""Count chips in stats.txt for people, and in esri_accumulated_stats.json for programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rasterio.errors import CRSError

from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import CrsError, StoreError
from rasterloom.pipeline.formats.description import Description
from rasterloom.pipeline.rasters.grid import read_crs
from rasterloom.pipeline.rasters.statistics import BandStats
from rasterloom.pipeline.store.chips import LabelStats, Summary
from rasterloom.pipeline.store.layout import StoreSpec

ACCUMULATED = "esri_accumulated_stats.json"


def accumulated(about: Description, next_number: int) -> dict[str, Any]:
    """The content of esri_accumulated_stats.json.

    References
    ----------
    "Formats", 1.2.
    """
    spec = about.spec
    plain: dict[str, Any] = {
        "Version": 1,
        "NumBands": len(spec.bands),
        "TileSizeX": spec.tile[1],
        "TileSizeY": spec.tile[0],
        "NumClasses": len(spec.classes),
        "NumTiles": spec.chips,
        "NumTilesAsDouble": spec.chips,
        "NextTileIndex": next_number,
        "OutputFeatures": not spec.kind.masks and bool(spec.classes),
        "MetaDataMode": spec.metadata_format,
        **cell_sizes(spec),
        "Classes": [{"ClassValue": c.value, "ClassName": c.name} for c in spec.classes],
    }
    if spec.kind.masks:
        plain["ClassPixelStats"] = _pixel_stats(spec.classes, about.labels)
    if spec.kind.objects or spec.kind.labels:
        plain["FeatureStats"] = _feature_stats(spec, about.labels)
    plain["InputRastersProps"] = raster_properties(spec, spec.bands)
    plain["BandStatsState"] = _band_states(about.stats)
    if spec.bands2 and about.stats2 is not None:
        plain["InputRastersProps2"] = raster_properties(spec, spec.bands2)
        plain["BandStatsState2"] = _band_states(about.stats2)
    return plain


def stats_text(about: Description) -> str:
    """The content of stats.txt.

    References
    ----------
    "Formats", 1.1.
    """
    spec, labels = about.spec, about.labels
    lines = [f"images = {spec.chips} *{len(spec.bands)}*{spec.tile[0]}*{spec.tile[1]}"]
    if not spec.classes:
        return lines[0] + "\n"
    rows = _text_rows(spec, labels)
    if not spec.kind.masks:
        per_image = _per_image(spec, labels)
        lines += [
            f"features = {sum(row[3] for row in rows)}",
            f"features per image = [min = {_short(per_image.minimum)}, mean = {per_image.mean:.2f}, "
            f"max = {_short(per_image.maximum)}]",
        ]
    lines.append(f"classes = {len(rows)}")
    what = "pixels" if spec.kind.masks else "features"
    header = ("cls name", "cls value", "images", what, "min size", "mean size", "max size")
    table = [header, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def cell_sizes(spec: StoreSpec) -> dict[str, Any]:
    """``MinCellSize`` and ``MaxCellSize``."""
    size = {
        "x": spec.cell_size[0],
        "y": spec.cell_size[1],
        "spatialReference": spatial_reference(spec.crs),
    }
    return {"MinCellSize": size, "MaxCellSize": size}


def raster_properties(spec: StoreSpec, bands: Sequence[str]) -> dict[str, Any]:
    """``InputRastersProps``."""
    return {"RasterCount": max(len(spec.sources), 1), "SensorName": "", "BandNames": list(bands)}


def spatial_reference(crs: str) -> dict[str, Any]:
    """A CRS as other software writes it: by its number, else as text."""
    try:
        code = read_crs(crs).to_epsg() if crs else None
    except (CrsError, CRSError):
        code = None
    if code is None:
        return {"wkt": crs} if crs else {}
    # the vendor's number for Web Mercator is older than EPSG's
    return {"wkid": 102100 if code == 3857 else code, "latestWkid": code}


def read_band_stats(plain: Mapping[str, Any], key: str, bands: int) -> BandStats | None:
    """The statistics of ``BandStatsState``, or None where they are not those of so many bands."""
    try:
        states = plain[key]
        if len(states) != bands or not int(states[0]["Num"]):
            return None
        return BandStats(
            int(states[0]["Num"]),
            *(tuple(float(state[name]) for state in states) for name in ("Min", "Max", "M1", "M2")),
        )
    except (KeyError, TypeError, ValueError, IndexError):
        return None


def read_label_stats(plain: Mapping[str, Any], spec: StoreSpec) -> LabelStats | None:
    """What esri_accumulated_stats.json says of the labels; None where it does not say it."""
    try:
        values = [int(c.get("ClassValue", c.get("Value"))) for c in plain.get("Classes", ())]
        pixels, areas, images = {}, {}, {}
        classes_per_image = objects_per_image = Summary()
        if spec.kind.masks:
            stats = plain["ClassPixelStats"]
            counts, totals = stats["NumImagesPerClass"], stats["NumPixelsPerClass"]
            images = {v: int(n) for v, n in zip(values, counts, strict=True) if n}
            kept = [_summary(one) for one in stats.get("PixelsPerClass", [{}] * len(values))]
            pixels = {
                v: s if s.total == total else Summary(int(n), s.minimum, s.maximum, float(total))
                for v, n, total, s in zip(values, counts, totals, kept, strict=True)
                if total
            }
            # what belongs to no class is not listed
            rest = int(plain["NumTiles"]) * spec.tile[0] * spec.tile[1] - sum(
                s.total for s in pixels.values()
            )
            if 0 not in values and rest > 0:
                pixels[0] = Summary(int(plain["NumTiles"]), 0.0, float(spec.tile[0] * spec.tile[1]), rest)
            classes_per_image = _summary(stats.get("NumClassesPerImage", {}))
        elif spec.kind.objects or spec.kind.labels:
            stats = plain["FeatureStats"]
            images = {v: int(n) for v, n in zip(values, stats["NumImagesPerClass"], strict=True) if n}
            if spec.kind.objects:
                kept = [_summary(one) for one in stats["FeatureAreaPerClass"]]
                areas = {v: one for v, one in zip(values, kept, strict=True) if one.count}
                objects_per_image = _summary(stats["NumFeaturesPerImage"])
        return LabelStats(
            int(plain["NumTiles"]),
            dict(sorted(pixels.items())),
            areas,
            dict(sorted(images.items())),
            classes_per_image,
            objects_per_image,
        )
    except (KeyError, TypeError, ValueError):
        return None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a folder.

    Raises
    ------
    StoreError
        If it is none.
    """
    try:
        plain = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}. Restore it, or export the chips again.") from error
    if not isinstance(plain, dict):
        raise StoreError(f"{path} is no description of chips: restore it, or export the chips again.")
    return plain


def _pixel_stats(classes: Sequence[ClassInfo], labels: LabelStats) -> dict[str, Any]:
    pixels = [labels.pixels.get(c.value, Summary()) for c in classes]
    return {
        "NumClasses": len(classes),
        "NumImagesTotal": labels.chips,
        "NumImagesPerClass": [one.count for one in pixels],
        "NumPixelsPerClass": [int(one.total) for one in pixels],
        "NumClassesPerImage": _plain(labels.classes_per_image),
        "PixelsPerClass": [_plain(one) for one in pixels],
    }


def _feature_stats(spec: StoreSpec, labels: LabelStats) -> dict[str, Any]:
    classes = spec.object_classes
    return {
        "NumClasses": len(classes),
        "NumImagesTotal": labels.chips,
        "NumFeaturesTotal": sum(_features(spec, labels, c) for c in classes),
        "NumImagesPerClass": [labels.images.get(c.value, 0) for c in classes],
        "NumFeaturesPerClass": [_features(spec, labels, c) for c in classes],
        "NumFeaturesPerImage": _plain(_per_image(spec, labels)),
        "FeatureAreaPerClass": [_plain(labels.areas.get(c.value, Summary())) for c in classes],
    }


def _features(spec: StoreSpec, labels: LabelStats, info: ClassInfo) -> int:
    """Objects of a class; of labels of whole chips, the chips that have it."""
    if spec.kind.objects:
        return labels.areas.get(info.value, Summary()).count
    return labels.images.get(info.value, 0)


def _per_image(spec: StoreSpec, labels: LabelStats) -> Summary:
    return labels.objects_per_image if spec.kind.objects else labels.classes_per_image


def _text_rows(spec: StoreSpec, labels: LabelStats) -> list[tuple[Any, ...]]:
    rows = []
    for info in spec.classes:
        if spec.kind.masks:
            sizes = labels.pixels.get(info.value, Summary())
            count, images = int(sizes.total), sizes.count
        else:
            sizes = labels.areas.get(info.value, Summary())
            count, images = _features(spec, labels, info), labels.images.get(info.value, 0)
        least, most = (sizes.minimum, sizes.maximum) if sizes.count else (0.0, 0.0)
        rows.append(
            (info.name, info.value, images, count, f"{least:.2f}", f"{sizes.mean:.2f}", f"{most:.2f}")
        )
    return rows


def _band_states(stats: BandStats) -> list[dict[str, float]]:
    return [
        {
            "Min": least if stats.count else 0.0,
            "Max": most if stats.count else 0.0,
            "Mean": 0,
            "StdDev": 0,
            "M1": mean,
            "M2": m2,
            "Num": stats.count,
        }
        for least, most, mean, m2 in zip(stats.minimum, stats.maximum, stats.mean, stats.m2, strict=True)
    ]


def _plain(one: Summary) -> dict[str, float]:
    least, most = (one.minimum, one.maximum) if one.count else (0.0, 0.0)
    return {"Min": least, "Max": most, "Mean": one.mean, "Sum": one.total, "Count": one.count}


def _summary(plain: Mapping[str, Any]) -> Summary:
    if not plain or not int(plain.get("Count", 0)):
        return Summary()
    return Summary(int(plain["Count"]), float(plain["Min"]), float(plain["Max"]), float(plain["Sum"]))


def _short(value: float) -> str:
    return f"{value:g}" if abs(value) != float("inf") else "0"
