"""Keyword settings of a model, read into frozen dataclasses and back into plain values."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, fields
from typing import Any

from rasterloom.models.errors import SettingError

FRAMEWORK = "PyTorch"
"""What packages are written for."""


def read_settings(owner: str, given: Mapping[str, Any], *kinds: type) -> tuple[Any, ...]:
    """One instance of each kind of settings, filled from one flat mapping.

    Parameters
    ----------
    owner
        Whose settings they are, for the message.
    given
        Names and values; names that are absent keep their defaults.
    kinds
        Dataclasses without a field name in common.

    Raises
    ------
    SettingError
        If a name belongs to none of them (the message lists those that do), or a value cannot work.
    """
    known = {field.name for kind in kinds for field in fields(kind)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise SettingError(
            f"{owner} does not take {', '.join(unknown)}: it takes {', '.join(sorted(known))}."
        )
    return tuple(
        kind(**{field.name: given[field.name] for field in fields(kind) if field.name in given})
        for kind in kinds
    )


def check_known(owner: str, given: Iterable[str], known: Set[str]) -> None:
    """Refuse names that are not among the known ones; the message lists those."""
    unknown = sorted(set(given) - known)
    if unknown:
        raise SettingError(
            f"{owner} does not take {', '.join(unknown)}: it takes {', '.join(sorted(known))}."
        )


def plain_parameters(*settings: Any) -> dict[str, Any]:
    """The fields of all settings as one flat, JSON-able dictionary."""
    flat = {name: value for part in settings for name, value in asdict(part).items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in flat.items()}


def checked_flag(name: str, value: Any) -> bool:
    """The value when it is True or False."""
    if not isinstance(value, bool):
        raise SettingError(f"{name}={value!r} is not a switch: use True or False.")
    return value


def checked_fraction(name: str, value: Any) -> float:
    """The value as a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise SettingError(f"{name}={value!r} cannot work: use a number from 0 to 1.")
    return float(value)


def checked_integers(name: str, value: Any, *, least: int, most: int) -> tuple[int, ...]:
    """The values as integers in a range, both ends allowed."""
    sequence = isinstance(value, Sequence) and not isinstance(value, str)
    if not sequence or not all(
        isinstance(item, int) and not isinstance(item, bool) and least <= item <= most for item in value
    ):
        raise SettingError(f"{name}={value!r} cannot work: use a list of integers from {least} to {most}.")
    return tuple(value)


def check_saving(*, framework: str, publish: bool, gis: object, save_optimizer: bool) -> None:
    """Refuse what packages do not know; the message says what to use."""
    if str(framework).lower() != FRAMEWORK.lower():
        raise SettingError(f"framework={framework!r} cannot be written: use 'PyTorch'.")
    if publish or gis is not None:
        raise SettingError(
            "publish and gis belong to a hosted GIS: use publish=False and gis=None, and copy the .dlpk "
            "file to where it is needed."
        )
    if save_optimizer:
        raise SettingError(
            "save_optimizer=True cannot work: a package holds weights only. Use save_optimizer=False; "
            "training goes on from the weights with a new optimiser."
        )
