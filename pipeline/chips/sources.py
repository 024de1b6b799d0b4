"""The rasters that chips are cut from, each with its labels laid on its own ground."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rasterloom.models.errors import LabelError, MissingInputError, RasterError, SettingError
from rasterloom.pipeline.chips.settings import CENTRED, ExportSettings
from rasterloom.pipeline.labels.features import layer_name, read_outline
from rasterloom.pipeline.labels.prepared import Prepared, check_areas, prepare_features
from rasterloom.pipeline.rasters.context import extent_window, target_grid
from rasterloom.pipeline.rasters.folders import SUFFIXES, rasters_in
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.rasters.raster import Raster

_MAPS = (*SUFFIXES, ".zarr", ".nc", ".nc4", ".cdf", ".hdf", ".h5")
"""Endings of labels that are rasters; all others are vector layers."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the caller gave to read."""

    raster: Any
    labels: Any = None
    instances: Any = None
    second: Any = None
    mask: Any = None


@dataclass(frozen=True, eq=False)
class ChipSource:
    """One raster and what is known of its ground."""

    raster: Raster
    """On the grid it is read on."""
    area: Window
    """The part that chips are cut from."""
    features: Prepared | None = None
    """Labels that are features. Both this and ``class_map`` are None where nothing is labelled."""
    class_map: Raster | None = None
    """Labels that are a raster, on the same grid."""
    instances: Prepared | None = None
    instance_map: Raster | None = None
    """Numbers of the objects of Panoptic_Segmentation, on the same grid."""
    second: Raster | None = None
    """The raster of the second images, on the same grid."""
    mask: Any = None
    """Shapely geometry that chips must lie in; only the plan needs it."""

    @property
    def is_labelled(self) -> bool:
        """Whether it has labels of any kind."""
        labels = (self.features, self.class_map, self.instances, self.instance_map)
        return any(each is not None for each in labels)

    @property
    def identity(self) -> dict[str, Any]:
        """All that the pixels and labels of its chips depend on, JSON-able."""
        return {
            "rasters": [_identity(r) for r in (self.raster, self.class_map, self.instance_map, self.second)],
            "features": [None if p is None else p.digest for p in (self.features, self.instances)],
        }

    def for_tasks(self, folder: Path, staged: Path) -> "ChipSource":
        """The same without what only the plan needs, its prepared features moved between folders."""

        def moved(prepared: Prepared | None) -> Prepared | None:
            if prepared is None:
                return None
            return replace(
                prepared, path=_like(prepared.path, folder / Path(prepared.path).relative_to(staged))
            )

        return replace(self, mask=None, features=moved(self.features), instances=moved(self.instances))


def open_sources(inputs: Inputs, settings: ExportSettings, staging: Path) -> tuple[ChipSource, ...]:
    """The sources of an export, with their features prepared as files in ``staging``.

    Raises
    ------
    MissingInputError, RasterError, CrsError, LabelError, SettingError
        If something cannot be read, or rasters do not agree in bands and pixel type.
    """
    given = rasters_of(inputs.raster) if settings.separate else [inputs.raster]
    rasters = [target_grid(describe(one), settings.context) for one in given]
    _check_alike(rasters)
    found: list[ChipSource] = []
    reasons: list[Exception] = []
    for number, raster in enumerate(rasters):
        folder = staging / f"source-{number:06d}"
        folder.mkdir()
        try:
            found.append(_source(raster, inputs, settings, folder))
        except (LabelError, SettingError) as error:
            if len(rasters) == 1:
                raise
            # of many rasters some may lie beside the labels or the extent
            reasons.append(error)
            if settings.all_tiles and isinstance(error, LabelError):
                found.append(_source(raster, replace(inputs, labels=None, instances=None), settings, folder))
    if reasons and not any(inputs.labels is None or source.is_labelled for source in found):
        raise reasons[0]
    return tuple(found)


def rasters_of(source: Any) -> list[Any]:
    """The rasters of a list or folder, one by one.

    Raises
    ------
    MissingInputError
        If there are none.
    """
    if isinstance(source, str | Path):
        return list(rasters_in(Path(source))) if Path(source).is_dir() else [source]
    if not isinstance(source, Sequence):
        return [source]
    if not source:
        raise MissingInputError("the list of rasters is empty: give at least one path.")
    return list(source)


def is_class_map(labels: Any) -> bool:
    """Whether labels are a raster and not features."""
    if isinstance(labels, Raster) or hasattr(labels, "dims"):
        return True
    if isinstance(labels, list | tuple):
        return True
    if not isinstance(labels, str | Path):
        return False
    name = str(labels).split("?")[0].rstrip("/").lower()
    return name.endswith(_MAPS) or (
        Path(labels).is_dir() and not name.endswith(".gdb") and _has_rasters(labels)
    )


