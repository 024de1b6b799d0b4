"""The parameters of an inference function: what it asks for, and what it is told, as text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rasterloom.models.errors import PackageError, SettingError

_MODEL = "model"
_RASTERS = ("raster", "rasters")


@dataclass(frozen=True)
class Parameter:
    """One thing that a function can be told."""

    name: str
    default: str | None
    """None where there is none."""
    required: bool
    domain: tuple[str, ...]
    """The values that it takes; empty where it takes any."""


@dataclass(frozen=True)
class Parameters:
    """Everything that a function asks for."""

    raster: str
    """What it calls the raster."""
    several: bool
    """Whether it wants the raster as the only one of several."""
    scalars: tuple[Parameter, ...]
    """Everything else but the model."""

    def told(self, given: Mapping[str, Any] | None, *, source: str) -> dict[str, str]:
        """Values as text, the caller's before the defaults.

        Raises
        ------
        SettingError
            If a name is not known (the message lists those that are), a value is none of those that the
            function takes, or one is missing.
        """
        known = {parameter.name: parameter for parameter in self.scalars}
        unknown = sorted(set(given or {}) - set(known))
        if unknown:
            taken = f"takes {', '.join(known)}" if known else "takes none"
            raise SettingError(
                f"model argument {unknown[0]!r} is not known: the inference function of {source} {taken}."
            )
        values = {}
        for name, parameter in known.items():
            value = (given or {}).get(name)
            text = parameter.default if value is None else text_of(value)
            if text is None and parameter.required:
                raise SettingError(
                    f"the inference function of {source} needs {name}: pass it in model_arguments."
                )
            if text is not None:
                values[name] = _checked(parameter, text, given=value is not None)
        return values


def read_parameters(rows: Any, *, source: str) -> Parameters:
    """What ``getParameterInfo`` returned; without it, only the raster.

    Raises
    ------
    PackageError
        If it cannot be read, or asks for more than one raster.
    """
    if rows is None:
        return Parameters("raster", several=False, scalars=())
    if not isinstance(rows, Sequence) or not all(isinstance(row, Mapping) and "name" in row for row in rows):
        raise PackageError(f"{source}: getParameterInfo gives no list of parameters with names.")
    rasters = [row for row in rows if str(row.get("dataType", "")).lower() in _RASTERS]
    needed = [row for row in rasters if row.get("required", True)] or rasters[:1]
    if len(needed) > 1:
        names = ", ".join(str(row["name"]) for row in needed)
        raise PackageError(f"{source} needs {len(needed)} rasters ({names}), and this tool gives it one.")
    first = needed[0] if needed else {"name": "raster", "dataType": "raster"}
    return Parameters(
        str(first["name"]),
        several=str(first["dataType"]).lower() == "rasters",
        scalars=tuple(_parameter(row) for row in rows if row not in rasters and row["name"] != _MODEL),
    )


def text_of(value: Any) -> str:
    """A value as functions are told it: ``True``, ``0.5``, ``4``."""
    return value.strip() if isinstance(value, str) else str(value)


def _parameter(row: Mapping[str, Any]) -> Parameter:
    default, domain = row.get("value"), row.get("domain") or ()
    return Parameter(
        name=str(row["name"]),
        default=None if default is None else text_of(default),
        required=bool(row.get("required", False)),
        domain=(domain,) if isinstance(domain, str) else tuple(text_of(value) for value in domain),
    )


def _checked(parameter: Parameter, text: str, *, given: bool) -> str:
    if not parameter.domain or not given:
        return text
    for allowed in parameter.domain:
        if allowed.lower() == text.lower():
            return allowed
    raise SettingError(f"{parameter.name}={text!r} is not known: use {', '.join(parameter.domain)}.")
