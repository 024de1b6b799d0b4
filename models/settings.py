"""Keyword settings of a model, read into frozen dataclasses and back into plain values."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, fields
from typing import Any

from rasterloom.models.errors import SettingError

FRAMEWORK = "PyTorch"
"""What packages are written for unless asked: weights, for a network that is built from its description."""
FRAMEWORKS = (FRAMEWORK, "torchscript", "onnx")
"""What packages can be written for. All but the first hold the network as a program."""


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


def checked_numbers(name: str, value: Any, *, most: float) -> tuple[float, ...]:
    """The values as numbers above 0 up to the largest allowed one, one at least."""
    sequence = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
    if not sequence or not all(
        isinstance(item, int | float) and not isinstance(item, bool) and 0 < item <= most for item in value
    ):
        raise SettingError(
            f"{name}={value!r} cannot work: use a list of numbers above 0 and up to {most:g}, such as [1.0]."
        )
    return tuple(float(item) for item in value)


def checked_framework(framework: Any) -> str:
    """The framework as packages call it: ``PyTorch``, ``torchscript`` or ``onnx``.

    Raises
    ------
    SettingError
        If packages are not written for it; the message says what is near.
    """
    known = {name.lower(): name for name in FRAMEWORKS}
    name = str(framework).lower()
    if name in known:
        return known[name]
    near = ""
    if name in ("tf-onnx", "tf-onxx", "tflite"):
        near = " It is made from TensorFlow networks, and these are PyTorch's; onnx is read by most programs."
    raise SettingError(
        f"framework={framework!r} cannot be written: use one of {', '.join(map(repr, FRAMEWORKS))}.{near}"
    )


def check_saving(*, framework: str, gis: object, save_optimizer: bool, trained: bool) -> None:
    """Refuse ways of saving that cannot work; the message says what would.

    Parameters
    ----------
    framework
        As :func:`checked_framework` gives it.
    trained
        Whether the state of an optimiser is at hand.
    """
    if gis is not None:
        raise SettingError(
            "gis belongs to a hosted GIS: use gis=None. publish=True installs the package in the registry, "
            "which registry= names, a folder or URL."
        )
    if save_optimizer and framework != FRAMEWORK:
        raise SettingError(
            f"save_optimizer=True cannot work with framework={framework!r}: a program is not trained on. Use "
            "framework='PyTorch'."
        )
    if save_optimizer and not trained:
        raise SettingError(
            "save_optimizer=True cannot work: there is no optimiser yet. Call fit first, or use "
            "save_optimizer=False."
        )
