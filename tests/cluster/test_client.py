import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import dask
import pytest

from rasterloom.cluster import client as client_module
from rasterloom.cluster.client import Connection

ROOT = Path(__file__).parents[2]


@pytest.fixture
def joined(pair):
    with Connection(pair.scheduler.address, where="<b>the farm</b>") as client:
        yield client


def free_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


def test_a_client_says_where_it_works_and_with_what(pair, joined):
    facts = joined.facts()
    assert (facts.workers, facts.threads, facts.gpus) == (2, 2, 0)
    assert facts.address == pair.scheduler.address
    port = pair.scheduler_info()["services"]["dashboard"]
    assert facts.dashboard == f"http://127.0.0.1:{port}/status"
    text = repr(joined)
    assert text.startswith(
        f"<Connection: <b>the farm</b> at {pair.scheduler.address}, 2 workers, 2 threads, "
    )
    assert f"dashboard {facts.dashboard}>" in text
    assert "GPU" not in text


def test_a_notebook_shows_the_same_and_no_markup_of_others(joined):
    page = joined._repr_html_()
    assert "&lt;b&gt;the farm&lt;/b&gt;" in page
    assert "<b>" not in page
    assert f'href="{joined.facts().dashboard}"' in page


def test_no_password_or_query_of_the_dashboard_is_shown(joined):
    template = "{scheme}://me:planted@{host}:{port}/status?token=planted#planted"
    with dask.config.set({"distributed.dashboard.link": template}):
        assert joined.facts().dashboard.endswith("/status")
        assert "planted" not in repr(joined) + joined._repr_html_()
    with dask.config.set({"distributed.dashboard.link": "{NOT_SET_ANYWHERE}/status"}):
        assert joined.facts().dashboard is None


def test_what_was_started_for_a_client_ends_once_and_after_it(pair):
    ended = []
    client = Connection(pair.scheduler.address, where="here", on_close=lambda: ended.append(client.status))
    client.close()
    client.close()
    assert ended == ["closed"]
    assert repr(client) == "<Connection: here, closed>"
    assert client._repr_html_() == "&lt;Connection: here, closed&gt;"
    assert pair.submit(sum, (1, 2)).result() == 3


def test_what_was_started_ends_when_the_scheduler_does_not_answer():
    ended = []
    with pytest.raises(OSError, match="Timed out"):
        Connection(free_address(), where="nowhere", on_close=lambda: ended.append(1), timeout=0.3)
    assert ended == [1]


def test_a_program_that_ends_without_closing_ends_what_it_started(pair):
    script = (
        "from rasterloom.cluster.client import Connection\n"
        f"client = Connection({pair.scheduler.address!r}, where='x', on_close=lambda: print('ended'))\n"
        f"other = Connection({pair.scheduler.address!r}, where='y', on_close=lambda: print('ended'))\n"
        "print(client.submit(sum, (1, 2)).result())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.stderr) == ("3\nended\nended\n", "")


def test_a_scheduler_that_hangs_holds_up_no_repr(pair, joined, monkeypatch):
    monkeypatch.setattr(client_module, "_REPR_SECONDS", 0.3)
    before = repr(joined)
    hub = pair.run_on_scheduler(os.getpid)
    os.kill(hub, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert repr(joined) == before
        assert time.monotonic() - began < 5
    finally:
        os.kill(hub, signal.SIGCONT)


def test_a_repr_in_the_clients_own_loop_does_not_wait_for_itself(joined):
    async def look():
        return repr(joined)

    assert "the farm" in joined.sync(look)
