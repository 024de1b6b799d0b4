"""Open chips by their path, whatever they are kept in."""

from pathlib import Path

from rasterloom.models.errors import MissingInputError, StoreError
from rasterloom.pipeline.formats import FORMATS
from rasterloom.pipeline.formats.coco import annotation_files
from rasterloom.pipeline.formats.contents import EXPORTED, is_exported
from rasterloom.pipeline.formats.cyclegan import HALVES
from rasterloom.pipeline.formats.description import DESCRIPTION
from rasterloom.pipeline.formats.folder import FolderChips
from rasterloom.pipeline.store.chips import ChipReader
from rasterloom.pipeline.store.read import ChipStore, is_chip_store


def open_chip_reader(path: str | Path, dataset_type: str | None = None) -> ChipReader:
    """The chips of a chip store, of a folder written here, or of one that other software exported.

    Parameters
    ----------
    path
        The store or folder.
    dataset_type
        A metadata format, for folders that do not say theirs; other words mean nothing here.

    Raises
    ------
    MissingInputError
        If nothing is there.
    StoreError
        If it holds no chips, or two sets of them.
    """
    if "://" in str(path):
        return ChipStore(path)
    root = Path(path)
    if not root.exists():
        raise MissingInputError(
            f"{root} is not there: correct the path, or make chips with export_training_data."
        )
    if is_chip_store(root):
        return ChipStore(root)
    if (root / "zarr.json").exists():
        # the store says itself why it cannot be read
        store = ChipStore(root)
        _ = store.attributes
        return store
    if is_pair(root):
        raise StoreError(f"{root} holds two sets of chips: open {root / HALVES[0]} and {root / HALVES[1]}.")
    if (root / DESCRIPTION).exists() or is_exported(root):
        return FolderChips(root, dataset_type if dataset_type in FORMATS else None)
    if dataset_type in FORMATS:
        return FolderChips(root, dataset_type)
    recognised = _recognised(root)
    if recognised is None:
        raise StoreError(
            f"{root} holds no chips that are recognised: it is no chip store, has not {', '.join(EXPORTED)}, "
            f"no annotations/instances*.json and no data.yaml. Say dataset_type, one of {', '.join(FORMATS)}."
        )
    return FolderChips(root, recognised)


def holds_chips(path: str | Path) -> bool:
    """Whether a folder says by its files that it holds chips; opening it may still fail."""
    root = Path(path)
    # other folders hold JSON too, such as that of STAC items
    return root.is_dir() and (
        _is_chips(root) or is_pair(root) or _recognised(root) == "YOLO" or (root / "annotations").is_dir()
    )


def open_pair(path: str | Path) -> tuple[ChipReader, ChipReader]:
    """The two sets of chips in A/ and B/.

    Raises
    ------
    StoreError
        If one of them is not there.
    """
    root = Path(path)
    for name in HALVES:
        if not (root / name).is_dir():
            raise StoreError(
                f"{root} has no folder {name}: an export for CycleGAN has {' and '.join(HALVES)}."
            )
    first, second = (open_chip_reader(root / name, "CycleGAN") for name in HALVES)
    return first, second


def is_pair(path: str | Path) -> bool:
    """Whether a folder holds two sets of chips, A/ and B/."""
    root = Path(path)
    return all(_is_chips(root / name) for name in HALVES)


def _is_chips(root: Path) -> bool:
    return (root / DESCRIPTION).exists() or is_exported(root) or is_chip_store(root)


def _recognised(root: Path) -> str | None:
    """COCO and YOLO by their files."""
    if any((root / name).exists() for name in ("data.yaml", "data.yml", "dataset.yaml")):
        return "YOLO"
    return "COCO" if root.is_dir() and annotation_files(root) else None
