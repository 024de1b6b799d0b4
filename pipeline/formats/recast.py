"""Chips of one kind as chips of another that their data allow."""

from dataclasses import replace

import numpy as np

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.formats import FORMATS
from rasterloom.pipeline.labels.objects import Objects, regions_of
from rasterloom.pipeline.labels.outlines import expanded
from rasterloom.pipeline.labels.scenes import classes_present, main_class
from rasterloom.pipeline.store.chips import ChipBlock
from rasterloom.pipeline.store.kinds import Kind, kind_of
from rasterloom.pipeline.store.layout import StoreSpec


def allowed_formats(spec: StoreSpec, *, store: bool = False) -> tuple[str, ...]:
    """The metadata formats that chips can be written in.

    Parameters
    ----------
    store
        Whether they go into a chip store, which keeps outlines of all objects of a kind that has them.
        COCO files hold boxes without outlines too.
    """
    return tuple(name for name in FORMATS if _has(spec, name, store=store))


def recast_spec(spec: StoreSpec, metadata_format: str, *, store: bool = False) -> StoreSpec:
    """The description of the same chips in another metadata format.

    Raises
    ------
    SettingError
        If their data do not allow it. Lists the formats that they allow.
    """
    kind = kind_of(metadata_format)
    if not _has(spec, metadata_format, store=store):
        allowed = ", ".join(allowed_formats(spec, store=store))
        raise SettingError(
            f"{spec.metadata_format} chips cannot become {metadata_format}: they have no "
            f"{_lacking(spec, kind)}. They can become {allowed}."
        )
    same = metadata_format == spec.metadata_format
    classes = spec.object_classes if _from_objects(spec, kind) else spec.classes
    if not (kind.masks or kind.objects or kind.labels):
        classes = ()
    widest = max((info.value for info in classes), default=0)
    return replace(
        spec,
        task=spec.task if same else kind.task,
        classes=spec.classes if same else classes,
        instance_classes=spec.instance_classes if same else (),
        mask_dtype=(spec.mask_dtype or ("uint8" if widest <= 255 else "uint16")) if kind.masks else "",
        bands2=spec.bands2 if kind.pairs else (),
        dtype2=spec.dtype2 if kind.pairs else "",
        metadata_format=metadata_format,
    )


def recast(block: ChipBlock, spec: StoreSpec, target: StoreSpec) -> ChipBlock:
    """The same chips with what those of ``target`` have.

    Regions of a class map that touch become objects. Objects become a class map in their order, the later
    ones on top. The class that covers most of a chip becomes its label.
    """
    kind = target.kind
    return replace(
        block,
        images2=block.images2 if target.bands2 else None,
        masks=_masks(block, target) if kind.masks else None,
        objects=_objects(block, spec, kind) if kind.objects else None,
        labels=_labels(block, spec, target) if kind.labels else None,
    )


def _has(spec: StoreSpec, metadata_format: str, *, store: bool) -> bool:
    """Whether chips have the data of a format."""
    if metadata_format == spec.metadata_format:
        return True
    have, want = spec.kind, kind_of(metadata_format)
    if want.masks and want.objects:
        return have.masks and have.objects
    if want.masks:
        return have.masks or have.outlines
    if want.outlines:
        return have.masks or have.outlines or (have.objects and metadata_format == "COCO" and not store)
    if want.objects:
        return have.masks or have.objects
    if want.labels:
        single = have.labels and (want.several_labels or not have.several_labels)
        return single or have.masks or have.objects
    return True


def _lacking(spec: StoreSpec, want: Kind) -> str:
    if want.masks and want.objects:
        return "class maps with objects"
    if want.outlines:
        return "outlines of objects"
    if want.masks:
        return "class maps, or outlines to draw them from"
    if want.objects:
        return "objects"
    return "single label for each chip" if spec.kind.several_labels else "labels"


def _from_objects(spec: StoreSpec, want: Kind) -> bool:
    """Whether what is wanted comes from the objects, whose classes are then those of all."""
    if not spec.kind.objects:
        return False
    return want.objects or not spec.kind.masks


def _masks(block: ChipBlock, target: StoreSpec) -> np.ndarray:
    if block.masks is not None:
        return block.masks.astype(target.mask_dtype, copy=False)
    objects = block.objects
    assert objects is not None, "allowed formats have been looked up"
    assert objects.runs is not None, "allowed formats have been looked up"
    masks = np.zeros((len(block), *block.images.shape[2:]), target.mask_dtype)
    flat = masks.reshape(len(block), -1)
    for number, chip in enumerate(objects.chips.tolist()):
        runs = objects.runs[objects.run_starts[number] : objects.run_starts[number + 1]].astype(np.int64)
        flat[chip, expanded(runs[:, 0], runs[:, 1] - runs[:, 0])] = objects.values[number]
    return masks


def _objects(block: ChipBlock, spec: StoreSpec, want: Kind) -> Objects:
    objects = block.objects
    if objects is None:
        assert block.masks is not None, "allowed formats have been looked up"
        objects = regions_of(block.masks, spec.cell_size[0] * spec.cell_size[1])
    if want.outlines or objects.runs is None:
        return objects
    return replace(objects, run_counts=None, runs=None)


def _labels(block: ChipBlock, spec: StoreSpec, target: StoreSpec) -> np.ndarray:
    several = target.kind.several_labels
    values = [info.value for info in target.classes]
    if block.labels is not None:
        if several == spec.kind.several_labels:
            return block.labels
        return (np.asarray(block.labels)[:, None] == np.array(values)[None]).astype(np.uint8)
    found = block.masks if block.masks is not None else block.objects
    assert found is not None, "allowed formats have been looked up"
    return classes_present(found, values) if several else main_class(found)
