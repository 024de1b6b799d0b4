"""Zip files whose bytes depend on their content alone, and reading those of strangers."""

import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.packages.manifest import relative_name

MOST_MEMBERS = 2_000
MOST_BYTES = 16 * 2**30
"""Of all members together, unpacked."""
MOST_RATIO = 200
"""Unpacked to packed size of one member. Weights reach 10, HTML pages 30."""
FREE_BYTES = 2**20
"""A member up to this size may have any ratio."""

WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt", ".pt2", ".torchscript", ".onnx", ".pickle")
"""Stored as they are: packing takes seconds at writing and reading, and saves less than a tenth."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold
_PLAIN_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_BLOCK = 2**20


def write_archive(path: Path, members: Mapping[str, Path | bytes]) -> None:
    """Write files into a new zip: equal contents and names give equal bytes.

    Parameters
    ----------
    members
        Name in the archive to the file on disk, or to what it holds.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _EPOCH)
            stored = name.lower().endswith(WEIGHTS_SUFFIXES)
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, wherever it is written
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            _write_member(archive, info, members[name])


def _write_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, content: Path | bytes) -> None:
    if isinstance(content, bytes):
        archive.writestr(info, content)
        return
    info.file_size = content.stat().st_size  # decides whether 64-bit fields are needed
    with content.open("rb") as source, archive.open(info, "w") as target:
        while block := source.read(_BLOCK):
            target.write(block)


class Archive:
    """A zip file whose members have been looked over before any is read.

    Members are read into memory by name and nothing is unpacked to disk.
    """

    def __init__(self, file: Path | BinaryIO, *, source: str = "") -> None:
        """Open a zip and check every entry of its table.

        Parameters
        ----------
        file
            Its path, or an open file.
        source
            What messages call it. Without one, its path.

        Raises
        ------
        PackageError
            If it is no zip, or holds anything but plain files with paths inside it: links, absolute names,
            names that climb out, duplicates, encrypted members, unknown compression; or if it is too many,
            too much, or packed so tightly that it looks like a bomb. The message names the member.
        OSError
            If it cannot be read.
        """
        self.source = source or str(file)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise PackageError(
                f"{self.source} is no model package: it is no whole zip file ({error})."
            ) from error
        try:
            self._members = _checked(self._zip.infolist(), self.source)
        except PackageError:
            self._zip.close()
            raise

    @property
    def names(self) -> list[str]:
        """Names of the files in it, with forward slashes."""
        return sorted(self._members)

    def read(self, name: str, *, most: int = MOST_BYTES) -> bytes:
        """The bytes of a member.

        Raises
        ------
        PackageError
            If there is no such member, it is damaged, or has more than ``most`` bytes.
        """
        if name not in self._members:
            raise PackageError(f"{self.source} lacks {name}: it holds {', '.join(self.names) or 'nothing'}.")
        size = self._members[name].file_size
        if size > most:
            raise PackageError(
                f"{self.source} is refused: its member {name} has {size} bytes, and {most} are allowed."
            )
        try:
            return self._zip.read(self._members[name])
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise PackageError(f"{self.source} is damaged: {name} cannot be unpacked ({error}).") from error

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(infos: list[zipfile.ZipInfo], source: str) -> dict[str, zipfile.ZipInfo]:
    if len(infos) > MOST_MEMBERS:
        raise PackageError(f"{source} is refused: {len(infos)} members, and {MOST_MEMBERS} are allowed.")
    total = sum(info.file_size for info in infos)
    if total > MOST_BYTES:
        raise PackageError(f"{source} is refused: it unpacks to {total} bytes, and {MOST_BYTES} are allowed.")
    members: dict[str, zipfile.ZipInfo] = {}
    folded: set[str] = set()
    for info in infos:
        if info.is_dir():
            relative_name(info.filename.rstrip("/\\"), source=source)
            continue
        name = relative_name(info.filename, source=source)
        fault = _fault(info)
        if name.casefold() in folded:
            fault = "is there twice"
        if fault:
            raise PackageError(f"{source} is refused: its member {info.filename!r} {fault}.")
        folded.add(name.casefold())
        members[name] = info
    return members


def _fault(info: zipfile.ZipInfo) -> str | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "is a link or a device, not a plain file"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in _PLAIN_METHODS:
        return f"is packed by method {info.compress_type}, which is neither stored nor deflated"
    if info.file_size > FREE_BYTES and info.file_size > MOST_RATIO * max(info.compress_size, 1):
        return f"unpacks to {info.file_size // max(info.compress_size, 1)} times its size"
    return None
