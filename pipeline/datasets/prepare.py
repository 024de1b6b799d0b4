"""From chips to data that a model can be trained on."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch

from rasterloom.models.contract import Task
from rasterloom.models.errors import StoreError
from rasterloom.pipeline.datasets.augment import Turns
from rasterloom.pipeline.datasets.change import stats_of_dates
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.datasets.form import Form
from rasterloom.pipeline.datasets.forms import choose_form, folder_type, is_unpaired, known_type
from rasterloom.pipeline.datasets.labels import ChipLabels, chip_labels
from rasterloom.pipeline.datasets.preparation import Scaling
from rasterloom.pipeline.datasets.samples import Chips
from rasterloom.pipeline.datasets.scaling import choose_bands, choose_scaling
from rasterloom.pipeline.datasets.settings import (
    Extras,
    check_arguments,
    check_extras,
    check_transforms,
    resized_to,
)
from rasterloom.pipeline.datasets.sources import ChipSource, open_chips, open_unpaired
from rasterloom.pipeline.datasets.split import split_chips
from rasterloom.pipeline.datasets.transforms import Transform

_BYTES_PER_PIXEL = 3000
"""Memory of training for each input pixel: a U-Net with resnet34 in float32 keeps 1480 bytes for the backward
pass (measured), which needs about as much again."""


def prepare_data(
    path: str | Path | Sequence[str | Path],
    class_mapping: Mapping[int, str] | None = None,
    chip_size: int = 224,
    val_split_pct: float = 0.1,
    batch_size: int | None = 64,
    transforms: Literal[False] | Sequence[Transform | None] | None = None,
    collate_fn: Callable[[Any], Any] | None = None,
    seed: int = 42,
    dataset_type: str | None = None,
    resize_to: int | tuple[int, int] | None = None,
    working_dir: str | Path | None = None,
    **kwargs: Any,
) -> ImageryData:
    """Split chips into a training and a validation set, ready to be read in batches.

    The same settings and seed give the same split and the same batches.

    Parameters
    ----------
    path
        A chip store or folder of chips, ours or another software's, or a list of them with the same kind of
        labels, bands and pixel type. For CycleGAN a folder that holds two such, ``A`` and ``B``.
    class_mapping
        Names for class values, ``{1: "building"}``; classes that are not in it keep their names.
    chip_size
        Side in pixels of what is cut from each chip: anywhere for training, the middle for validation. Chips
        that are smaller are used whole. Image to image takes whole chips.
    val_split_pct
        Part of the chips to validate with, between 0 and 1. Chips that are marked ``val`` themselves are
        split as they say, and chips marked ``test`` stay out.
    batch_size
        Chips in a batch, 2 or more. None estimates the largest power of two, up to 64, that fits in memory
        with a U-Net; :func:`estimate_batch_size` does so for a given model.
    transforms
        None: random turns, mirrors, zoom, small rotations and mild changes of light, in which everything of
        a chip moves together. False: chips as they are, whole; ``chip_size`` has no effect. A pair
        (training, validation), each None for no change; a transform of ``torchvision.transforms.v2`` or of
        kornia, which gets images from 0 to 1 before they are normalised; or a function from a normalised
        batch, inputs and targets, to such a pair.
    collate_fn
        Joins a list of prepared samples, inputs and target each, to a batch.
    seed
        Decides the split and the random views.
    dataset_type
        None takes what the chips are made for. Otherwise one of KITTI_rectangles, PASCAL_VOC_rectangles,
        Classified_Tiles, RCNN_Masks, Labeled_Tiles, MultiLabeled_Tiles, Imagenet, Export_Tiles, CycleGAN,
        Panoptic_Segmentation, ChangeDetection, superres, Pix2Pix, COCO, YOLO, if the chips hold that much.
    resize_to
        Side, or height and width, that each chip is brought to before ``chip_size`` is cut; for objects,
        labelled tiles and super-resolution. Labelled tiles that are each as large as their feature are
        brought to the size of the largest, or ``chip_size`` if that is less.
    working_dir
        Where checkpoints and logs go; None is the folder that holds the (first) chips, or the current one
        for chips on the network.
    kwargs
        ``stratify``: split so that both sets hold the classes in proportion; None does so for chips with one
        label.
        ``num_workers`` (0): processes that read chips; 0 reads beside the training.
        ``extract_bands`` (None): names or 0-based positions of the bands to use, in order.
        ``imagery_type`` (None): ``RGB`` scales with ImageNet's statistics and ``multispectral`` with those
        of the chips; None takes ``RGB`` for three bands of 8 bits.
        ``remap_classes`` (None): new values of class values, ``{5: 1}``.
        ``classes_of_interest`` (None): values, after that, of which a chip must have one to be used.
        ``background_classcode`` (None): value that other classes then get; True makes them background.
        ``n_masks`` (30): most objects of a panoptic chip.
        ``downsample_factor`` (4): how many times coarser the inputs of super-resolution are.

    Returns
    -------
    ImageryData
        Batches are ``(images, masks)`` for classified tiles; ``(images, [{"boxes", "labels", "masks"}, ..])``
        for objects; ``(images, labels)`` for labelled tiles; ``((images, images2), masks)`` for change;
        ``(images, images2)`` for pairs; ``(coarse images, images)`` for super-resolution;
        ``(images, {"masks", "objects"})`` for panoptic chips.

    Raises
    ------
    MissingInputError
        If a path does not exist.
    StoreError
        If a path holds no chips, other chips than asked for, or too few.
    SettingError
        If an argument cannot work.

    References
    ----------
    "api-reference", prepare_data. Formats 1.6: a fourth band called alpha is left out and the rest is RGB.
    """
    extra = check_extras(kwargs)
    check_arguments(chip_size=chip_size, batch_size=batch_size, seed=seed, resize_to=resize_to)
    kind = known_type(dataset_type)
    changes = check_transforms(transforms)
    unpaired = is_unpaired(path, kind)
    if unpaired:
        source, other = open_unpaired(path)
    else:
        source, other = open_chips(path, folder_type(kind)), None
    form = choose_form(source.spec, "CycleGAN" if unpaired else kind, extra.values)
    extra.check_effect(form)
    resize = resized_to(resize_to, form) or _one_size(source, form, chip_size, whole=transforms is False)
    labels = chip_labels(source, form, extra.remapping, class_mapping)
    bands = choose_bands(source.spec.bands, extra["extract_bands"])
    second = _second(source, other, bands, form)
    parts = _split(source, form, labels, bands, second, extra, share=val_split_pct, seed=seed)
    if other is not None:
        parts = _paired(parts, other, share=val_split_pct, seed=seed)
    window = _window(source, form, resize, chip_size, whole=transforms is False)
    dates = form.task is Task.CHANGE
    stats = stats_of_dates(source) if dates else source.stats
    scaling = choose_scaling(stats, source.spec.dtype, bands, extra["imagery_type"])
    first = path if isinstance(path, (str, Path)) else path[0]
    seen = other or source
    return ImageryData(
        train=parts[0],
        valid=parts[1],
        classes=labels.classes,
        class_pixels=labels.pixels,
        object_classes=labels.object_classes,
        bands=tuple(source.spec.bands[p] for p in bands),
        bands2=tuple((seen.spec.bands if other else seen.spec.bands2)[p] for p in second),
        normalization=scaling.normalization,
        ranges=scaling.ranges,
        scaling2=None if dates else _scaling2(source, other, second, extra["imagery_type"]),
        form=form,
        resize=resize,
        window=window,
        batch_size=batch_size or _fitting_batch(min(window or form.window(resize or source.tile))),
        seed=seed,
        working_dir=_working_dir(working_dir, str(first)),
        num_workers=int(extra["num_workers"]),
        augmentation=form.augmentation(_turns(source)) if transforms is None else None,
        transforms=changes,
        collate_fn=collate_fn,
    )


def _second(
    source: ChipSource, other: ChipSource | None, bands: tuple[int, ...], form: Form
) -> tuple[int, ...]:
    """Bands of the second images: the same as of the first ones where both have the same, else all."""
    if "images2" not in form.parts:
        return ()
    names = source.spec.bands2 if other is None else other.spec.bands
    if form.task is Task.CHANGE:  # whatever the later raster calls them
        return bands
    return bands if tuple(names) == tuple(source.spec.bands) else choose_bands(names, None)


def _scaling2(
    source: ChipSource, other: ChipSource | None, bands: tuple[int, ...], imagery_type: str | None
) -> Scaling | None:
    if not bands:
        return None
    stats, dtype = (source.stats2, source.spec.dtype2) if other is None else (other.stats, other.spec.dtype)
    if stats is None:
        raise StoreError(
            f"{source.stores[0].path} lacks the statistics of its second images: export it again."
        )
    # what is said of the first images need not fit the second ones
    return choose_scaling(stats, dtype, bands, imagery_type if imagery_type == "multispectral" else None)


def _split(
    source: ChipSource,
    form: Form,
    labels: ChipLabels,
    bands: tuple[int, ...],
    second: tuple[int, ...],
    extra: Extras,
    *,
    share: float,
    seed: int,
) -> tuple[Chips, Chips]:
    chips = Chips(
        source,
        np.arange(len(source)),
        bands,
        form.parts,
        table=labels.table,
        object_table=labels.object_table,
        bands2=second,
    )
    if form.parts == {"images2"} and second and not source.spec.bands2:
        chips = replace(chips, parts=frozenset())  # the second images are other chips
    stratify = extra["stratify"]
    one_label = form.whole_labels and not form.several_labels
    if stratify is None:
        stratify = one_label
    presence = chips.presence() if stratify or one_label or extra["classes_of_interest"] else None
    wanted = chips.wanted(presence) if extra["classes_of_interest"] and presence is not None else None
    if one_label and presence is not None:
        # chips of no class have nothing to teach
        labelled = chips.labelled(presence)
        wanted = labelled if wanted is None else wanted & labelled
    train, valid = split_chips(
        source, share=share, seed=seed, presence=presence if stratify else None, wanted=wanted
    )
    return replace(chips, indices=train), replace(chips, indices=valid)


def _paired(parts: tuple[Chips, Chips], other: ChipSource, *, share: float, seed: int) -> tuple[Chips, Chips]:
    """Both sets with those of the other ground beside them."""
    sides = split_chips(other, share=share, seed=seed + 1)
    bands = parts[0].bands2
    first, second = (
        replace(part, other=Chips(other, indices, bands)) for part, indices in zip(parts, sides, strict=True)
    )
    return first, second


def _one_size(source: ChipSource, form: Form, chip_size: int, *, whole: bool) -> tuple[int, int] | None:
    """What chips with one label are enlarged to that are each as large as their feature, as in inference."""
    if not form.whole_labels or source.spec.parameters.get("fix_chip_size", True):
        return None
    side = max(source.tile) if whole else min(chip_size, max(source.tile))
    return side, side


def _window(
    source: ChipSource,
    form: Form,
    resize: tuple[int, int] | None,
    chip_size: int,
    *,
    whole: bool,
) -> tuple[int, int] | None:
    if form.cut and not whole:
        side = min(chip_size, *(resize or source.smallest))
        return side, side
    if resize is None and source.tile != source.smallest:
        raise StoreError(
            f"the chips of the paths are from {source.smallest} to {source.tile} pixels, and are used whole: "
            "give one path at a time, or let chip_size cut them."
        )
    return None


def _working_dir(given: str | Path | None, store: str) -> Path:
    if given is not None:
        return Path(given)
    return Path.cwd() if "://" in store else Path(store).resolve().parent


def _turns(source: ChipSource) -> Turns:
    in_image_space = source.spec.parameters.get("reference_system") in ("IMAGE_SPACE", "PIXEL_SPACE")
    return Turns.MIRROR if in_image_space else Turns.ALL


def _fitting_batch(side: int) -> int:
    """The largest power of two, 2..64, whose training fits in half of the free memory."""
    on_gpu = torch.cuda.is_available()
    free = torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available
    fitting = free / 2 / (side * side * _BYTES_PER_PIXEL)
    return 2 ** min(6, max(1, int(math.log2(max(fitting, 2)))))
