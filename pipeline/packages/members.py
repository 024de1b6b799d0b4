"""The files of a model package by name, in a folder or in one file."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, final

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.packages.archive import Archive
from rasterloom.pipeline.packages.manifest import relative_name


class Members(Protocol):
    """Where a package's files are read from. Names are relative to its ``.emd``, with forward slashes."""

    def find(self, name: str) -> Path | bytes:
        """A member as the file on disk or as its content.

        Raises
        ------
        PackageError
            If it is not there, or not inside the package.
        """
        ...


@final
@dataclass(frozen=True)
class FolderMembers:
    """Files beside an ``.emd`` file."""

    folder: Path
    source: str
    """What messages call it."""

    def find(self, name: str) -> Path:
        """The member's file, which is in the folder or below, also after links are followed."""
        found = (self.folder / relative_name(name, source=self.source)).resolve()
        if not found.is_relative_to(self.folder.resolve()):
            raise PackageError(f"{self.source} names {name!r}, which leads out of its folder.")
        if not found.is_file():
            raise PackageError(f"{self.source} lacks {name}: it is not beside it.")
        return found


@final
@dataclass(frozen=True)
class ArchiveMembers:
    """Files in a zip, which is opened anew for each."""

    archive: Path | bytes = field(repr=False)
    """The zip, or its content."""
    source: str
    """What messages call it."""
    folder: str = ""
    """Folder of the ``.emd`` in the zip."""

    def find(self, name: str) -> bytes:
        """The member's content."""
        inside = relative_name(name, source=self.source)
        file = io.BytesIO(self.archive) if isinstance(self.archive, bytes) else self.archive
        with Archive(file, source=self.source) as archive:
            return archive.read(f"{self.folder}/{inside}" if self.folder else inside)
