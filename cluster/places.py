"""A folder that all workers see: on a shared file system, or in an object store behind a URL."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rasterloom.models.errors import MissingExtraError, SettingError

_GDAL = {
    "s3": "/vsis3/",
    "s3a": "/vsis3/",
    "gs": "/vsigs/",
    "gcs": "/vsigs/",
    "az": "/vsiaz/",
    "abfs": "/vsiaz/",
    "abfss": "/vsiaz/",
}
"""GDAL's file systems for the schemes of URLs."""

_DRIVERS = {
    "s3": "s3fs (pip install 'rasterloom[s3]')",
    "s3a": "s3fs (pip install 'rasterloom[s3]')",
    "gs": "gcsfs (pip install gcsfs)",
    "gcs": "gcsfs (pip install gcsfs)",
    "az": "adlfs (pip install adlfs)",
    "abfs": "adlfs (pip install adlfs)",
    "abfss": "adlfs (pip install adlfs)",
}
"""What reads and writes each scheme, and how to get it."""


@dataclass(frozen=True)
class Place:
    """A folder, by absolute path or URL. Small and picklable: it travels with tasks.

    Nothing is said about who may use it: credentials and endpoints come from the environment of each process.
    """

    url: str
    """Absolute local path, or "s3://bucket/prefix" and its like, without a slash at the end."""

    def __post_init__(self) -> None:
        if "://" in self.url:
            _check_url(self.url)
        elif not os.path.isabs(self.url):  # noqa: PTH117 - a Place is made for every task, Path takes longer
            raise SettingError(
                f"{self.url!r} is relative, and workers have folders of their own: use Place.of."
            )

    @classmethod
    def of(cls, place: "str | Path | Place") -> "Place":
        """The place that a path, a URL or a place names. Relative paths begin at the current folder.

        Raises
        ------
        SettingError
            If the URL names no bucket, or holds a password or a query.
        """
        if isinstance(place, Place):
            return place
        text = os.fspath(place)
        if "://" not in text:
            return cls(str(Path(text).absolute()))
        scheme, rest = text.split("://", 1)
        if scheme.lower() == "file":
            return cls(str(Path(rest).absolute()))
        return cls(f"{scheme.lower()}://{rest.rstrip('/')}")

    @property
    def is_local(self) -> bool:
        """Whether it is on a file system of this machine."""
        return "://" not in self.url

    @property
    def path(self) -> Path:
        """The folder itself.

        Raises
        ------
        SettingError
            If it is not local.
        """
        if not self.is_local:
            raise SettingError(f"{self.url} is no folder of this machine: use one here for this step.")
        return Path(self.url)

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> "Place":
        """The place that this one stands in. A bucket stands in itself."""
        if self.is_local:
            return Place(str(self.path.parent))
        base, _, rest = self.url.partition("://")
        return self if "/" not in rest else Place(f"{base}://{rest.rpartition('/')[0]}")

    def __truediv__(self, name: str) -> "Place":
        return Place(f"{self.url.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.url

    def write(self, name: str, data: bytes) -> None:
        """Put ``data`` under ``name``, replacing what stands there; it appears whole or not at all.

        Folders are made as needed.

        Raises
        ------
        OSError
            If it cannot be written. What stood there before still does.
        """
        if self.is_local:
            _write_whole(self.path / name, data)
        else:
            with _driver(self.url) as (files, root):
                files.pipe_file(f"{root}/{name}", data)

    def upload(self, name: str, source: Path) -> None:
        """Put a local file under ``name``, as ``write`` does, without holding it in memory.

        Locally it is copied.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        if self.is_local:
            _copy_whole(source, self.path / name)
        else:
            with _driver(self.url) as (files, root):
                files.put_file(str(source), f"{root}/{name}")

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        OSError
            If it cannot be read.
        """
        if self.is_local:
            return (self.path / name).read_bytes()
        with _driver(self.url) as (files, root):
            return bytes(files.cat_file(f"{root}/{name}"))

    def exists(self, name: str) -> bool:
        """Whether there is a file ``name``.

        Raises
        ------
        OSError
            If the store does not say.
        """
        if self.is_local:
            return (self.path / name).is_file()
        try:
            with _driver(self.url) as (files, root):
                return bool(files.info(f"{root}/{name}")["type"] == "file")
        except FileNotFoundError:
            return False

    def names(self) -> set[str]:
        """Names of the files directly in it, but hidden ones; empty where the folder is not there.

        Raises
        ------
        OSError
            If it cannot be listed.
        """
        try:
            return set(self._listed())
        except FileNotFoundError:
            return set()

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is fine.

        Raises
        ------
        OSError
            If it cannot be removed.
        """
        with suppress(FileNotFoundError):
            if self.is_local:
                (self.path / name).unlink()
            else:
                with _driver(self.url) as (files, root):
                    files.rm_file(f"{root}/{name}")

    def remove_all(self) -> None:
        """Remove the folder and all that is in it; one that is not there is fine.

        Raises
        ------
        OSError
            If something in it cannot be removed.
        SettingError
            If it is a whole disk or bucket.
        """
        if self.parent == self:
            raise SettingError(f"{self.url} is a whole disk or bucket: name a folder in it.")
        with suppress(FileNotFoundError):
            if self.is_local:
                shutil.rmtree(self.path)
                return
            with _driver(self.url) as (files, root):
                # s3fs would take a path without a key for the bucket, and remove that too
                if found := files.find(root):
                    files.rm(found)

    def gdal(self, name: str) -> str:
        """What GDAL opens to read the file ``name``.

        Raises
        ------
        SettingError
            If GDAL has no file system for the URL.
        """
        if self.is_local:
            return str(self.path / name)
        scheme, rest = self.url.split("://", 1)
        if scheme in ("http", "https"):
            return f"/vsicurl/{self.url}/{name}"
        if scheme not in _GDAL:
            raise SettingError(f"GDAL cannot read {scheme}:// addresses: use one of {', '.join(_GDAL)}.")
        return f"{_GDAL[scheme]}{rest}/{name}"

    def free_bytes(self) -> int | None:
        """Free space where the folder is, or would be; None where that cannot be told."""
        if not self.is_local:
            return None
        for folder in (self.path, *self.path.parents):
            try:
                return shutil.disk_usage(folder).free
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                return None
        return None

    def _listed(self) -> Iterator[str]:
        if self.is_local:
            with os.scandir(self.url) as entries:  # Path objects for 1e6 names would cost seconds
                yield from (e.name for e in entries if not e.name.startswith(".") and e.is_file())
            return
        with _driver(self.url) as (files, root):
            for entry in files.ls(root, detail=True):
                folder, _, name = entry["name"].rpartition("/")
                if entry["type"] == "file" and folder == root and name and not name.startswith("."):
                    yield name


@contextmanager
def _driver(url: str) -> Iterator[tuple[Any, str]]:
    """The fsspec file system of ``url`` and the folder's name in it; its errors come out as OSError."""
    import fsspec  # half of all runs have no URL

    scheme = url.partition("://")[0]
    try:
        # what other processes write must be seen, so no listing is kept
        files = fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        raise MissingExtraError(f"{url} needs {_DRIVERS.get(scheme, 'another package')}: {error}") from error
    except ValueError as error:
        raise SettingError(
            f"{url}: nobody knows {scheme}:// here; use a path or one of {', '.join(_GDAL)}."
        ) from error
    try:
        yield files, str(files._strip_protocol(url)).rstrip("/")
    except OSError:
        raise
    except Exception as error:  # each store's package has errors of its own, and they all mean this
        raise OSError(f"{url}: {type(error).__name__}: {error}") from error


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    # the text is not repeated where it may hold a secret
    if "@" in parts.netloc:
        raise SettingError(
            f"A {parts.scheme}:// address holds a name or password: leave it out, and set the credentials in "
            "the environment of this process and of the workers."
        )
    if parts.query or parts.fragment:
        raise SettingError(
            f"The address {parts.scheme}://{parts.netloc}{parts.path} has a query, and a folder has none: "
            "leave out what follows '?' or '#', and set credentials in the environment."
        )
    if not parts.netloc:
        raise SettingError(f"{url!r} names no bucket: use '{parts.scheme or 's3'}://bucket/folder'.")


def _write_whole(path: Path, data: bytes) -> None:
    with _renamed(path) as temporary:
        try:
            temporary.write_bytes(data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)


def _copy_whole(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _renamed(path) as temporary:
        shutil.copyfile(source, temporary)


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    """A name to write under, which becomes ``path`` at the end, or is gone."""
    # Two attempts at one batch may run at once after a network cut: each has a name of its own.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError:
        with suppress(OSError):  # the first error tells more
            temporary.unlink()
        raise
