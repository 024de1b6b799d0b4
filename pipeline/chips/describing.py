"""What a plan's chips are, in the words of what they are written to."""

from dataclasses import asdict
from typing import Any

from rasterloom.pipeline.chips.plan import ChipPlan
from rasterloom.pipeline.chips.settings import ExportSettings
from rasterloom.pipeline.store.layout import StoreSpec


def spec_of(plan: ChipPlan, settings: ExportSettings, labels: str) -> StoreSpec:
    """The description of a plan's chips.

    Parameters
    ----------
    labels
        What the labels are called.
    """
    kind, raster = settings.kind, plan.sources[0].raster
    second = plan.sources[0].second
    places = tuple(source.raster.grid.crs for source in plan.sources)
    widest = max((c.value for c in plan.classes), default=0)
    return StoreSpec(
        task=kind.task,
        chips=len(plan),
        bands=raster.bands,
        dtype=raster.dtype,
        nodata=raster.nodata,
        crs=raster.grid.crs,
        cell_size=raster.grid.cell_size,
        tile=_tile(plan),
        stride=plan.cutting.stride,
        classes=plan.classes,
        sources=tuple(source.raster.name for source in plan.sources),
        mask_dtype=("uint8" if widest <= 255 else "uint16") if kind.masks else "",
        parameters=_parameters(plan, settings, labels),
        metadata_format=settings.metadata_format,
        bands2=() if second is None else second.bands,
        dtype2="" if second is None else second.dtype,
        instance_classes=plan.instance_classes,
        source_crs=places if set(places) != {raster.grid.crs} else (),
    )


def _tile(plan: ChipPlan) -> tuple[int, int]:
    if plan.cutting.fixed_size:
        return plan.cutting.tile
    return int(plan.chips["height"].max()), int(plan.chips["width"].max())


def _parameters(plan: ChipPlan, settings: ExportSettings, labels: str) -> dict[str, Any]:
    given: dict[str, Any] = {
        "metadata_format": settings.metadata_format,
        "labels": labels,
        "features": sum(s.features.count for s in plan.sources if s.features is not None),
        "reference_system": settings.reference_system,
        "export_all_tiles": settings.all_tiles,
        "start_index": settings.start_index,
        "plan": plan.id,
    }
    if len(plan.sources) == 1:
        given["grid"] = asdict(plan.sources[0].raster.grid)
    usual = {
        "rotation_angle": (settings.angle, 0.0),
        "min_polygon_overlap_ratio": (settings.min_share, 0.0),
        "blacken_around_feature": (settings.blacken, False),
        "fix_chip_size": (settings.fixed_size, True),
        "buffer_radius": (settings.buffer_radius, None),
    }
    given |= {name: value for name, (value, default) in usual.items() if value != default}
    if plan.split is not None:
        train, val, test = plan.split.shares
        given["split"] = {
            "train": train,
            "val": val,
            "test": test,
            "block_size": plan.split.block,
            "seed": plan.split.seed,
            "left_out": plan.left_out,
        }
    return given
