"""The client that ``connect`` returns: it says where the work is done, and ends what it started."""

import atexit
import html
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dask.utils import format_bytes
from distributed import Client, Security
from distributed.utils import format_dashboard_link
from distributed.versions import VersionMismatchWarning

_REPR_SECONDS = 2.0
"""How long the scheduler may take to say who works for it before what it said last is shown."""

_open: "weakref.WeakSet[Connection]" = weakref.WeakSet()


@dataclass(frozen=True)
class ClusterFacts:
    """What a cluster is at one moment."""

    where: str
    """What a person calls it: "this machine", "ssh hosts.toml"."""
    address: str
    """Address of the scheduler."""
    workers: int
    """Worker processes."""
    threads: int
    """Threads of all workers: batches that are computed at the same time."""
    gpus: int
    """GPUs that workers have declared as their resource ``GPU``."""
    memory: int
    """Bytes that all workers may use."""
    dashboard: str | None
    """Address of the scheduler's pages, without a query or a name and password; None where there are none."""

    def __str__(self) -> str:
        parts = [
            f"{self.where} at {self.address}",
            _counted(self.workers, "worker"),
            _counted(self.threads, "thread"),
            *([_counted(self.gpus, "GPU")] if self.gpus else []),
            format_bytes(self.memory),
            *([f"dashboard {self.dashboard}"] if self.dashboard else []),
        ]
        return ", ".join(parts)


class Connection(Client):
    """A Dask client that knows where its cluster is and closes what was started for it, and nothing else.

    Parameters
    ----------
    address
        Address of the scheduler.
    where
        What a person calls the cluster.
    on_close
        Ends what was started for this client. Called once, after the client is closed or could not connect.
    security
        What the scheduler asks for to let a client in; None for a cluster without TLS.
    timeout
        Seconds that the scheduler may take to answer.

    Raises
    ------
    OSError
        If the scheduler does not answer.
    """

    def __init__(
        self,
        address: str,
        *,
        where: str,
        on_close: Callable[[], None] | None = None,
        security: Security | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._where = where
        self._on_close = on_close
        try:
            with warnings.catch_warnings():
                # check_workers says the same with a remedy, and of the packages that matter here
                warnings.simplefilter("ignore", VersionMismatchWarning)
                super().__init__(address, security=security, timeout=timeout)
        except BaseException:
            self._end()
            raise
        _open.add(self)

    def close(self, *args: Any, **kwargs: Any) -> Any:
        """Close the client, then what was started for it."""
        try:
            return super().close(*args, **kwargs)
        finally:
            self._end()

    def facts(self) -> ClusterFacts:
        """What the cluster is now, or was when it was last heard of."""
        with suppress(OSError, TimeoutError, RuntimeError):
            if self.status == "running" and not self.asynchronous:
                self.sync(self._update_scheduler_info, n_workers=-1, callback_timeout=_REPR_SECONDS)
        info = self._scheduler_identity
        workers = info.get("workers", {}).values()
        return ClusterFacts(
            where=self._where,
            address=info.get("address") or self._start_arg,
            workers=info.get("n_workers", 0),
            threads=info.get("total_threads", 0),
            gpus=int(sum((worker.get("resources") or {}).get("GPU", 0) for worker in workers)),
            memory=info.get("total_memory", 0),
            dashboard=_pages(info),
        )

    def __repr__(self) -> str:
        if self.status != "running":
            return f"<Connection: {self._where}, {self.status}>"
        return f"<Connection: {self.facts()}>"

    def _repr_html_(self) -> str:
        if self.status != "running":
            return html.escape(repr(self))
        facts = self.facts()
        link = html.escape(facts.dashboard or "", quote=True)
        rows = {
            "Cluster": html.escape(facts.where),
            "Scheduler": html.escape(facts.address),
            "Workers": str(facts.workers),
            "Threads": str(facts.threads),
            "GPUs": str(facts.gpus),
            "Memory": html.escape(format_bytes(facts.memory)),
            "Dashboard": f'<a href="{link}" target="_blank" rel="noopener">{link}</a>' if link else "none",
        }
        cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items())
        return f"<table>{cells}</table>"

    def _end(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()


def _pages(info: dict[str, Any]) -> str | None:
    """The dashboard's address with nothing in it that could be a secret."""
    port = info.get("services", {}).get("dashboard")
    if port is None or "address" not in info:
        return None
    try:
        link = format_dashboard_link(urlsplit(info["address"]).hostname, port)
    except (KeyError, ValueError):  # the template of the link names a variable that is not set
        return None
    parts = urlsplit(link)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


@atexit.register
def _close_all() -> None:
    """End what programs left open: keys, jobs and machines that were started for them."""
    for connection in list(_open):
        if connection._on_close is not None:
            with suppress(TimeoutError, RuntimeError, OSError):
                connection.close(timeout=3)
