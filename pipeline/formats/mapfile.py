"""Read and write map.txt: the files of each chip, a line for each."""

import re
from pathlib import Path

from rasterloom.models.errors import StoreError
from rasterloom.pipeline.formats.layout import Entry

_COLUMNS = re.compile(r"\s+(?=(?:images2?|labels2?)[\\/])")
"""What stands between columns. Names of classes may hold spaces, so spaces alone do not part them."""


def map_line(entry: Entry) -> str:
    """The line of a chip: Windows' separators, and a space at the end.

    References
    ----------
    "Formats", 1.1.
    """
    names = [entry.image, *entry.labels, *([entry.image2] if entry.image2 else [])]
    return " ".join(name.replace("/", "\\") for name in names) + " \n"


def read_map(path: Path) -> tuple[Entry, ...]:
    """The files that map.txt lists, in its order.

    Raises
    ------
    StoreError
        If it cannot be read.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}. Restore it.") from error
    return tuple(_entry(line) for line in lines if line.strip())


def _entry(line: str) -> Entry:
    names = [name.strip().replace("\\", "/") for name in _COLUMNS.split(line.strip())]
    image, *others = names
    labels = tuple(name for name in others if not name.startswith("images2/"))
    image2 = next((name for name in others if name.startswith("images2/")), "")
    return Entry(Path(image).stem, image, labels, image2)
