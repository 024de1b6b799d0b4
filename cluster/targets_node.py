"""What runs on a machine of an SSH cluster: its scheduler, or the workers of that machine.

It is started as ``python -m rasterloom.cluster.targets_node``, so nobody on that machine reads a setting or a
key in its list of processes: they come as one line of JSON on standard input. One line of JSON goes back on
standard output. When standard input ends, because the client has closed or is gone, the machine is left as it
was found.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import dask
from distributed import Nanny, Scheduler, Security

from rasterloom.cluster.gpu import choose_gpus
from rasterloom.cluster.local import (
    count_threads,
    count_workers,
    worker_environment,
    worker_memory_limit,
)
from rasterloom.cluster.settings import dask_settings
from rasterloom.models.errors import RasterloomError

_CLOSE_SECONDS = 10.0

_ROLES = ("scheduler", "worker", "client")


def main() -> None:
    """Do what standard input says until it ends, or until the cluster is shut down."""
    settings = json.loads(sys.stdin.buffer.readline())
    # What libraries print belongs among the messages: standard output holds the answer only.
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    dask.config.update_defaults(dask_settings())  # what this machine's own files say stands
    try:
        asyncio.run(_serve(settings, answer))
    except RasterloomError as error:  # the one who asked sees this, and nothing of it is our mistake
        sys.exit(str(error))


def plan_workers(settings: Mapping[str, Any], gpus: Sequence[str]) -> list[dict[str, Any]]:
    """Return what each worker process of this machine is started with.

    Parameters
    ----------
    settings
        The machine's part of the file; see ``rasterloom.cluster.targets_hosts``.
    gpus
        The GPUs it is to use.
    """
    count = count_workers(settings["processes"], gpus)
    worker = {
        "nthreads": count_threads(settings["threads"], gpus),
        "memory_limit": worker_memory_limit(settings["memory_limit"], count),
    }
    names = [{"name": f"{settings['name']}-{number}"} for number in range(count)]
    if not gpus:
        return [worker | name for name in names]
    return [
        worker | name | {"resources": {"GPU": 1}, "env": {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]}}
        for i, name in enumerate(names)
    ]


async def _serve(settings: dict[str, Any], answer: int) -> None:
    unwanted = _unwanted()
    start = _start_scheduler if settings["role"] == "scheduler" else _start_workers
    told, finished, close = await start(settings)
    with os.fdopen(answer, "w", encoding="utf-8") as pipe:
        pipe.write(json.dumps(told) + "\n")
    waits = [asyncio.ensure_future(unwanted.wait()), asyncio.ensure_future(finished())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait([asyncio.ensure_future(close())], timeout=_CLOSE_SECONDS)
    for wait in waits:
        wait.cancel()


_Started = tuple[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]]


async def _start_scheduler(settings: dict[str, Any]) -> _Started:
    security = _security(settings["tls"])
    scheduler = await Scheduler(
        protocol="tls" if security else "tcp",
        host=settings["listen"],
        port=settings["port"],
        security=security,
        dashboard=True,
        dashboard_address="127.0.0.1:0",  # nobody else's; a port of its own, for more than one cluster
    )
    told = {"address": scheduler.address, "dashboard": scheduler.services["dashboard"].port}
    return told, scheduler.finished, scheduler.close


async def _start_workers(settings: dict[str, Any]) -> _Started:
    security = _security(settings["tls"])
    plan = plan_workers(settings, choose_gpus(settings["gpus"]))
    os.environ.update(worker_environment(len(plan)))
    nannies = [
        Nanny(
            settings["scheduler"],
            host=settings["listen"],
            port=settings["ports"],
            worker_port=settings["ports"] or 0,
            local_directory=settings["folder"],
            security=security,
            protocol="tls" if security else "tcp",
            # A dashboard for each worker would listen beyond this machine.
            dashboard=False,
            **worker,
        )
        for worker in plan
    ]
    await asyncio.gather(*nannies)

    async def finished() -> None:
        await asyncio.gather(*(nanny.finished() for nanny in nannies))

    async def close() -> None:
        await asyncio.gather(*(nanny.close(timeout=_CLOSE_SECONDS / 2) for nanny in nannies))

    return {"workers": len(nannies)}, finished, close


def _security(tls: str | dict[str, str] | None) -> Security | None:
    """Keys of a folder on this machine, or those that came with the settings and stay in memory."""
    if tls is None:
        return None
    if isinstance(tls, str):
        from rasterloom.cluster.tls import read_security

        return read_security(tls, "tls://")
    roles = {f"tls_{role}_{part}": tls[part] for role in _ROLES for part in ("cert", "key")}
    return Security(require_encryption=True, tls_ca_file=tls["ca"], **roles)


def _unwanted() -> asyncio.Event:
    """Set once standard input ends, or this process is asked to end."""
    gone = asyncio.Event()

    def look() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            gone.set()
            loop.remove_reader(sys.stdin.fileno())

    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), look)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, gone.set)
    return gone


if __name__ == "__main__":
    main()
