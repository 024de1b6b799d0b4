"""Bring a model to the workers: a package named by its content, and verified wherever it is read.

It goes one of three ways. Where all workers see a folder or an object store, they read it there. Else the
scheduler sends it once to each worker process, those that join later included. Without a cluster it stays in
this process, or travels in the graph.
"""

import hashlib
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rasterloom.cluster.places import Place
from rasterloom.models.errors import ClusterError, MissingInputError, OutputError, PackageError, SettingError

if TYPE_CHECKING:
    from distributed import Client

SENT = "sent://"
"""How the name of a package begins that is in each worker's own folder; the client that sent it follows."""

MOST_SENT_BYTES = 2**31 - 2**20
"""Dask takes no longer message apart."""

_NAMED = re.compile(r"model-([0-9a-f]{64})\.dlpk")
"""A package that is named by its content."""

_BLOCK = 2**20


def named_by_content(path: Path) -> Path:
    """Rename a package to the hash of its content; says where it is then."""
    return path.rename(path.with_name(_name_of(path)))


def is_named(package: str) -> bool:
    """Whether a path or URL says what the content of the package is."""
    return _NAMED.fullmatch(package.rpartition("/")[2]) is not None


def place_package(path: Path, folder: str | Path | Place) -> str:
    """Copy a package into ``folder`` under the name of its content; says its path or URL there.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    place, name = Place.of(folder), _name_of(path)
    try:
        if not place.exists(name):
            place.upload(name, path)
    except OSError as error:
        raise OutputError(f"the model cannot be written to {place}: {error}.") from error
    return f"{place.url}/{name}"


def read_placed(package: str) -> bytes:
    """The content of a package that :func:`place_package` or a :class:`Parcel` has put somewhere.

    Raises
    ------
    PackageError
        If the content is not what the name says.
    MissingInputError
        If it is gone, or this machine does not see it.
    """
    folder, _, name = package.rpartition("/")
    named = _NAMED.fullmatch(name)
    assert named is not None, "it is named by its content"
    try:
        content = _received(package) if package.startswith(SENT) else Place.of(folder).read(name)
    except FileNotFoundError as error:
        raise MissingInputError(
            f"{package} is gone, or {socket.gethostname()} does not see it: start the run again, with an "
            "output that every worker reaches under the same path or URL."
        ) from error
    if hashlib.sha256(content).hexdigest() != named[1]:
        raise PackageError(
            f"{package} is refused: its content is not what this run put there. Remove it and start again."
        )
    return content


def check_seen(client: "Client | None", package: str) -> None:
    """Make sure that all workers see a package in the folder of a run: they write its outputs there, too.

    A worker that cannot be asked is none to worry about: the run goes on without it, or it reads the package
    like one that joins later.

    Raises
    ------
    ClusterError
        If a worker does not; it names the worker.
    """
    blind = _blind(client, package)
    if blind:
        raise ClusterError(
            f"worker {blind[0]} does not see {package} ({len(blind)} workers do not): workers read the model "
            "there and write the outputs beside it. Give an output on a disk that all machines have under "
            "the same path, or a URL such as s3://bucket/map.tif."
        )


class Parcel:
    """A package on its way to tasks, whoever computes them: picklable, and light once it has been sent.

    In the process that made it, it holds the content. When it travels to workers that have received the
    content before, only the name does.
    """

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        """What :func:`read_placed` takes."""
        self._content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return Parcel, (self.name, b"" if self.name.startswith(SENT) else self._content)

    def __dask_tokenize__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Parcel({self.name!r})"

    def read(self) -> bytes:
        """The content, verified where it does not come from this process.

        Raises
        ------
        PackageError
            If it is not what the name says, or this worker has not received it.
        """
        return self._content or read_placed(self.name)


def parcel(path: Path) -> Parcel:
    """A package for tasks that are made now and computed later, by whoever is there then.

    With a current client the content is sent to its workers now, once to each process, and to those that
    join later as they do. It is removed from them when the client is closed. Without one it travels with the
    tasks.

    Raises
    ------
    SettingError
        If it is too large to be sent.
    """
    name, client = _name_of(path), current_client()
    if client is None:
        return Parcel(name, path.read_bytes())
    size = path.stat().st_size
    if size > MOST_SENT_BYTES:
        raise SettingError(
            f"{path} has {size:,} bytes, and at most {MOST_SENT_BYTES:,} can be sent to workers: give the "
            "path of the package, on a disk that all machines have under the same path."
        )
    from rasterloom.cluster.sending import send

    content = path.read_bytes()
    sent = f"{SENT}{client.id}/{name}"
    send(client, sent, content)
    return Parcel(sent, content)


def seen_by_all(path: Path) -> bool:
    """Whether every worker of the current client finds a file of this size there; true without a client."""
    return not _blind(current_client(), str(path))


def current_client() -> "Client | None":
    """The client whose workers compute Dask collections at present, if there is one that blocks."""
    distributed: Any = sys.modules.get("distributed")
    if distributed is None:  # nobody can have made one, and the import takes half a second
        return None
    try:
        client: Client = distributed.default_client()
    except ValueError:
        return None
    return None if client.asynchronous or client.status != "running" else client


def _received(package: str) -> bytes:
    """What a worker of this process received under that name."""
    from distributed import get_worker

    plugin: Any
    try:
        plugin = get_worker().plugins.get(package)
    except ValueError:
        plugin = None
    if plugin is None or plugin.path is None:
        raise PackageError(
            f"{package} has not come to {socket.gethostname()}, or the client that sent it is closed: make "
            "the array again, with the client that is to compute it."
        )
    return bytes(plugin.path.read_bytes())


def _blind(client: Any, package: str) -> list[str]:
    """Workers that say that they do not see the package in a local folder."""
    if client is None or not Place.of(package).is_local or getattr(client, "asynchronous", True):
        return []
    ask: Callable[..., dict[str, Any]] = client.run
    sizes = ask(_size_of, package, on_error="return")
    return sorted(worker for worker, size in sizes.items() if size is None or size == -1)


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return -1


def _name_of(path: Path) -> str:
    if _NAMED.fullmatch(path.name):
        return path.name
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return f"model-{digest.hexdigest()}.dlpk"
