"""Where a package is: its description and its files, before anything of it is believed."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rasterloom.cluster.places import Place
from rasterloom.models.errors import MissingInputError, PackageError
from rasterloom.pipeline.packages.archive import Archive
from rasterloom.pipeline.packages.manifest import parse_emd
from rasterloom.pipeline.packages.members import ArchiveMembers, FolderMembers, Members
from rasterloom.pipeline.packages.registry import Registry

MOST_EMD_BYTES = 64 * 2**20
ARCHIVE_SUFFIXES = (".dlpk", ".zip")


@dataclass(frozen=True)
class Described:
    """A package of any author: what its description says, and where its files are."""

    emd: Mapping[str, Any]
    members: Members = field(repr=False)
    source: str
    """What messages call it."""


def find_package(path: str | Path | Place, working_dir: Path | None = None) -> Described:
    """The package that a path, a URL or the name of an installed model stands for.

    Parameters
    ----------
    path
        As :func:`~rasterloom.pipeline.packages.load.load_package` takes it.
    working_dir
        A name alone that is nowhere else is looked for in this folder's ``models``.

    Raises
    ------
    MissingInputError
        If nothing is there.
    PackageError
        If it is no package that may be read: see :class:`~rasterloom.pipeline.packages.archive.Archive`.
    """
    text = str(path)
    try:
        if "://" in text:
            return _from_url(text)
        found = _find(Path(text), working_dir)
        if found is None:
            return _from_registry(text)
        return _from_file(found)
    except OSError as error:
        if isinstance(error, MissingInputError):
            raise
        raise PackageError(f"{path} cannot be read: {error}.") from error


def open_archive(content: Path | bytes, source: str) -> Described:
    """The package in a ``.dlpk`` file or its bytes.

    Raises
    ------
    PackageError
        If it is no package that may be read.
    """
    with Archive(io.BytesIO(content) if isinstance(content, bytes) else content, source=source) as archive:
        names = [name for name in archive.names if name.lower().endswith(".emd")]
        if len(names) != 1:
            raise PackageError(
                f"{source} is no model package: it holds {len(names)} .emd files and should hold one."
            )
        emd = parse_emd(archive.read(names[0], most=MOST_EMD_BYTES), source=source)
    return Described(emd, ArchiveMembers(content, source, names[0].rpartition("/")[0]), source)


def _from_file(path: Path) -> Described:
    if path.suffix.lower() in ARCHIVE_SUFFIXES:
        return open_archive(path, str(path))
    if path.stat().st_size > MOST_EMD_BYTES:
        raise PackageError(f"{path} is no .emd file: it is larger than {MOST_EMD_BYTES} bytes.")
    return Described(
        parse_emd(path.read_bytes(), source=str(path)), FolderMembers(path.parent, str(path)), str(path)
    )


def _from_url(url: str) -> Described:
    place = Place.of(url)
    if not place.name.lower().endswith(ARCHIVE_SUFFIXES):
        raise PackageError(f"{url} is no package: a URL must be that of a .dlpk file.")
    try:
        content = place.parent.read(place.name)
    except FileNotFoundError as error:
        raise MissingInputError(f"{url} is not there: give the URL of a .dlpk file.") from error
    return open_archive(content, url)


def _from_registry(name: str) -> Described:
    registry = Registry.of(None)
    if not registry.holds(name):
        raise MissingInputError(
            f"{name} is not there: give a .dlpk or .emd file, the folder of a saved model, or the name of a "
            f"model that is installed in {registry}."
        )
    address = registry.address(name)
    return _from_url(address) if "://" in address else _from_file(Path(address))


def _find(path: Path, working_dir: Path | None) -> Path | None:
    path = path.expanduser()
    places = [path]
    if working_dir is not None and len(path.parts) == 1:
        places.append(working_dir / "models" / path)
    for place in places:
        if place.is_dir():
            return _emd_in(place)
        for candidate in (place, place.with_name(f"{place.name}.dlpk"), place.with_name(f"{place.name}.emd")):
            if candidate.is_file():
                return candidate
    return None


def _emd_in(folder: Path) -> Path:
    found = sorted(folder.glob("*.emd"))
    if len(found) != 1:
        raise PackageError(
            f"{folder} is no model's folder: it holds {len(found)} .emd files and should hold one."
        )
    return found[0]
