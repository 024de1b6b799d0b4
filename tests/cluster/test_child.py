"""A child process: what is known of its end, and that nothing outlives its parent."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from rasterloom.cluster.child import run_child


def python(code, *, unwanted=lambda: False):
    return run_child([sys.executable, "-c", code], os.environ, unwanted=unwanted)


def gone(pid, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_the_ending_tells_status_answer_and_last_words():
    ending = python("import sys; print('forty-two'); print('oh dear', file=sys.stderr); sys.exit(3)")
    assert (ending.code, ending.said, ending.tail) == (3, "forty-two", "oh dear")


def test_a_signal_is_told_from_a_status():
    assert python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)").code == -signal.SIGKILL


def test_only_the_end_of_a_long_story_is_kept():
    ending = python("import sys; sys.stderr.write('x' * 1_000_000 + 'the end')")
    assert ending.tail.endswith("the end")
    assert len(ending.tail) < 10_000


def test_an_unwanted_child_is_killed_though_it_ignores_requests():
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    began = time.monotonic()
    assert python(code, unwanted=lambda: time.monotonic() - began > 1).code is None
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("end", ["pass", "os.kill(os.getpid(), 9)"])
def test_what_the_child_started_ends_with_it(tmp_path, end):
    note = tmp_path / "pid"
    code = (
        "import os, pathlib, subprocess, sys\n"
        "sleeper = subprocess.Popen(['sleep', '60'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(sleeper.pid))\n{end}"
    )
    python(code)
    assert gone(int(note.read_text()))


def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    note = tmp_path / "pid"
    child = (
        "import os, pathlib, time\n"
        "from rasterloom.cluster.child import die_with_parent\n"
        "die_with_parent()\n"
        f"pathlib.Path({str(note)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)"
    )
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys; from rasterloom.cluster.child import run_child\n"
            f"run_child([sys.executable, '-c', {child!r}], os.environ, unwanted=lambda: False)",
        ]
    )
    deadline = time.monotonic() + 30
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert gone(int(note.read_text()))
