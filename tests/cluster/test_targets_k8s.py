import asyncio
import json
import threading
from pathlib import Path

import pytest
import yaml
from distributed import Client

from rasterloom.cluster.start import connect
from rasterloom.cluster.targets import open_target
from rasterloom.cluster.targets_k8s import is_encrypted, read_wanted
from rasterloom.models.errors import ClusterError, MissingInputError, SettingError

pytest.importorskip("kr8s", reason="Kubernetes needs the package kr8s")
web = pytest.importorskip("aiohttp.web", reason="the server that plays Kubernetes needs the package aiohttp")

DASK = "/apis/kubernetes.dask.org/v1"
MANIFEST = {
    "apiVersion": "kubernetes.dask.org/v1",
    "kind": "DaskCluster",
    "metadata": {"name": "forest"},
    "spec": {
        "worker": {"replicas": 2, "spec": {"containers": [{"name": "worker"}]}},
        "scheduler": {
            "spec": {"containers": [{"name": "scheduler", "args": ["cluster", "start"]}]},
            "service": {"ports": [{"name": "tcp-comm", "port": 8786}]},
        },
    },
}


KINDS = [
    {
        "name": f"{kind.lower()}s",
        "singularName": kind.lower(),
        "kind": kind,
        "namespaced": True,
        "verbs": ["get"],
    }
    for kind in ("Pod", "Service")
]


class Kubernetes:
    """Plays the server of Kubernetes with the Dask operator, in a thread: one scheduler, which runs here."""

    def __init__(self, folder: Path, scheduler: str) -> None:
        self._host, _, port = scheduler.partition("://")[2].rpartition(":")
        self._port = int(port)
        self.clusters: dict[str, dict] = {}
        self.patches: list[dict] = []
        self.allowed = True
        self._loop, ready, self._gone = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve(ready)))
        self._thread.start()
        assert ready.wait(20)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [
                {"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "woods"}}
            ],
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "me", "user": {"token": "hunter2"}}],
        }
        self.config = folder / "kubeconfig"
        self.config.write_text(yaml.safe_dump(config))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._gone.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        ready.set()
        await self._gone.wait()
        await runner.cleanup()

    async def _answer(self, request):
        path, words = request.path, request.path.strip("/").split("/")
        allowed = self.allowed or words == ["version"]  # which everyone may ask for
        if request.headers.get("Authorization") != "Bearer hunter2" or not allowed:
            return web.json_response({"kind": "Status", "message": "forbidden", "code": 403}, status=403)
        if path.endswith("/portforward"):
            return await self._forward(request)
        if words == ["version"]:
            return web.json_response({"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
        if words in (["api"], ["apis"]):
            return web.json_response({"versions": ["v1"], "groups": []})
        if words == ["api", "v1"]:
            return web.json_response({"groupVersion": "v1", "resources": KINDS})
        if "daskworkergroups" in words:
            return await self._group(request)
        if "daskclusters" in words:
            return await self._cluster(request, words)
        if "services" in words:
            return self._listed("Service", [service(name) for name in self.clusters], request)
        if "pods" in words:
            return self._listed("Pod", [pod(name) for name in self.clusters], request)
        return web.json_response({"kind": "Status", "message": f"no {path}"}, status=404)

    async def _cluster(self, request, words):
        if request.method == "POST":
            made = await request.json()
            self.clusters[made["metadata"]["name"]] = made
            return web.json_response(made, status=201)
        if request.method == "DELETE":
            return web.json_response(self.clusters.pop(words[-1]))
        return self._listed("DaskCluster", list(self.clusters.values()), request)

    async def _group(self, request):
        group = {
            "apiVersion": "kubernetes.dask.org/v1",
            "kind": "DaskWorkerGroup",
            "metadata": {"name": "forest-default", "namespace": "woods"},
            "spec": {"worker": {"replicas": 2}},
        }
        if request.method == "PATCH":
            self.patches.append(json.loads(await request.text()))
            return web.json_response(group)
        return self._listed("DaskWorkerGroup", [group], request)

    def _listed(self, kind, items, request):
        last = request.path.rstrip("/").rpartition("/")[2]
        if not last.endswith("s") or any(item["metadata"]["name"] == last for item in items):
            found = [item for item in items if item["metadata"]["name"] == last]
            missing = web.json_response({"kind": "Status", "message": "not found"}, status=404)
            return web.json_response(found[0]) if found else missing
        fields = dict(
            part.split("=", 1) for part in request.query.get("fieldSelector", "").split(",") if part
        )
        if wanted := fields.get("metadata.name"):
            items = [item for item in items if item["metadata"]["name"] == wanted]
        return web.json_response({"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": items})

    async def _forward(self, request):
        """Kubernetes' own protocol: a byte for the channel, and the port in the first message of each."""
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io", "portforward.k8s.io"))
        await socket.prepare(request)
        reader, writer = await asyncio.open_connection(self._host, self._port)
        port = int(request.query["ports"]).to_bytes(2, "little")
        await socket.send_bytes(b"\x00" + port)
        await socket.send_bytes(b"\x01" + port)

        async def back():
            while data := await reader.read(65_536):
                await socket.send_bytes(b"\x00" + data)
            await socket.close()

        task = asyncio.ensure_future(back())
        try:
            async for message in socket:
                writer.write(message.data[1:])
                await writer.drain()
        finally:
            task.cancel()
            writer.transport.abort()
        return socket


def service(name):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{name}-scheduler", "namespace": "woods"},
        "spec": {"selector": {"dask.org/cluster-name": name}, "ports": [{"name": "tcp-comm", "port": 8786}]},
    }


def pod(name):
    condition = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady")]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{name}-scheduler-0", "namespace": "woods", "labels": {}},
        "spec": {"containers": [{"name": "scheduler"}]},
        "status": {"phase": "Running", "conditions": condition},
    }


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    with connect(n_workers=1, security=True, dashboard=False) as client:
        server = Kubernetes(tmp_path_factory.mktemp("k8s"), client.scheduler.address)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(server.config))
            patch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
            server.security = client.security
            yield server
        server.close()


