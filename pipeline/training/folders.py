"""Which folders of chips can be trained on together."""

from collections.abc import Sequence
from pathlib import Path

from rasterloom.models.errors import SettingError, StoreError
from rasterloom.pipeline.formats.opening import open_chip_reader

TOGETHER = ("Classified_Tiles", "Labeled_Tiles", "MultiLabeled_Tiles", "PASCAL_VOC_rectangles", "RCNN_Masks")
"""Metadata formats of which several folders can be given."""


def check_folders(paths: Sequence[str | Path]) -> None:
    """Make sure that chips of several folders are of one kind. One folder may be of any.

    Raises
    ------
    SettingError
        If there is none.
    MissingInputError
        If one is not there.
    StoreError
        If they differ in metadata format, number of bands or tile size, or the format is none of TOGETHER;
        the message says which folder and what it has.

    References
    ----------
    "api-reference", train_model, input_folder: conditions for multiple folders.
    """
    if not paths:
        raise SettingError("input_folder is an empty list: give at least one folder of chips.")
    if len(paths) == 1:
        return
    specs = [open_chip_reader(path).spec for path in paths]
    first = specs[0]
    for path, spec in zip(paths, specs, strict=True):
        if spec.metadata_format not in TOGETHER:
            raise StoreError(
                f"{path} holds {spec.metadata_format} chips, of which only one folder can be given: several "
                f"may be of {', '.join(TOGETHER)}."
            )
        for what, ours, theirs in (
            ("metadata format", first.metadata_format, spec.metadata_format),
            ("number of bands", len(first.bands), len(spec.bands)),
            ("tile size", first.tile, spec.tile),
        ):
            if ours != theirs:
                raise StoreError(
                    f"{paths[0]} has {what} {_said(ours)} and {path} has {_said(theirs)}: folders that are "
                    "trained on together must agree in it, so export them with the same settings."
                )


def _said(value: object) -> str:
    return " x ".join(str(side) for side in value) if isinstance(value, tuple) else str(value)
