"""The ``model_arguments`` of ``train_model``: from text to values, and to whom each belongs."""

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.datasets.settings import KEYWORDS
from rasterloom.pipeline.training.settings import EXTRAS

_PARAMETERS = {
    "path": "input_folder",
    "batch_size": "batch_size",
    "val_split_pct": "validation_percent",
    "seed": "seed",
    "epochs": "max_epochs",
    "lr": "learning_rate",
    "early_stopping": "stop_training",
    "backbone": "backbone_model",
    "pretrained_path": "pretrained_model",
    "pretrained": "pretrained",
    "working_dir": "output_name",
    "data": "input_folder",
    "client": "client",
    "show_progress": "progress",
}
"""Arguments of the single steps that ``train_model`` has parameters of its own for."""

_DATA = frozenset({*inspect.signature(prepare_data).parameters, *KEYWORDS}) - {
    *_PARAMETERS,
    "kwargs",
    "collate_fn",
}
_FIT = frozenset({"one_cycle", "checkpoint", "tensorboard", "monitor", "ranks", *EXTRAS}) - set(_PARAMETERS)
_WORDS = {"true": True, "false": False, "none": None, "null": None}
_BY_VALUE = ("class_mapping", "remap_classes", "class_weights")
"""Arguments that are dictionaries with class values as keys."""


@dataclass(frozen=True)
class Routed:
    """Arguments by who takes them."""

    data: Mapping[str, Any] = field(default_factory=dict)
    """For ``prepare_data``."""
    fit: Mapping[str, Any] = field(default_factory=dict)
    """For ``fit``."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """For the model class, which knows best what it takes."""


def route(given: Mapping[str, Any] | None) -> Routed:
    """The arguments with their values read, by who takes them.

    Raises
    ------
    SettingError
        If one of them has a parameter of its own, or they are no dictionary.
    """
    if given is not None and not isinstance(given, Mapping):
        raise SettingError(
            f"model_arguments={given!r} cannot be read: give a dictionary of names and values."
        )
    routed: dict[str, dict[str, Any]] = {"data": {}, "fit": {}, "model": {}}
    for name, value in (given or {}).items():
        if name in _PARAMETERS:
            raise SettingError(f"{name} has a parameter of its own: pass {_PARAMETERS[name]}= instead.")
        part = "data" if name in _DATA else "fit" if name in _FIT else "model"
        routed[part][name] = _keyed(name, value_of(value))
    return Routed(**routed)


def taken_besides() -> str:
    """The arguments that the data and the training take, for a message about an unknown one."""
    return (
        f"model_arguments also takes {', '.join(sorted(_DATA))} for the data and {', '.join(sorted(_FIT))} "
        "for the training."
    )


def value_of(value: Any) -> Any:
    """What a text stands for: a number, true or false, none, a list; else the text itself.

    Values that are no text are returned as they are.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.casefold() in _WORDS:
        return _WORDS[text.casefold()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def number_of(name: str, value: Any, *, least: float, most: float = float("inf")) -> float | None:
    """A number that may come as text; None for None and for an empty text.

    Raises
    ------
    SettingError
        If it is no number, or lies outside.
    """
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise SettingError(f"{name}={value!r} is no number.") from error
    if not least <= number <= most:
        limits = f"from {least:g}" + ("" if most == float("inf") else f" to {most:g}")
        raise SettingError(f"{name}={value!r} cannot work: give a number {limits}.")
    return number


def whole_of(name: str, value: Any, *, least: int) -> int | None:
    """A whole number that may come as text; None for None. Raises SettingError if it is none."""
    number = number_of(name, value, least=least)
    if number is None:
        return None
    if not number.is_integer():
        raise SettingError(f"{name}={value!r} cannot work: give a whole number.")
    return int(number)


def _keyed(name: str, value: Any) -> Any:
    if name not in _BY_VALUE or not isinstance(value, Mapping):
        return value
    return {value_of(key): value_of(item) if name != "class_mapping" else item for key, item in value.items()}
