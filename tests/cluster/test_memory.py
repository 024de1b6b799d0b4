import platform
import subprocess
import sys

import numpy as np

from rasterloom.cluster.memory import peak_memory, share_free_memory, worker_memory

MEGABYTE = 1_000_000


def test_memory_in_use_is_seen_and_its_peak_is_kept():
    before = worker_memory()
    block = np.ones(100 * MEGABYTE, np.uint8)
    held = worker_memory()
    assert held - before > 80 * MEGABYTE
    del block
    assert worker_memory() < held - 80 * MEGABYTE
    # The kernel counts pages in batches, so the two readings may differ by a few.
    assert peak_memory() > held - 10 * MEGABYTE


def test_a_new_process_begins_with_a_peak_of_its_own():
    ballast = np.ones(200 * MEGABYTE, np.uint8)
    code = "from rasterloom.cluster.memory import peak_memory; print(peak_memory())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 100 * MEGABYTE < len(ballast)


def test_threads_share_freed_memory_where_the_c_library_is_glibc() -> None:
    assert share_free_memory() == (platform.libc_ver()[0] == "glibc")
