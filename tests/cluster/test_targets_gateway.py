import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client, Security

from rasterloom.cluster.targets import open_target
from rasterloom.models.errors import ClusterError
from tests.cluster.targets_scene import TinyScene

pytest.importorskip("dask_gateway", reason="gateways need the package dask-gateway")
server = pytest.importorskip(
    "dask_gateway_server", reason="no gateway to talk to without dask-gateway-server"
)

CONFIG = """
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.SimpleAuthenticator.password = "opensesame"
c.Proxy.address = "127.0.0.1:{port}"
c.UnsafeLocalBackend.clusters_directory = "{folder}"
c.UnsafeLocalBackend.inherited_environment = {inherited}
c.UnsafeLocalBackend.sigint_timeout = 2
c.UnsafeLocalBackend.cluster_start_timeout = 250
c.UnsafeLocalBackend.worker_start_timeout = 250
c.UnsafeLocalBackend.cluster_heartbeat_timeout = 250
c.ClusterConfig.worker_memory = "4 G"
c.ClusterConfig.scheduler_cmd = ["{python}", "-m", "distributed.cli.dask_scheduler"]
c.ClusterConfig.worker_cmd = ["{python}", "-m", "distributed.cli.dask_worker"]
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """Address of a gateway that starts clusters on this machine; it wants to know who asks."""
    if not (Path(server.__file__).parent / "proxy" / "dask-gateway-proxy").exists():
        pytest.skip("this wheel of dask-gateway-server is without its proxy")
    folder, port = tmp_path_factory.mktemp("gateway"), free_port()
    config = CONFIG.format(
        port=port, folder=folder, python=sys.executable, inherited=["PATH", "HOME", "OMP_NUM_THREADS"]
    )
    (folder / "config.py").write_text(config)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask_gateway_server", "-f", str(folder / "config.py")],
            stdout=log,
            stderr=log,
            env=os.environ | {"PATH": path},
            start_new_session=True,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/api/health", process, folder / "log")
        with dask.config.set(
            {
                "gateway.auth.type": "basic",
                "gateway.auth.kwargs": {"username": "ann", "password": "opensesame"},
            }
        ):
            yield f"http://127.0.0.1:{port}"
    finally:
        alive = process.poll() is None
        family = psutil.Process(process.pid).children(recursive=True) if alive else []
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        for child in family:
            if child.is_running():
                child.kill()


def wait_for(url, process, log):
    """Until the gateway itself answers; its proxy comes first, and says 404 until it knows the way."""
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url, timeout=5)
        except OSError:
            pass
        else:
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def test_a_map_made_by_a_gateway_s_cluster_has_the_bytes_of_one_made_here(gateway, tmp_path):
    scene = TinyScene.write(tmp_path)
    opened = open_target(f"gateway:{gateway}", n_workers=1)
    try:
        with Client(opened.address, security=opened.security) as client:
            client.wait_for_workers(1, timeout=120)
            assert client.scheduler_info()["address"].startswith("tls://")
            assert scene.classify("there", client) == scene.classify("here")
        name = opened.address.rpartition("/")[2]
        joined = open_target(f"gateway:{gateway}#{name}")
        joined.close()
        assert joined.address == opened.address
        with Client(opened.address, security=opened.security) as client:
            assert client.submit(sum, (1, 2)).result(timeout=60) == 3, "who joins closes nothing"
        with pytest.raises((OSError, TypeError)):
            Client(opened.address, security=Security.temporary(), timeout=3)
    finally:
        opened.close()
    opened.close()
    with pytest.raises(ClusterError, match=r"gives no cluster .*check the address"):
        open_target(f"gateway:{gateway}#{name}")
    assert "opensesame" not in repr(opened)


def test_a_gateway_that_does_not_know_us_is_told_with_its_remedy(gateway):
    wrong = {"gateway.auth.kwargs": {"username": "ann", "password": "guessed"}}
    with dask.config.set(wrong), pytest.raises(ClusterError, match=r"gateway\.auth") as caught:
        open_target(f"gateway:{gateway}")
    assert "guessed" not in str(caught.value)


def test_a_gateway_that_is_not_there_is_named():
    with pytest.raises(ClusterError, match=r"The gateway at http://127\.0\.0\.1:\d+ gives no cluster"):
        open_target(f"gateway:http://127.0.0.1:{free_port()}")
