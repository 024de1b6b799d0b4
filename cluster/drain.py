"""Ending workers gently: no new work for them, time for what runs, and their data to the others."""

import asyncio
import time
from collections.abc import Collection
from typing import Any

from distributed import Client, Security, Worker
from distributed.core import rpc

_LOOK_SECONDS = 0.1
_ANSWER_SECONDS = 5.0


def ask_scheduler(address: str, security: Security | None, seconds: float) -> dict[str, Any]:
    """What a scheduler says about itself and its workers; it has ``seconds`` to connect, and again to answer.

    Raises
    ------
    OSError
        If nobody answers in time, or not in the protocol of the address.
    """

    async def ask() -> dict[str, Any]:
        arguments = (security or Security()).get_connection_args("client")
        async with rpc(address, connection_args=arguments, timeout=seconds) as scheduler:
            try:
                told: dict[str, Any] = await asyncio.wait_for(scheduler.identity(), 2 * seconds)
            except TimeoutError as error:  # without a word
                raise TimeoutError(f"{address} does not answer within {2 * seconds:g} s") from error
            return told

    return asyncio.run(ask())


def drain(address: str, security: Security | None, names: Collection[str], seconds: float) -> int:
    """End the workers of these names without losing their work; return how many tasks were cut off.

    They get no new tasks. What they have begun may go on for ``seconds``; what waits at them goes to other
    workers, and so does what they alone remember. Then they and their nannies end. Workers that cannot hand
    on what they remember, because there are no others, are left as they are when time is up. One that hangs
    holds this up: the caller sees to an end.

    Raises
    ------
    OSError
        If the scheduler does not answer.
    """
    deadline = time.monotonic() + seconds
    with Client(address, security=security, timeout=_ANSWER_SECONDS, set_as_default=False) as client:
        present = client.scheduler_info(n_workers=-1)["workers"].items()
        mine = [where for where, worker in present if str(worker["name"]) in names]
        # First only so that nothing new begins: removing a worker hands its running tasks to others at once.
        _retire(client, mine, deadline, close_workers=False, remove=False)
        while (busy := _running(client, mine)) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        _retire(client, mine, deadline, close_workers=True, remove=True)
        return busy


def _retire(client: Client, workers: list[str], deadline: float, **how: bool) -> None:
    """Retire all workers, again and again until what nobody else could take has been fetched by its owner."""
    left = set(workers)
    while left:
        left -= set(client.retire_workers(workers=list(left), **how))
        left &= set(client.scheduler_info(n_workers=-1)["workers"])
        if not left or time.monotonic() > deadline:
            return
        time.sleep(_LOOK_SECONDS)


def _running(client: Client, workers: list[str]) -> int:
    return sum(client.run(_count_running, workers=workers, on_error="ignore").values()) if workers else 0


def _count_running(dask_worker: Worker) -> int:
    return len(dask_worker.state.all_running_tasks)
