"""From a chip store to data that a model can be trained on."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from rasterloom.models.contract import IMAGENET_MEAN, IMAGENET_STD, ClassInfo, Normalization, Task
from rasterloom.models.errors import SettingError, StoreError
from rasterloom.pipeline.datasets.augment import Augmentation, Turns
from rasterloom.pipeline.datasets.batches import Transform
from rasterloom.pipeline.datasets.data import ImageryData
from rasterloom.pipeline.datasets.pictures import band_position
from rasterloom.pipeline.datasets.pixels import PixelChips, output_table
from rasterloom.pipeline.datasets.sources import ChipSource, open_chips
from rasterloom.pipeline.datasets.split import split_chips

_KINDS = ("Classified_Tiles",)
"""Data set types that are read."""
_IMAGERY_TYPES = ("RGB", "multispectral")
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
        A chip store that ``export_training_data`` wrote, or a list of stores with the same bands, pixel type
        and chip size.
    class_mapping
        Names for class values, ``{1: "building"}``; classes that are not in it keep their names.
    chip_size
        Side in pixels of what is cut from each chip: anywhere for training, the middle for validation. Chips
        that are smaller are used whole.
    val_split_pct
        Part of the chips to validate with, between 0 and 1. A store that marks chips ``val`` itself is split
        as it says.
    batch_size
        Chips in a batch, 2 or more. None estimates the largest power of two, up to 64, that fits in memory.
    transforms
        None: random turns, mirrors and mild changes of light. False: chips as they are, whole; ``chip_size``
        has no effect. A pair (training, validation) of functions, or None for no change, each from a
        normalised batch and its class positions, (N, C, H, W) float32 and (N, H, W) int64, to such a pair.
    collate_fn
        Joins samples ``(image (C, H, W), mask (H, W))``, numpy arrays in the store's units, to a pair of
        arrays. The usual joining is faster.
    seed
        Decides the split and the random views.
    dataset_type
        None or ``Classified_Tiles``.
    resize_to
        Has no effect on classified tiles: leave it None.
    working_dir
        Where checkpoints and logs go; None is the folder that holds the (first) store, or the current one
        for a store on the network.
    kwargs
        ``stratify`` (False): split so that both sets hold the classes in proportion.
        ``num_workers`` (0): processes that read chips; 0 reads beside the training.
        ``extract_bands`` (None): names or 0-based positions of the bands to use, in order.
        ``imagery_type`` (None): ``RGB`` scales with ImageNet's statistics and ``multispectral`` with those
        of the chips; None takes ``RGB`` for three bands of 8 bits.

    Raises
    ------
    MissingInputError
        If a path does not exist.
    StoreError
        If a path is no chip store, holds another kind of chips, or too few.
    SettingError
        If an argument cannot work.

    References
    ----------
    "api-reference", prepare_data. Formats 1.6: a fourth band called alpha is left out and the rest is RGB.
    """
    extra = _checked_extras(kwargs)
    _check(
        chip_size=chip_size, batch_size=batch_size, seed=seed, dataset_type=dataset_type, resize_to=resize_to
    )
    source = open_chips(path)
    _check_task(source)
    positions = _bands(source, extra["extract_bands"])
    bands = tuple(source.spec.bands[p] for p in positions)
    window = None if transforms is False else _window(source, chip_size)
    train, valid = split_chips(source, share=val_split_pct, seed=seed, stratify=bool(extra["stratify"]))
    table = output_table(source)
    first = path if isinstance(path, (str, Path)) else path[0]
    return ImageryData(
        train=PixelChips(source, train, positions, table),
        valid=PixelChips(source, valid, positions, table),
        classes=_named(source.classes, class_mapping),
        class_pixels=source.class_pixels,
        bands=bands,
        normalization=_normalization(source, positions, extra["imagery_type"]),
        window=window,
        batch_size=batch_size or _fitting_batch(min(window or source.spec.tile)),
        seed=seed,
        working_dir=_working_dir(working_dir, str(first)),
        num_workers=int(extra["num_workers"]),
        augmentation=Augmentation(turns=_turns(source)) if transforms is None else None,
        transforms=_pair(transforms),
        collate_fn=collate_fn,
    )


