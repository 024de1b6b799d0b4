import os
import ssl
import sys
import time

import psutil
import pytest
from distributed import Client, Security

from rasterloom.cluster.targets import open_target
from rasterloom.models.errors import ClusterError, MissingInputError, SettingError
from tests.cluster.targets_scene import TinyScene

pytest.importorskip("asyncssh", reason="SSH clusters need the package asyncssh")

from tests.support.ssh_server import SshServer

NVIDIA_SMI = (
    "#!/bin/sh\necho 'GPU 0: Imagined (UUID: GPU-11111111)'\necho 'GPU 1: Imagined (UUID: GPU-22222222)'\n"
)


@pytest.fixture(scope="module")
def ssh(tmp_path_factory):
    server = SshServer(tmp_path_factory.mktemp("ssh"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return TinyScene.write(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def machines(ssh):
    """Two machines, each with two GPUs, of which the first is to use one and the second none."""
    (ssh.folder / "bin").mkdir()
    (ssh.folder / "bin" / "nvidia-smi").write_text(NVIDIA_SMI)
    (ssh.folder / "bin" / "nvidia-smi").chmod(0o755)
    file = ssh.hosts_file("gpus = [1]", 'gpus = false\nprocesses = 1\nmemory_limit = "4 GB"')
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        opened = open_target(f"ssh:{file}")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(machines):
    with Client(machines.address, security=machines.security) as client:
        yield client


def everyone(ssh):
    roots = [process for process in ssh.processes if process.is_running()]
    return [child for process in roots for child in (process, *process.children(recursive=True))]


def assert_ended(processes):
    deadline = time.monotonic() + 30
    while alive := [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def test_a_map_made_on_machines_reached_by_ssh_has_the_bytes_of_one_made_here(client, scene):
    assert len(client.scheduler_info()["workers"]) == 2
    assert scene.classify("there", client) == scene.classify("here")


def test_every_machine_has_its_own_settings(client):
    visible = client.run(lambda: os.environ.get("CUDA_VISIBLE_DEVICES"))
    workers = client.scheduler_info()["workers"]
    seen = {
        (visible[address], worker["nthreads"], worker["resources"].get("GPU"))
        for address, worker in workers.items()
    }
    assert seen == {("1", 3, 1), (None, 1, None)}
    assert 4 * 10**9 in {worker["memory_limit"] for worker in workers.values()}
    assert {name.partition("-")[2] for name in (worker["name"] for worker in workers.values())} == {
        "127.0.0.1-0"
    }


def test_without_keys_of_their_own_the_machines_get_some_that_nobody_else_has(machines, client):
    assert machines.address.startswith("tls://127.0.0.1:")
    assert all(address.startswith("tls://") for address in client.scheduler_info()["workers"])
    with pytest.raises(OSError, match=r".*"):
        Client(machines.address.replace("tls://", "tcp://"), timeout=2)
    foreign = Security.temporary()
    with pytest.raises((OSError, ssl.SSLError)):
        Client(machines.address, security=foreign, timeout=2)


def test_nothing_of_a_cluster_can_be_read_from_its_command_lines(ssh, machines, client):
    assert set(ssh.commands) == {f"{sys.executable} -m rasterloom.cluster.targets_node"}
    lines = [" ".join(process.cmdline()) for process in everyone(ssh)]
    assert len(lines) >= 5  # the shells aside: a scheduler, two nannies and their workers
    assert not [line for line in lines if "BEGIN" in line or "DASK_INTERNAL" in line or "hosts.toml" in line]
    key = machines.security.tls_client_key.splitlines()[1]
    assert key not in repr(machines)
    assert not any(key in line for line in lines)
    assert not any(key in str(process.environ()) for process in everyone(ssh))


def test_everything_listens_on_the_machine_only_where_the_machine_is_reached_by_its_loopback(ssh, client):
    listening = {
        connection.laddr.ip
        for process in everyone(ssh)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_schedulers_there_follow_the_shipped_settings(client):
    assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures) == 10


def test_closing_ends_every_process_and_can_be_done_twice(ssh):
    opened = open_target(f"ssh:{ssh.hosts_file('processes = 1', name='one.toml')}", gpus=False)
    family = [child for root in ssh.processes[-2:] for child in (root, *root.children(recursive=True))]
    assert len(family) >= 3
    opened.close()
    opened.close()
    assert_ended(family)
    with pytest.raises(OSError, match=r".*"):
        Client(opened.address, security=opened.security, timeout=1)


def test_a_machine_that_is_not_known_is_never_spoken_to(ssh, tmp_path):
    (tmp_path / "known").write_text(f"[127.0.0.1]:{ssh.port} {(ssh.folder / 'stranger.pub').read_text()}")
    before = len(ssh.commands)
    for known in (f'known_hosts = "{tmp_path}/known"', ""):
        file = ssh.hosts_file(
            "processes = 1", name="unknown.toml", defaults=f'key = "{ssh.folder}/mine"\n{known}\n'
        )
        with pytest.raises(ClusterError, match=r"not among the known hosts.*compare the fingerprint"):
            open_target(f"ssh:{file}")
    assert len(ssh.commands) == before


def test_who_has_not_the_key_is_told_so(ssh):
    defaults = f'key = "{ssh.folder}/stranger"\nknown_hosts = "{ssh.folder}/known_hosts"\n'
    file = ssh.hosts_file("processes = 1", name="stranger.toml", defaults=defaults)
    with pytest.raises(ClusterError, match=r"does not let us in with a key.*authorized_keys"):
        open_target(f"ssh:{file}")


def test_what_a_machine_says_instead_of_starting_is_shown(ssh):
    file = ssh.hosts_file("gpus = false", name="taken.toml")
    text = file.read_text()
    file.write_text(text.replace("dask_port = 0", f"dask_port = {ssh.port}"))
    with pytest.raises(
        ClusterError, match=r"(?s)127.0.0.1 did not start the scheduler.*ddress already in use"
    ):
        open_target(f"ssh:{file}")
    file.write_text(text.replace(sys.executable, "/no/such/python"))
    with pytest.raises(ClusterError, match=r"(?s)did not start.*not found.*rasterloom is installed"):
        open_target(f"ssh:{file}")
    assert_ended(ssh.processes[-2:])


def test_a_missing_file_or_key_is_named(ssh, tmp_path):
    with pytest.raises(MissingInputError, match=r"nowhere\.toml is not there"):
        open_target(f"ssh:{tmp_path}/nowhere.toml")
    file = ssh.hosts_file("processes = 1", name="nokey.toml", defaults=f'key = "{tmp_path}/nokey"\n')
    with pytest.raises(MissingInputError, match="nokey"):
        open_target(f"ssh:{file}")


def test_keys_of_ones_own_are_for_machines_that_have_keys(ssh):
    file = ssh.hosts_file("processes = 1", name="bare.toml")
    with pytest.raises(SettingError, match="have no keys to answer with: name the folder of each with tls"):
        open_target(f"ssh:{file}", security=Security.temporary())


def test_machines_are_left_when_the_client_is_gone_all_at_once(ssh, machines):
    family = everyone(ssh)  # of the shared cluster: this is the last test of this file
    ssh.cut()
    assert_ended(family)
    machines.close()
