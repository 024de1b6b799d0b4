"""Reads the TOML files that describe a cluster, and says what is wrong with them."""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rasterloom.models.errors import MissingInputError, SettingError

_SECRETS = ("password", "passphrase", "token", "secret")


def read_file(path: str | Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises
    ------
    MissingInputError
        If it is not there.
    SettingError
        If it is no TOML.
    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingInputError(
            f"{path} is not there: write the file that describes the cluster, or give its path from here."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read as text ({error}): give a TOML file.") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path} is no TOML file ({error}).") from error


def check_names(given: Any, known: Collection[str], place: str) -> Mapping[str, Any]:
    """Return a table of a file if its names are known.

    Raises
    ------
    SettingError
        If it is no table, holds an unknown name, or something that belongs in no file.
    """
    if not isinstance(given, dict):
        raise SettingError(f"{place} is {given!r}, and has to be a table of settings.")
    for name in given:
        if any(word in name.lower() for word in _SECRETS):
            raise SettingError(
                f"{place} holds {name!r}: no password or token is taken from a file. Use a key file that "
                "only you can read, or an SSH agent."
            )
        if name not in known:
            raise SettingError(f"{place} holds {name!r}, which is unknown: use {', '.join(sorted(known))}.")
    return given


def check_kind(table: Mapping[str, Any], name: str, kinds: type | tuple[type, ...], place: str) -> Any:
    """Return one setting of a table, or None where it is left out.

    Raises
    ------
    SettingError
        If it is of another kind.
    """
    value = table.get(name)
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    # TOML's true is a Python int, and means nothing where a number is asked for.
    right = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    if value is not None and not right:
        words = " or ".join(_KINDS[kind] for kind in kinds)
        raise SettingError(f"{name} = {value!r} in {place} has to be {words}.")
    return value


def count(table: Mapping[str, Any], name: str, place: str) -> int | None:
    """Return a setting that is 1 or more, or None where it is left out."""
    value: int | None = check_kind(table, name, int, place)
    if value is not None and value < 1:
        raise SettingError(f"{name} = {value} in {place}: use 1 or more.")
    return value


_KINDS = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a table"}
