"""Bring a package with an inference function of its own to where every worker can read it."""

import io
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rasterloom.cluster.delivery import named_by_content, place_package, read_placed
from rasterloom.cluster.places import Place
from rasterloom.models.errors import PackageError
from rasterloom.pipeline.functions.files import FunctionFiles, named_script
from rasterloom.pipeline.packages.archive import MOST_BYTES, MOST_MEMBERS, Archive, write_archive
from rasterloom.pipeline.packages.finding import MOST_EMD_BYTES
from rasterloom.pipeline.packages.manifest import SECTION, parse_emd, relative_name
from rasterloom.pipeline.packages.model import Model, usable

_ARCHIVES = (".dlpk", ".zip")
_EMD = ".emd"


@dataclass(frozen=True)
class StagedScript:
    """A package with its inference function as one file on disk, named by its content."""

    path: Path
    files: FunctionFiles

    def place(self, folder: str | Path | Place) -> str:
        """Copy the package into ``folder``, where workers will read it: path or URL for :func:`load_script`.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        return place_package(self.path, folder)


def scripted(model: Any) -> FunctionFiles | None:
    """The package that is run by an inference function of its author's; None for every other model.

    Packages of ours hold such a script too, for other software; here their networks are run.

    Raises
    ------
    PackageError
        If it is such a package and cannot be used; the message says why.
    """
    if isinstance(model, Mapping):  # given as JSON, it has no folder to take a script from
        return None
    model = model.path if isinstance(model, Model) else usable(model)
    if not isinstance(model, str | Path | Place):
        return None
    if isinstance(model, Place) or "://" in str(model):
        return _of_url(Place.of(model))
    path = _found(Path(model).expanduser())
    if path is None:
        return None
    if path.suffix.lower() in _ARCHIVES:
        with Archive(path) as archive:
            return _of_archive(archive)
    return _of_folder(path)


@contextmanager
def staged_script(files: FunctionFiles) -> Iterator[StagedScript]:
    """The package in one file, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="rasterloom-script-") as name:
        path = Path(name) / "package.dlpk"
        write_archive(path, files.members)
        yield StagedScript(named_by_content(path), files)


def load_script(package: str) -> FunctionFiles:
    """The package that the plan of a run names, for the task that runs it; trusted as the caller trusted it.

    Raises
    ------
    PackageError
        If the content is not what the name says.
    MissingInputError
        If it is gone.
    """
    with Archive(io.BytesIO(read_placed(package)), source=package) as archive:
        files = _of_archive(archive)
    assert files is not None, "only such packages are staged"
    return files


def _found(path: Path) -> Path | None:
    """The archive or description that a path stands for; None where the reader of our packages decides."""
    if path.is_dir():
        found = sorted(path.glob(f"*{_EMD}"))
        return found[0] if len(found) == 1 else None
    near = (path, path.with_name(f"{path.name}.dlpk"), path.with_name(f"{path.name}{_EMD}"))
    found = [one for one in near if one.is_file()]
    return found[0] if found and found[0].suffix.lower() in (*_ARCHIVES, _EMD) else None


def _of_url(place: Place) -> FunctionFiles | None:
    if not place.name.lower().endswith(_ARCHIVES):
        return None
    try:
        content = place.parent.read(place.name)
    except OSError:
        return None  # the reader of our own packages says what is wrong
    with Archive(io.BytesIO(content), source=str(place)) as archive:
        return _of_archive(archive)


def _of_archive(archive: Archive) -> FunctionFiles | None:
    names = [name for name in archive.names if name.lower().endswith(_EMD)]
    names = [name for name in names if "/" not in name] or names  # others may belong to parts of it
    if len(names) != 1:
        return None
    emd = parse_emd(archive.read(names[0], most=MOST_EMD_BYTES), source=archive.source)
    if _is_ours(emd):
        return None
    return _files({name: archive.read(name) for name in archive.names}, emd, names[0], archive.source)


def _of_folder(emd_path: Path) -> FunctionFiles | None:
    source = str(emd_path)
    if emd_path.stat().st_size > MOST_EMD_BYTES:
        return None
    emd = parse_emd(emd_path.read_bytes(), source=source)
    if _is_ours(emd) or named_script(emd, source=source) is None:
        return None
    members: dict[str, Path | bytes] = {}
    total = 0
    for path in sorted(emd_path.parent.rglob("*")):
        name = path.relative_to(emd_path.parent).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise PackageError(f"{source} is refused: {name} beside it is a link or a device, no plain file.")
        if path.is_dir() or "__pycache__" in path.parts or path.suffix.lower() in _ARCHIVES:
            continue
        total += path.stat().st_size
        members[name] = path
        if len(members) > MOST_MEMBERS or total > MOST_BYTES:
            raise PackageError(
                f"{source} stands among more than {MOST_MEMBERS} files or {MOST_BYTES} bytes, and all of "
                "them go to where it is run: give the package a folder of its own."
            )
    return _files(members, emd, emd_path.name, source)


def _is_ours(emd: Mapping[str, Any]) -> bool:
    return isinstance(emd.get(SECTION), Mapping)


def _files(
    members: Mapping[str, Path | bytes], emd: Mapping[str, Any], emd_name: str, source: str
) -> FunctionFiles | None:
    named = named_script(emd, source=source)
    if named is None:
        return None
    folder = emd_name.rpartition("/")[0]
    script = _member(named, folder, members, source, "InferenceFunction")
    weights = emd.get("ModelFile")
    if isinstance(weights, str) and weights.strip():
        _member(weights.strip(), folder, members, source, "ModelFile")
    return FunctionFiles(members, emd, emd_name, script, source)


def _member(name: str, folder: str, members: Mapping[str, Any], source: str, key: str) -> str:
    plain = relative_name(name, source=f"{source}, {key}")
    member = f"{folder}/{plain}" if folder else plain
    if member not in members:
        raise PackageError(f"{source} lacks {member}, which its .emd names as {key}.")
    return member
