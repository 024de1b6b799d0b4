"""Which files lie in a folder, listed once."""

import os
from collections.abc import Collection
from pathlib import Path

from rasterloom.models.errors import OutputError, StoreError

IMAGE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".mrf"})
"""What chips end with; ``.aux.xml`` and ``.ovr`` beside them are passed over."""


class Listing:
    """Whether files stand in a folder, with one look at each of its folders."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[str, frozenset[str]] = {}

    def has(self, relative: str) -> bool:
        """Whether a file stands under a path with ``/`` between the parts."""
        parent, _, name = relative.rpartition("/")
        if parent not in self._names:
            self._names[parent] = _names(self._root / parent)
        return name in self._names[parent]


def files_under(folder: Path, suffixes: Collection[str]) -> list[str]:
    """Paths relative to a folder, sorted, of the files in it and below with one of the suffixes."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        base = Path(parent).relative_to(folder).as_posix()
        prefix = "" if base == "." else f"{base}/"
        found += [prefix + name for name in names if Path(name).suffix.lower() in suffixes]
    return sorted(found)


def inside(root: Path, relative: str) -> Path:
    """The file under a path that a folder states itself.

    Raises
    ------
    StoreError
        If it lies outside of the folder.
    """
    parts = relative.split("/")
    if relative.startswith("/") or ".." in parts or ":" in parts[0]:
        raise StoreError(f"{root} names the file {relative!r}, which lies outside of it: correct its lists.")
    return root / relative


def replace_text(path: Path, text: str) -> None:
    """Write a text so that it stands whole, and so that a file linked under the name stays what it is.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, "utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error}. Make room, or choose another folder."
        ) from error


def _names(folder: Path) -> frozenset[str]:
    try:
        return frozenset(item.name for item in os.scandir(folder))
    except OSError:
        return frozenset()