@pytest.fixture
def kubernetes(played):
    played.clusters.clear()
    played.patches.clear()
    return played


def encrypted():
    manifest = json.loads(json.dumps(MANIFEST))
    manifest["spec"]["scheduler"]["spec"]["containers"][0]["args"] += ["--tls", "/keys"]
    return manifest


def test_a_cluster_that_runs_is_joined_through_a_forwarded_port_and_left_as_it_was(kubernetes):
    kubernetes.clusters["forest"] = encrypted()
    opened = open_target("k8s:forest", n_workers=3, security=kubernetes.security)
    try:
        assert opened.address.startswith("tls://127.0.0.1:")
        assert kubernetes.patches == [{"spec": {"worker": {"replicas": 3}}}]
        with Client(opened.address, security=opened.security) as client:
            assert client.submit(sum, (1, 2)).result(timeout=30) == 3
        opened.scale(1)
        assert kubernetes.patches[-1] == {"spec": {"worker": {"replicas": 1}}}
    finally:
        opened.close()
    opened.close()
    assert "forest" in kubernetes.clusters
    with pytest.raises(OSError, match=r".*"):
        Client(opened.address, security=opened.security, timeout=1)


def test_a_cluster_made_from_a_manifest_ends_when_it_is_closed(kubernetes, tmp_path):
    file = tmp_path / "dask-cluster.yaml"
    file.write_text(yaml.safe_dump_all([{"kind": "Secret", "metadata": {"name": "keys"}}, encrypted()]))
    opened = open_target(f"k8s:{file}", security=kubernetes.security)
    assert kubernetes.clusters["forest"]["spec"] == encrypted()["spec"]
    opened.close()
    assert not kubernetes.clusters


def test_a_cluster_that_is_not_there_is_named_with_what_is_to_be_done(kubernetes):
    with pytest.raises(ClusterError, match=r"no DaskCluster forest in the namespace woods.*k8s:FILE\.yaml"):
        open_target("k8s:forest")


def test_a_server_that_refuses_us_is_named_without_our_token(kubernetes, monkeypatch):
    monkeypatch.setattr(kubernetes, "allowed", False)
    with pytest.raises(ClusterError, match=r"refuses us.*kubectl get daskclusters") as caught:
        open_target("k8s:forest")
    assert "hunter2" not in str(caught.value)


def test_an_encrypted_scheduler_is_told_from_an_open_one():
    assert not is_encrypted(MANIFEST)
    assert is_encrypted(encrypted())
    by_environment = json.loads(json.dumps(MANIFEST))
    variable = {"name": "DASK_DISTRIBUTED__COMM__TLS__CA_FILE", "value": "/keys/ca.pem"}
    by_environment["spec"]["scheduler"]["spec"]["containers"][0]["env"] = [variable]
    assert is_encrypted(by_environment)


def test_a_target_names_a_cluster_or_the_file_of_one(tmp_path):
    assert (read_wanted("forest").name, read_wanted("forest").namespace) == ("forest", None)
    assert (read_wanted("woods/forest").name, read_wanted("woods/forest").namespace) == ("forest", "woods")
    with pytest.raises(MissingInputError, match="is not there"):
        read_wanted(str(tmp_path / "none.yaml"))
    (tmp_path / "two.yml").write_text(yaml.safe_dump_all([MANIFEST, MANIFEST]))
    with pytest.raises(SettingError, match="holds 2 manifests of kind DaskCluster"):
        read_wanted(str(tmp_path / "two.yml"))
    (tmp_path / "bad.yml").write_text("a: [")
    with pytest.raises(SettingError, match="is no YAML file"):
        read_wanted(str(tmp_path / "bad.yml"))
