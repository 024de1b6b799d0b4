"""Joins a cluster of a Dask Gateway, or has it start one.

"gateway:https://dask.example.org" starts a cluster, which ends when it is closed;
"gateway:https://dask.example.org#NAME" joins one that runs. Dask's configuration says who asks
(``gateway.auth``), and what a new cluster is like (``gateway.cluster.options``).
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from distributed import Security

from rasterloom.cluster.gpu import GpuChoice
from rasterloom.cluster.targets import Opened, load_extra
from rasterloom.cluster.targets_thread import LoopThread
from rasterloom.cluster.tls import is_loopback
from rasterloom.models.errors import ClusterError, SettingError

_CLOSE_SECONDS = 30.0


def open_cluster(
    target: str,
    *,
    n_workers: int | None,
    threads_per_worker: int | None,
    gpus: GpuChoice,
    security: bool | str | Path | Security | None,
    timeout: float,
) -> Opened:
    """Join the cluster that is named, or start one with ``n_workers``, 1 if that is None.

    Raises
    ------
    SettingError
        If the address would let others see who we are, or a setting is the gateway's to decide.
    MissingExtraError
        If dask-gateway is not installed.
    ClusterError
        If the gateway does not answer, refuses us, or cannot start the cluster.
    """
    url, _, name = target.partition("#")
    _check_address(url, security)
    if threads_per_worker is not None or gpus != "auto":
        raise SettingError(
            "threads_per_worker and gpus are the gateway's to decide: set its options in Dask's "
            "configuration (gateway.cluster.options), and leave them out here."
        )
    library = load_extra("dask_gateway", "gateway")
    # Its synchronous objects raise when they are collected after their loop has ended, so they get one here.
    thread = LoopThread("gateway-cluster")
    try:
        cluster = thread.run(_start(library, url, name, n_workers, timeout), timeout + _CLOSE_SECONDS)
    except BaseException:
        thread.stop()
        raise

    def scale(count: int) -> None:
        thread.run(_await(cluster.scale, count), _CLOSE_SECONDS)

    def close() -> None:
        try:
            thread.run(_await(cluster.close), _CLOSE_SECONDS)
        finally:
            thread.stop()

    return Opened(
        address=cluster.scheduler_address,
        security=cluster.security,
        where=f"gateway {urlsplit(url).netloc}",
        close=close,
        scale=scale,
    )


async def _start(library: Any, url: str, name: str, n_workers: int | None, timeout: float) -> Any:
    from aiohttp import ClientError

    failures = (ClientError, OSError, ValueError, library.GatewayClusterError, library.GatewayServerError)
    try:
        async with library.Gateway(url, asynchronous=True) as gateway:
            cluster = gateway.connect(name) if name else gateway.new_cluster(shutdown_on_close=True)
            try:
                async with asyncio.timeout(timeout):
                    await cluster
                    if n_workers is not None or not name:
                        await cluster.scale(n_workers or 1)
            except BaseException:
                await cluster.close()
                raise
            return cluster
    except failures as error:
        raise ClusterError(
            f"The gateway at {url} gives no cluster ({error or type(error).__name__}): check the address, "
            "that gateway.auth of Dask's configuration says who you are, and the name after '#', if any."
        ) from error


async def _await(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call it within the loop: its coroutine is not made before."""
    return await work(*arguments)


def _check_address(url: str, security: bool | str | Path | Security | None) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingError(f"{url!r} is no address of a gateway: use 'gateway:https://dask.example.org'.")
    if parts.username is not None or parts.query:
        raise SettingError(
            f"The address of the gateway {parts.hostname} holds a name, a password or a query: leave them "
            "out, and say who you are in Dask's configuration (gateway.auth)."
        )
    if parts.scheme == "http" and security is not False and not is_loopback(f"tcp://{parts.hostname}:80"):
        raise SettingError(
            f"{url} would carry what you log in with unencrypted: use https://, or security=False if the "
            "network is yours."
        )