def label_name(labels: Any) -> str:
    """What the store calls the labels."""
    if labels is None:
        return ""
    if is_class_map(labels) and not isinstance(labels, str | Path):
        return "the class raster"
    return layer_name(labels)


def _source(raster: Raster, inputs: Inputs, settings: ExportSettings, folder: Path) -> ChipSource:
    area = extent_window(raster, settings.context)
    features, class_map = _labels(inputs.labels, raster, settings, folder / "labels.parquet")
    instances, instance_map = _instances(inputs.instances, raster, settings, folder / "instances.parquet")
    return ChipSource(
        raster=raster,
        area=area,
        features=features,
        class_map=class_map,
        instances=instances,
        instance_map=instance_map,
        second=_second(inputs.second, raster, settings),
        mask=None if inputs.mask is None else read_outline(inputs.mask, grid=raster.grid),
    )


def _labels(
    labels: Any, raster: Raster, settings: ExportSettings, path: Path
) -> tuple[Prepared | None, Raster | None]:
    if labels is None:
        return None, None
    if is_class_map(labels):
        _check_map(settings)
        return None, _on_grid(labels, raster, "input_class_data")
    kind = settings.kind
    prepared = prepare_features(
        labels,
        path,
        grid=raster.grid,
        class_field=settings.class_field,
        buffer_radius=settings.buffer_radius,
        negative=not kind.masks,
    )
    if (kind.objects and not kind.masks) or kind.several_labels or not settings.fixed_size:
        check_areas(prepared)
    _check_kitti(prepared, settings)
    return prepared, None


def _instances(
    instances: Any, raster: Raster, settings: ExportSettings, path: Path
) -> tuple[Prepared | None, Raster | None]:
    if instances is None:
        return None, None
    if is_class_map(instances):
        return None, _on_grid(instances, raster, "input_instance_data")
    prepared = prepare_features(
        instances,
        path,
        grid=raster.grid,
        class_field=settings.instance_field,
        buffer_radius=settings.buffer_radius,
    )
    check_areas(prepared)
    return prepared, None


def _second(second: Any, raster: Raster, settings: ExportSettings) -> Raster | None:
    if second is None or not settings.kind.pairs:
        return None
    return describe(second).on_grid(raster.grid)


def _on_grid(labels: Any, raster: Raster, argument: str) -> Raster:
    """A raster of whole numbers by its nearest pixels; its first band counts."""
    found = describe(labels)
    if found.band_count != 1:
        raise LabelError(
            f"{argument}={found.name} has {found.band_count} bands, and a class raster has one: give the "
            "band with the class values as a raster of its own."
        )
    if np.dtype(found.dtype).kind == "c":
        raise LabelError(f"{argument}={found.name} holds complex numbers: give whole numbers.")
    return found.on_grid(raster.grid, resampling="nearest")


def _check_map(settings: ExportSettings) -> None:
    if settings.min_share:
        raise SettingError(
            "min_polygon_overlap_ratio has no effect on a class raster, whose regions have no whole to "
            "compare with: leave it at 0, or give features."
        )
    for argument, value in {
        "buffer_radius": settings.buffer_radius,
        "classvalue_field": settings.class_field,
    }.items():
        if value is not None:
            raise SettingError(f"{argument} has no effect on a class raster: leave it out, or give features.")
    if not settings.fixed_size:
        raise SettingError(
            "fix_chip_size=False cuts chips around features: give features instead of a raster."
        )


def _check_kitti(prepared: Prepared, settings: ExportSettings) -> None:
    below = [c.value for c in prepared.classes if c.value < 0]
    if below and settings.metadata_format == "KITTI_rectangles":
        raise LabelError(
            f"class value {below[0]} cannot be written as KITTI_rectangles, whose readers split lines at "
            "minus signs: use values of 0 or more, or PASCAL_VOC_rectangles."
        )


def _check_alike(rasters: Sequence[Raster]) -> None:
    first = rasters[0]
    for other in rasters[1:]:
        if (other.band_count, other.dtype) != (first.band_count, first.dtype):
            raise RasterError(
                f"{other.name} has {other.band_count} bands of {other.dtype}, and {first.name} "
                f"{first.band_count} of {first.dtype}: export rasters that agree, or each by itself."
            )


def _has_rasters(folder: Any) -> bool:
    try:
        return bool(rasters_in(Path(folder)))
    except MissingInputError:
        return False


def _identity(raster: Raster | None) -> Any:
    if raster is None:
        return None
    plain = [raster.etag, asdict(raster.grid), raster.resampling]
    return [*plain, raster.bands, raster.dtype, None if raster.nodata is None else repr(raster.nodata)]


def _like(before: Any, path: Path) -> Any:
    return path if isinstance(before, Path) else str(path)


def is_centred(settings: ExportSettings, labels: Any) -> bool:
    """Whether chips are centred on features instead of lying on a grid."""
    return settings.metadata_format in CENTRED and not is_class_map(labels)
