"""The settings of prepare_data, checked before anything is opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.classes import Remapping
from rasterloom.pipeline.datasets.form import Form
from rasterloom.pipeline.datasets.images import Sharpening
from rasterloom.pipeline.datasets.panoptic import Panoptic
from rasterloom.pipeline.datasets.transforms import Transform

IMAGERY_TYPES = ("RGB", "multispectral")

KEYWORDS: Mapping[str, Any] = {
    "background_classcode": None,
    "classes_of_interest": None,
    "downsample_factor": 4,
    "extract_bands": None,
    "imagery_type": None,
    "n_masks": 30,
    "num_workers": 0,
    "remap_classes": None,
    "stratify": None,
}
"""What prepare_data takes by keyword besides its named arguments, and the defaults."""
_ELSEWHERE = {
    "min_points": "point clouds",
    "extra_features": "point clouds",
    "timesteps_of_interest": "time series",
    "channels_of_interest": "time series",
    "n_temporal": "time series",
    "n_temporal_dates": "time series",
    "forecast_timesteps": "forecasts",
    "hrs_each_step": "forecasts",
}
"""Keywords of the reference for data that is not chips of rasters."""


@dataclass(frozen=True)
class Extras:
    """The keywords, with the defaults filled in."""

    values: Mapping[str, Any]
    given: frozenset[str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def remapping(self) -> Remapping:
        """The changes of class values."""
        remap, interest = self["remap_classes"], self["classes_of_interest"]
        return Remapping(
            None if remap is None else {int(old): int(new) for old, new in remap.items()},
            None if interest is None else tuple(int(value) for value in interest),
            self["background_classcode"],
        )

    def check_effect(self, form: Form) -> None:
        """Refuse keywords that have no effect on chips of a form."""
        useless = {
            "n_masks": not isinstance(form, Panoptic),
            "downsample_factor": not isinstance(form, Sharpening),
            **{
                name: not (form.parts & {"masks", "objects", "labels"})
                for name in ("remap_classes", "classes_of_interest", "background_classcode", "stratify")
            },
        }
        wrong = sorted(name for name in self.given if useless.get(name))
        if wrong:
            left = sorted(name for name in KEYWORDS if not useless.get(name))
            raise SettingError(
                f"{', '.join(wrong)} has no effect on these chips: besides its named arguments prepare_data "
                f"takes {', '.join(left)} for them."
            )


def check_extras(given: Mapping[str, Any]) -> Extras:
    """The keywords of prepare_data.

    Raises
    ------
    SettingError
        If one is not known, belongs to other data, or cannot work.
    """
    for name in sorted(set(given) & set(_ELSEWHERE)):
        raise SettingError(
            f"{name} is for {_ELSEWHERE[name]}, and prepare_data reads chips of rasters: leave it out."
        )
    unknown = sorted(set(given) - set(KEYWORDS))
    if unknown:
        raise SettingError(
            f"prepare_data does not take {', '.join(unknown)}: besides its named arguments it takes "
            f"{', '.join(KEYWORDS)}."
        )
    extras = Extras({**KEYWORDS, **given}, frozenset(n for n, value in given.items() if value is not None))
    _check_numbers(extras)
    _check_classes(extras)
    if extras["imagery_type"] not in (None, *IMAGERY_TYPES):
        raise SettingError(
            f"imagery_type={extras['imagery_type']!r} is not known: use one of {IMAGERY_TYPES}."
        )
    return extras


def _check_numbers(extras: Extras) -> None:
    for name, least in (("num_workers", 0), ("n_masks", 1)):
        if not _whole(extras[name], least):
            raise SettingError(f"{name}={extras[name]!r} cannot work: give a whole number, {least} or more.")
    factor = extras["downsample_factor"]
    if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not factor > 1:
        raise SettingError(f"downsample_factor={factor!r} cannot work: give a number above 1, such as 4.")


def _check_classes(extras: Extras) -> None:
    remap, interest = extras["remap_classes"], extras["classes_of_interest"]
    background = extras["background_classcode"]
    if remap is not None and not (
        isinstance(remap, Mapping) and all(_whole(v, None) for pair in remap.items() for v in pair)
    ):
        raise SettingError(
            f"remap_classes={remap!r} cannot work: give a dictionary of class values, {{5: 1}}."
        )
    if interest is not None and not (
        isinstance(interest, Sequence) and len(interest) and all(_whole(v, None) for v in interest)
    ):
        raise SettingError(f"classes_of_interest={interest!r} cannot work: give a list of class values, [1].")
    if background is not None and interest is None:
        raise SettingError(
            "background_classcode has an effect only with classes_of_interest: give both, or none."
        )
    if background is not None and background is not True and not _whole(background, 0):
        raise SettingError(
            f"background_classcode={background!r} cannot work: give a class value, or True for background."
        )


def check_arguments(*, chip_size: Any, batch_size: Any, seed: Any, resize_to: Any) -> None:
    """Refuse numbers that cannot work.

    Raises
    ------
    SettingError
        Names what would.
    """
    if not _whole(chip_size, 1):
        raise SettingError(f"chip_size={chip_size!r} cannot work: give a number of pixels, such as 224.")
    if batch_size is not None and not _whole(batch_size, 2):
        raise SettingError(
            f"batch_size={batch_size!r} cannot work: batch statistics need 2 or more; None estimates it."
        )
    if not _whole(seed, 0):
        raise SettingError(f"seed={seed!r} cannot work: give a whole number, 0 or more.")
    sides = resize_to if isinstance(resize_to, (tuple, list)) else [resize_to] * 2
    if resize_to is not None and not (len(sides) == 2 and all(_whole(side, 1) for side in sides)):
        raise SettingError(
            f"resize_to={resize_to!r} cannot work: give a number of pixels, or (height, width)."
        )


def resized_to(resize_to: int | Sequence[int] | None, form: Form) -> tuple[int, int] | None:
    """Height and width that chips are brought to.

    Raises
    ------
    SettingError
        If such chips are not resized.
    """
    if resize_to is None:
        return None
    if not form.resizable:
        raise SettingError(
            f"resize_to={resize_to} takes effect only on objects, labelled tiles and super-resolution: "
            "export these chips at another resolution with context={'cellSize': ...}."
        )
    height, width = (resize_to, resize_to) if isinstance(resize_to, int) else resize_to
    return int(height), int(width)


def check_transforms(transforms: Any) -> tuple[Transform | None, Transform | None]:
    """The caller's changes of training and validation batches.

    Raises
    ------
    SettingError
        If they are not None, False, or a pair of functions.
    """
    if transforms is None or transforms is False:
        return None, None
    if not isinstance(transforms, Sequence) or len(transforms) != 2:
        raise SettingError(
            "transforms must be None, False or a pair of functions (training, validation): "
            f"{transforms!r} is none of them."
        )
    for one in transforms:
        if one is not None and not callable(one):
            raise SettingError(f"transforms holds {one!r}, which cannot be called: give a function or None.")
    return transforms[0], transforms[1]


def _whole(value: Any, least: int | None) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)
