"""The process of a local cluster: a scheduler, its workers, and a watch on the process that wants them.

It is started by ``rasterloom.cluster.local`` and is no part of the program that uses the cluster, so a worker
never imports that program's main script: scripts need no ``if __name__ == "__main__"`` guard, and notebooks,
the command line and scripts all start workers the same way. Settings come as one line of JSON on standard
input; the address goes back through a pipe. When standard input ends, however its other end died, the cluster
is closed.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import dask
from distributed import LocalCluster, Security
from distributed.core import Status

BOOT = (
    "import json, sys; settings = json.loads(sys.stdin.readline()); sys.path[:] = settings['path']; "
    "from rasterloom.cluster.hub import main; main(settings)"
)
"""What ``python -c`` runs. The caller's module path comes first: workers find what the caller can import."""


def main(settings: dict[str, Any]) -> None:
    """Serve one cluster until standard input ends or the cluster is shut down."""
    asyncio.run(_serve(settings))


class LocalGPUCluster(LocalCluster):
    """Workers that have one GPU each, as their resource ``GPU`` and as the only one that they see.

    Parameters
    ----------
    gpus
        The GPU of each worker, as ``CUDA_VISIBLE_DEVICES`` takes it. It is set before a worker imports
        anything, and again when its nanny starts it anew.
    settings
        Of ``LocalCluster``; it is asynchronous, and not started yet when this returns.
    """

    def __init__(self, gpus: Sequence[str], **settings: Any) -> None:
        super().__init__(asynchronous=True, **settings)
        for (name, spec), gpu in zip(list(self.worker_spec.items()), gpus, strict=True):
            self.worker_spec[name] = spec | {"options": spec["options"] | _own(gpu)}


async def _serve(settings: dict[str, Any]) -> None:
    dask.config.update_defaults(settings["config"])
    cluster = await _cluster(settings)
    answer = {"address": cluster.scheduler_address, "dashboard": cluster.dashboard_link}
    with os.fdopen(settings["answer"], "w", encoding="utf-8") as pipe:
        pipe.write(json.dumps(answer) + "\n")
    await _until_unwanted(cluster)
    if cluster.scheduler.status is Status.running:
        await cluster.close()
        return
    # Closing a cluster whose scheduler is going waits for answers that never come, so only workers are
    # closed.
    closing = [asyncio.ensure_future(nanny.close(timeout=1)) for nanny in cluster.workers.values()]
    if closing:
        await asyncio.wait(closing, timeout=5)


def _cluster(settings: dict[str, Any]) -> LocalCluster:
    common = {
        "host": "127.0.0.1",
        "security": None if settings["security"] is None else Security(**settings["security"]),
        "silence_logs": False,  # by the environment, which reaches the workers too
        **settings["cluster"],
    }
    if settings["gpus"]:
        return LocalGPUCluster(settings["gpus"], **common)
    return LocalCluster(asynchronous=True, **common)


def _own(gpu: str) -> dict[str, Any]:
    """Options of a nanny whose worker has this GPU."""
    return {"env": {"CUDA_VISIBLE_DEVICES": gpu}, "resources": {"GPU": 1}}


async def _until_unwanted(cluster: LocalCluster) -> None:
    """Wait for the end of standard input or of the scheduler."""
    gone = asyncio.Event()

    def look() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            gone.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), look)
    waits = [asyncio.ensure_future(gone.wait()), asyncio.ensure_future(cluster.scheduler.finished())]
    _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    loop.remove_reader(sys.stdin.fileno())
    for task in pending:
        task.cancel()