def _checked_extras(given: Mapping[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {"stratify": False, "num_workers": 0, "extract_bands": None, "imagery_type": None}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise SettingError(
            f"prepare_data does not take {', '.join(unknown)} for classified tiles: "
            f"besides its named arguments it takes {', '.join(sorted(known))}."
        )
    extra = {**known, **given}
    if not isinstance(extra["num_workers"], int) or extra["num_workers"] < 0:
        raise SettingError(
            f"num_workers={extra['num_workers']!r} cannot work: give a whole number, 0 or more."
        )
    if extra["imagery_type"] not in (None, *_IMAGERY_TYPES):
        raise SettingError(
            f"imagery_type={extra['imagery_type']!r} is not known: use one of {_IMAGERY_TYPES}."
        )
    return extra


def _check(*, chip_size: Any, batch_size: Any, seed: Any, dataset_type: Any, resize_to: Any) -> None:
    if dataset_type not in (None, *_KINDS):
        raise SettingError(
            f"dataset_type={dataset_type!r} is not read from a chip store: use {_KINDS[0]!r}, "
            "or None to take what the store holds."
        )
    if resize_to is not None:
        raise SettingError(
            f"resize_to={resize_to} takes effect only on boxes, labelled tiles and super-resolution: export "
            "classified tiles at another resolution with context={'cellSize': ...}."
        )
    if not isinstance(chip_size, int) or chip_size < 1:
        raise SettingError(f"chip_size={chip_size!r} cannot work: give a number of pixels, such as 224.")
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 2):
        raise SettingError(
            f"batch_size={batch_size!r} cannot work: batch statistics need 2 or more; None estimates it."
        )
    if not isinstance(seed, int) or seed < 0:
        raise SettingError(f"seed={seed!r} cannot work: give a whole number, 0 or more.")


def _check_task(source: ChipSource) -> None:
    if str(source.spec.task) != Task.PIXELS:
        raise StoreError(
            f"the store holds chips for {source.spec.task}: prepare_data reads {', '.join(_KINDS)}, "
            "one class for each pixel."
        )
    if not any(c.value != 0 for c in source.classes):
        raise StoreError("the store names no class above 0: export the chips again, with labels.")


def _bands(source: ChipSource, chosen: Sequence[str | int] | None) -> tuple[int, ...]:
    names = source.spec.bands
    if chosen is not None:
        positions = tuple(band_position(band, names) for band in chosen)
        if not positions or len(set(positions)) != len(positions):
            raise SettingError(
                f"extract_bands={list(chosen)} cannot work: name each band once, out of {list(names)}."
            )
        return positions
    if len(names) == 4 and names[3].lower() == "alpha":
        return (0, 1, 2)
    return tuple(range(len(names)))


def _working_dir(given: str | Path | None, store: str) -> Path:
    if given is not None:
        return Path(given)
    return Path.cwd() if "://" in store else Path(store).resolve().parent


def _window(source: ChipSource, chip_size: int) -> tuple[int, int]:
    side = min(chip_size, *source.spec.tile)
    return side, side


def _named(classes: tuple[ClassInfo, ...], mapping: Mapping[int, str] | None) -> tuple[ClassInfo, ...]:
    if not mapping:
        return classes
    names = {int(value): str(name) for value, name in mapping.items()}
    unknown = sorted(set(names) - {c.value for c in classes})
    if unknown:
        raise SettingError(
            f"class_mapping names {unknown}, which are no classes of the store: they are "
            f"{[c.value for c in classes]}."
        )
    return tuple(replace(c, name=names.get(c.value, c.name)) for c in classes)


def _normalization(source: ChipSource, positions: tuple[int, ...], imagery_type: str | None) -> Normalization:
    eight_bits = str(source.spec.dtype) == "uint8"
    if imagery_type == "RGB" and not (eight_bits and len(positions) == 3):
        raise SettingError(
            f"imagery_type='RGB' needs three bands of 8 bits, not {len(positions)} of {source.spec.dtype}: "
            "use 'multispectral'."
        )
    if eight_bits and len(positions) == 3 and imagery_type != "multispectral":
        return Normalization(tuple(m * 255 for m in IMAGENET_MEAN), tuple(s * 255 for s in IMAGENET_STD))
    mean = tuple(float(source.stats.mean[p]) for p in positions)
    # A band of one value carries nothing: a deviation of 1 turns it into zeros.
    std = tuple(
        s if math.isfinite(s) and s > 0 else 1.0 for s in (float(source.stats.std[p]) for p in positions)
    )
    return Normalization(mean, std)


def _turns(source: ChipSource) -> Turns:
    in_image_space = source.spec.parameters.get("reference_system") == "IMAGE_SPACE"
    return Turns.MIRROR if in_image_space else Turns.ALL


def _pair(
    transforms: Literal[False] | Sequence[Transform | None] | None,
) -> tuple[Transform | None, Transform | None]:
    if transforms is None or transforms is False:
        return None, None
    if not isinstance(transforms, Sequence) or len(transforms) != 2:
        raise SettingError(
            "transforms must be None, False or a pair of functions (training, validation): "
            f"{transforms!r} is none of them."
        )
    train, valid = transforms
    for one in (train, valid):
        if one is not None and not callable(one):
            raise SettingError(f"transforms holds {one!r}, which cannot be called: give a function or None.")
    return train, valid


def _fitting_batch(side: int) -> int:
    """The largest power of two, 2..64, whose training fits in half of the free memory."""
    on_gpu = torch.cuda.is_available()
    free = torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available
    fitting = free / 2 / (side * side * _BYTES_PER_PIXEL)
    return 2 ** min(6, max(1, int(math.log2(max(fitting, 2)))))
