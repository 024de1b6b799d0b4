"""Joins a DaskCluster of Kubernetes, or makes one from its manifest.

"k8s:forest" and "k8s:NAMESPACE/forest" join the one that runs; "k8s:dask-cluster.yaml" makes the one that the
file describes, which ends when it is closed, or joins it if it is there already. The Dask operator has to be
installed there. The kubeconfig says who asks, or the pod that this runs in. From outside, the scheduler is
reached through a port that Kubernetes forwards from 127.0.0.1.

dask-kubernetes has a KubeCluster, which speaks to schedulers without TLS only.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from distributed import Security

from rasterloom.cluster.gpu import GpuChoice
from rasterloom.cluster.targets import Opened, load_extra
from rasterloom.cluster.targets_thread import LoopThread
from rasterloom.cluster.tls import read_security
from rasterloom.models.errors import ClusterError, MissingInputError, RasterloomError, SettingError

_VERSION = "kubernetes.dask.org/v1"
_PORT = 8786
_LOOK_SECONDS = 1.0
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
    """Return the DaskCluster that is named, once its scheduler is ready.

    Raises
    ------
    SettingError
        If a setting is the manifest's to decide, or it is no manifest of a DaskCluster.
    MissingInputError
        If the manifest is not there.
    MissingExtraError
        If kr8s is not installed.
    ClusterError
        If Kubernetes does not answer or refuses us, or there is no such cluster.
    """
    if threads_per_worker is not None or gpus != "auto":
        raise SettingError(
            "threads_per_worker and gpus are the manifest's to decide (its worker's command and resource "
            "limits): leave them out here."
        )
    load_extra("kr8s", "k8s")
    thread = LoopThread("k8s-cluster")
    session = _Session(read_wanted(target))
    try:
        address = thread.run(session.open(n_workers, timeout), timeout + _CLOSE_SECONDS)
        keys = read_security(security, address)
    except BaseException:
        _close(thread, session)
        raise

    def scale(count: int) -> None:
        thread.run(session.scale(count), _CLOSE_SECONDS)

    return Opened(
        address=address,
        security=keys,
        where=f"k8s {session.wanted.name}",
        close=lambda: _close(thread, session),
        scale=scale,
    )


@dataclass(frozen=True)
class Wanted:
    """The cluster that a target names."""

    name: str
    namespace: str | None
    """None for that of the kubeconfig."""
    manifest: Mapping[str, Any] | None = None
    """What to make if it is not there."""


def read_wanted(target: str) -> Wanted:
    """Return what a target names: a manifest if it ends with .yaml or .yml, else a cluster.

    Raises
    ------
    MissingInputError
        If the manifest is not there.
    SettingError
        If it holds no DaskCluster, or more than one.
    """
    if not target.endswith((".yaml", ".yml")):
        namespace, _, name = target.rpartition("/")
        return Wanted(name, namespace or None)
    path = Path(target).expanduser()
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise MissingInputError(f"{path} is not there: give the path of a manifest from here.") from error
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is no YAML file ({error}).") from error
    found = [part for part in documents if isinstance(part, dict) and part.get("kind") == "DaskCluster"]
    if (
        len(found) != 1
        or not isinstance(found[0].get("metadata"), dict)
        or "name" not in found[0]["metadata"]
    ):
        raise SettingError(
            f"{path} holds {len(found)} manifests of kind DaskCluster with a name, and one is needed: "
            "'kubectl apply' what it needs beside, and name the file of the cluster."
        )
    metadata = found[0]["metadata"]
    return Wanted(metadata["name"], metadata.get("namespace"), found[0])


def is_encrypted(cluster: Mapping[str, Any]) -> bool:
    """Whether the scheduler of a DaskCluster is started with TLS keys."""
    containers = cluster["spec"]["scheduler"]["spec"]["containers"]
    words = [[part.get(key, []) for key in ("command", "args", "env", "envFrom")] for part in containers]
    text = json.dumps(words).lower()
    return any(word in text for word in ("--tls", "tls://", "__tls__", '"tls"', "protocol=tls"))


class _Session:
    """What is held open of one cluster; all of it runs in one event loop."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._namespace = wanted.namespace or ""
        self._api: Any = None
        self._made: Any = None
        self._forward: Any = None

    async def open(self, n_workers: int | None, timeout: float) -> str:
        """Return the address of the scheduler."""
        import httpx
        import kr8s

        try:
            async with asyncio.timeout(timeout):
                self._api = await kr8s.asyncio.api()
                self._namespace = self.wanted.namespace or self._api.namespace
                cluster = await self._cluster()
                if n_workers is not None:
                    await self._wait_for(self._group)
                    await self.scale(n_workers)
                service = await self._wait_for(self._service)
                return f"{'tls' if is_encrypted(cluster.raw) else 'tcp'}://{await self._reach(service)}"
        except TimeoutError as error:
            raise ClusterError(
                f"The scheduler of {self.wanted.name} was not ready within {timeout:.0f} s: "
                f"'kubectl get pods -n {self._namespace}' shows what it waits for. Without the Dask operator "
                "nothing happens at all."
            ) from error
        except (kr8s.APITimeoutError, kr8s.ServerError, httpx.HTTPError, OSError, ValueError) as error:
            if isinstance(error, RasterloomError):
                raise
            raise ClusterError(
                f"Kubernetes does not answer or refuses us ({error or type(error).__name__}): check that "
                "'kubectl get daskclusters' works from here."
            ) from error

    async def scale(self, count: int) -> None:
        """Ask for that many workers."""
        group = await self._group()
        await group.patch({"spec": {"worker": {"replicas": count}}})

    async def close(self) -> None:
        """End the cluster if it was made here, and the forwarded port."""
        forward, self._forward = self._forward, None
        if forward is not None:
            await forward.stop()
        made, self._made = self._made, None
        if made is not None:
            await made.delete()
        # kr8s has no word for it, and leaves its connections to the garbage collector.
        connections, self._api = getattr(self._api, "_session", None), None
        if connections is not None:
            await connections.aclose()

    async def _cluster(self) -> Any:
        import kr8s

        kind = _kind("DaskCluster")
        try:
            return await kind.get(self.wanted.name, namespace=self._namespace, timeout=_LOOK_SECONDS)
        except kr8s.NotFoundError as error:
            if self.wanted.manifest is None:
                raise ClusterError(
                    f"There is no DaskCluster {self.wanted.name} in the namespace {self._namespace}: "
                    "'kubectl get daskclusters -A' lists what is there, and 'k8s:FILE.yaml' makes one from a "
                    "manifest."
                ) from error
        cluster = await kind(dict(self.wanted.manifest), namespace=self._namespace)
        await cluster.create()
        self._made = cluster
        return cluster

    async def _group(self) -> Any:
        name = f"{self.wanted.name}-default"
        return await _kind("DaskWorkerGroup").get(name, namespace=self._namespace, timeout=_LOOK_SECONDS)

    async def _service(self) -> Any:
        import kr8s
        from kr8s.asyncio.objects import Service

        service = await Service.get(
            f"{self.wanted.name}-scheduler", namespace=self._namespace, timeout=_LOOK_SECONDS
        )
        if not await service.ready_pods():
            raise kr8s.NotFoundError("no pod is ready")
        return service

    async def _wait_for(self, look: Any) -> Any:
        import kr8s

        while True:
            try:
                return await look()
            except kr8s.NotFoundError:
                await asyncio.sleep(_LOOK_SECONDS)

    async def _reach(self, service: Any) -> str:
        """Host and port of the scheduler: within Kubernetes its own, else one that is forwarded to it."""
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            return f"{service.name}.{self._namespace}:{_PORT}"
        self._forward = service.portforward(_PORT, local_port="auto")
        return f"127.0.0.1:{await self._forward.start()}"


def _kind(name: str) -> Any:
    from kr8s.asyncio.objects import new_class

    return new_class(name, version=_VERSION, namespaced=True)


def _close(thread: LoopThread, session: _Session) -> None:
    try:
        thread.run(session.close(), _CLOSE_SECONDS)
    finally:
        thread.stop()
