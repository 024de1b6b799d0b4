import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import distributed
import psutil
import pytest
from dask.system import CPU_COUNT

from rasterloom.cluster import start, targets
from rasterloom.cluster.start import connect, default_client
from rasterloom.cluster.targets import Opened
from rasterloom.models.errors import ClusterError, SettingError

ROOT = Path(__file__).parents[2]


def run_script(path, text, **keywords):
    path.write_text(textwrap.dedent(text))
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        **keywords,
    )


def heavy_modules():
    heavy = {"torch", "rasterio", "xarray", "geopandas", "pyarrow", "bokeh", "rasterloom.pipeline"}
    return sorted(sys.modules.keys() & heavy)


def family_of(client):
    hub = psutil.Process(client.run_on_scheduler(os.getpid))
    return [hub, *hub.children(recursive=True)]


def assert_ended(processes):
    deadline = time.monotonic() + 15
    # A container's first process may leave zombies: those have ended.
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes):
        assert time.monotonic() < deadline, processes
        time.sleep(0.05)


def listeners(client):
    return {
        connection.laddr.ip
        for process in family_of(client)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_workers_start_light_and_share_the_cores(pair):
    assert not any(pair.run(heavy_modules).values())
    threads = pair.run(lambda: os.environ["OMP_NUM_THREADS"])
    assert set(threads.values()) == {os.environ.get("OMP_NUM_THREADS", str(max(1, CPU_COUNT // 2)))}
    assert set(pair.nthreads().values()) == {1}
    assert set(pair.run(lambda: os.environ["GDAL_CACHEMAX"]).values()) == {"32"}


def test_nothing_listens_beyond_this_machine(pair):
    assert listeners(pair) == {"127.0.0.1"}
    assert "127.0.0.1" in pair.dashboard_link


def test_a_client_inside_another_joins_and_leaves_without_closing(pair):
    with connect() as inner:
        assert inner.scheduler.address == pair.scheduler.address
        assert default_client() is inner
        assert inner.submit(sum, (1, 2)).result() == 3
    assert default_client() is pair
    assert pair.submit(sum, (3, 4)).result() == 7
    with connect(pair.scheduler.address) as inner:
        assert inner.submit(sum, (5, 6)).result() == 11
    assert pair.submit(sum, (7, 8)).result() == 15


def test_a_second_cluster_finds_another_dashboard_port_and_closes_quietly(pair, capfd):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # someone else has it, which serves as well
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        with connect(n_workers=1) as second:
            assert second.scheduler.address != pair.scheduler.address
            assert not second.dashboard_link.endswith(":8787/status")
            family = family_of(second)
            assert len(family) >= 2
    second.close()
    assert_ended(family)
    assert capfd.readouterr() == ("", "")


def test_a_cluster_may_be_shut_down_before_its_client_is_closed(capfd):
    client = connect(n_workers=1, dashboard=False)
    client.shutdown()
    client.close()
    assert capfd.readouterr() == ("", "")


def test_a_script_needs_no_main_guard_and_its_modules_are_found(tmp_path):
    (tmp_path / "mine.py").write_text("def triple(x):\n    return 3 * x\n")
    script = run_script(
        tmp_path / "script.py",
        """
        import mine
        from rasterloom.cluster.start import connect

        def double(x):
            return 2 * x

        print("once")
        client = connect(n_workers=2, dashboard=False)
        print(client.gather(client.map(double, [1, 2])), client.submit(mine.triple, 5).result())
        """,
        cwd="/",
    )
    out, err = script.communicate(timeout=60)
    assert (out, err, script.returncode) == ("once\n[2, 4] 15\n", "", 0)


def test_ctrl_c_ends_a_run_with_one_message_and_no_process_left(tmp_path):
    script = run_script(
        tmp_path / "script.py",
        f"""
        import os
        from rasterloom.cluster.driver import execute
        from rasterloom.cluster.markers import RunFolder
        from rasterloom.cluster.start import connect
        from rasterloom.models.errors import RunInterrupted
        from tests.cluster.plans import SpanPlan, write_cells

        folder = {str(tmp_path)!r}
        with connect(n_workers=1, dashboard=False) as client:
            print(client.run_on_scheduler(os.getpid), flush=True)
            try:
                plan, run = SpanPlan(folder, 4000, 4, seconds=0.1), RunFolder(folder + "/_run")
                going = lambda progress: print("going", flush=True)
                execute(client, plan, write_cells, run, on_progress=going)
            except RunInterrupted as error:
                print(error)
        """,
        start_new_session=True,
    )
    hub = psutil.Process(int(script.stdout.readline()))
    assert script.stdout.readline() == "going\n"
    os.killpg(script.pid, signal.SIGINT)
    out, err = script.communicate(timeout=60)
    assert re.search(r"interrupted by the user: at least \d+ of 1000 batches are kept", out)
    assert err == ""
    assert script.returncode == 0
    assert_ended([hub])


def test_a_killed_program_leaves_no_cluster_behind(tmp_path):
    script = run_script(
        tmp_path / "script.py",
        """
        import os, time
        from rasterloom.cluster.start import connect
        client = connect(n_workers=1, dashboard=False)
        print(client.run_on_scheduler(os.getpid), flush=True)
        time.sleep(60)
        """,
    )
    hub = psutil.Process(int(script.stdout.readline()))
    family = [hub, *hub.children(recursive=True)]
    script.kill()
    script.communicate()
    assert_ended(family)


def test_an_address_where_nobody_answers_says_so(monkeypatch):
    monkeypatch.setattr(start, "CONNECT_SECONDS", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ClusterError, match=f"No Dask scheduler answers at {address}"):
            connect(address)
    assert time.monotonic() - began < 5


def test_tls_without_keys_says_so(monkeypatch):
    monkeypatch.delenv("RASTERLOOM_TLS", raising=False)
    with pytest.raises(SettingError, match=r"tls://127.0.0.1:1 is encrypted, and there are no keys"):
        connect("tls://127.0.0.1:1")


def test_workers_that_do_not_come_are_counted(pair):
    with pytest.raises(ClusterError, match=r"2 of 3 workers came within 1 s to 127.0.0.1:\d+ at tcp://"):
        connect(pair.scheduler.address, n_workers=3, timeout=1)
    with connect(pair.scheduler.address, n_workers=2) as client:
        assert client.facts().workers == 2
    assert pair.submit(sum, (1, 2)).result() == 3


def test_a_cluster_that_was_opened_is_closed_after_its_client(pair, monkeypatch):
    told, closed = [], []

    def open_target(target, **settings):
        told.append((target, settings))
        address = pair.scheduler.address
        return Opened(address, None, "the farm", lambda: closed.append(target), None)

    monkeypatch.setattr(targets, "open_target", open_target)
    with connect("ssh:hosts.toml", n_workers=2, threads_per_worker=4, gpus=1, timeout=5) as client:
        assert repr(client).startswith("<Connection: the farm at tcp://")
        assert closed == []
    assert closed == ["ssh:hosts.toml"]
    wanted = {"n_workers": 2, "threads_per_worker": 4, "gpus": 1, "security": None, "timeout": 5}
    assert told == [("ssh:hosts.toml", wanted)]
    with pytest.raises(ClusterError, match="2 of 3 workers"):
        connect("k8s:farm", n_workers=3, timeout=0.5)
    assert closed == ["ssh:hosts.toml", "k8s:farm"]


@pytest.mark.parametrize(
    ("target", "settings", "words"),
    [
        ("localhost:8786", {}, "use 'tcp://host:8786'"),
        ("tcp://127.0.0.1:1", {"n_workers": 0}, "n_workers=0"),
        ("tcp://127.0.0.1:1", {"threads_per_worker": 2}, "threads_per_worker is for workers"),
        ("tcp://127.0.0.1:1", {"gpus": 1}, "gpus is for workers"),
        ("k8s:fleet", {"memory_limit": "4 GB"}, "memory_limit is for workers"),
        (None, {"n_workers": 0}, "n_workers=0"),
        (None, {"threads_per_worker": 0}, "threads_per_worker=0"),
        (None, {"n_workers": 1, "memory_limit": "a lot"}, "memory_limit='a lot' is no amount"),
        (None, {"gpus": "some"}, "gpus='some' is not known"),
    ],
)
def test_settings_that_cannot_work_are_refused(target, settings, words):
    with pytest.raises(SettingError, match=words):
        connect(target, **settings)


def test_an_asynchronous_current_client_is_refused(pair):
    async def ask():
        async with distributed.Client(pair.scheduler.address, asynchronous=True):
            with pytest.raises(SettingError, match="asynchronous"):
                connect()

    pair.sync(ask)
    assert default_client() is pair
