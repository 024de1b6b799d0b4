import os
import ssl
import tempfile
import time
from pathlib import Path

import distributed
import psutil
import pytest
from dask.system import CPU_COUNT
from distributed.system import MEMORY_LIMIT

from rasterloom.cluster import local
from rasterloom.cluster.gpu import choose_gpus
from rasterloom.cluster.local import count_workers, start_local, worker_environment
from rasterloom.cluster.start import connect
from rasterloom.models.errors import ClusterError, SettingError
from tests.cluster.test_gpu import put_nvidia_smi


@pytest.fixture(scope="module")
def gpu_pair(tmp_path_factory):
    """A cluster of a machine that says it has two GPUs."""
    with pytest.MonkeyPatch.context() as patch:
        put_nvidia_smi(tmp_path_factory.mktemp("bin"), patch)
        with start_local(dashboard=False) as client:
            yield client


def cuda_environment():
    return {name: value for name, value in os.environ.items() if name.startswith("CUDA_")}


def key_folders():
    return set(Path(tempfile.gettempdir()).glob("rasterloom-tls-*"))


def test_each_gpu_gets_a_worker_of_three_threads_that_sees_no_other(gpu_pair):
    found = list(gpu_pair.run(cuda_environment).values())
    assert sorted(each["CUDA_VISIBLE_DEVICES"] for each in found) == ["0", "1"]
    assert all(each["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID" for each in found)
    assert list(gpu_pair.nthreads().values()) == [3, 3]
    assert set(gpu_pair.run(lambda: choose_gpus("auto")[0]).values()) == {"0", "1"}


def test_gpus_are_resources_that_are_counted(gpu_pair):
    workers = gpu_pair.scheduler_info(n_workers=-1)["workers"].values()
    assert [worker["resources"] for worker in workers] == [{"GPU": 1.0}] * 2
    assert gpu_pair.facts().gpus == 2
    assert ", 6 threads, 2 GPUs, " in repr(gpu_pair)
    assert gpu_pair.submit(sum, (1, 2), resources={"GPU": 1}).result() == 3


def test_the_memory_of_the_machine_is_shared_by_workers_and_not_by_threads(gpu_pair):
    workers = gpu_pair.scheduler_info(n_workers=-1)["workers"].values()
    assert [worker["memory_limit"] for worker in workers] == [MEMORY_LIMIT // 2] * 2


def test_a_worker_that_is_started_again_has_the_same_gpu(gpu_pair):
    def seen(dask_worker):
        return dask_worker.name, os.environ["CUDA_VISIBLE_DEVICES"]

    before = set(gpu_pair.run(seen).values())
    old = gpu_pair.run(os.getpid)
    gpu_pair.restart_workers(list(old)[:1])
    deadline = time.monotonic() + 60
    while set(gpu_pair.run(os.getpid).values()) & set(old.values()) == set(old.values()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    gpu_pair.wait_for_workers(2, timeout=60)
    assert set(gpu_pair.run(seen).values()) == before


def test_more_processes_than_gpus_share_them_and_unwanted_ones_are_hidden(tmp_path, monkeypatch):
    asked = {}

    def stop(settings, environment, timeout):
        asked.update(settings, environment=environment)
        raise ClusterError("enough")

    put_nvidia_smi(tmp_path, monkeypatch)
    monkeypatch.setattr(local, "_start", stop)
    with pytest.raises(ClusterError, match="enough"):
        start_local(n_workers=3, gpus=[1, 0])
    assert asked["gpus"] == ["1", "0", "1"]
    assert asked["cluster"]["threads_per_worker"] == 3
    assert "CUDA_VISIBLE_DEVICES" not in asked["environment"]
    with pytest.raises(ClusterError, match="enough"):
        start_local(n_workers=3, gpus=False)
    assert asked["gpus"] == []
    assert asked["cluster"]["threads_per_worker"] == 1
    assert asked["environment"]["CUDA_VISIBLE_DEVICES"] == ""


def test_an_order_of_gpus_that_was_chosen_stands(monkeypatch):
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert worker_environment(1)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert worker_environment(1)["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert "CUDA_DEVICE_ORDER" not in worker_environment(1)


def test_threads_that_the_caller_chose_are_left_alone(monkeypatch):
    for chosen, expected in ((None, str(max(1, CPU_COUNT // 2))), ("7", "7")):
        if chosen is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", chosen)
        assert worker_environment(2)["OMP_NUM_THREADS"] == expected


def test_there_is_a_process_for_each_gpu_else_for_each_core(monkeypatch):
    monkeypatch.setattr(local, "CPU_COUNT", 4)
    monkeypatch.setattr(local, "MEMORY_LIMIT", 64e9)
    assert count_workers(None, []) == 4
    assert count_workers(None, ["0", "1"]) == 2
    assert count_workers(7, ["0", "1"]) == 7
    monkeypatch.setattr(local, "MEMORY_LIMIT", 5e9)
    assert count_workers(None, []) == 2
    with pytest.raises(SettingError, match="n_workers=0"):
        count_workers(0, [])


def test_a_cluster_with_keys_of_its_own_lets_nobody_else_in():
    before = key_folders()
    with start_local(n_workers=1, security=True, dashboard=False) as client:
        assert client.scheduler.address.startswith("tls://127.0.0.1:")
        assert client.submit(sum, (1, 2)).result() == 3
        assert "encrypted" in repr(client)
        assert all(address.startswith("tls://") for address in client.nthreads())
        plain = client.scheduler.address.replace("tls://", "tcp://")
        with pytest.raises(OSError):  # noqa: PT011 - the connection is reset, or nothing answers in time
            distributed.Client(plain, timeout=1)
        (folder,) = key_folders() - before
        for again in (connect(client.scheduler.address, security=folder), connect()):
            with again:
                assert again.submit(sum, (3, 4)).result() == 7
        key = (folder / "key.pem").read_text()
        hub = psutil.Process(client.run_on_scheduler(os.getpid))
        lines = [" ".join(process.cmdline()) for process in [hub, *hub.children(recursive=True)]]
        assert len(lines) >= 2
        assert not any(key.splitlines()[1] in line or "BEGIN" in line for line in lines)
    assert not folder.exists()


def test_a_security_travels_whole_and_by_value():
    given = distributed.Security(
        require_encryption=True, tls_ca_file="/a.pem", tls_max_version=ssl.TLSVersion.TLSv1_3
    )
    fields = local._fields(given)
    again = distributed.Security(**fields)
    for name in ("require_encryption", "tls_ca_file", "tls_client_key", "tls_min_version", "tls_max_version"):
        assert getattr(again, name) == getattr(given, name)


def test_a_cluster_that_cannot_start_says_so_and_forgets_its_keys(monkeypatch):
    before = key_folders()
    monkeypatch.setattr(local, "BOOT", "raise SystemExit(3)")
    with pytest.raises(ClusterError, match=r"did not start .its process ended with 3"):
        start_local(n_workers=1, security=True)
    assert key_folders() == before


def test_a_cluster_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(local, "BOOT", "import time; time.sleep(60)")
    began = time.monotonic()
    with pytest.raises(ClusterError, match="did not start within 0 s"):
        start_local(n_workers=1, timeout=0.3)
    assert time.monotonic() - began < 10
