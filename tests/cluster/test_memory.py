import json
import platform
import subprocess
import sys

import numpy as np

from rasterloom.cluster.memory import share_free_memory

MEGABYTE = 1_000_000


_HOLD = """
import json
import numpy as np
from rasterloom.cluster.memory import peak_memory, worker_memory

before = worker_memory()
block = np.ones(100_000_000, np.uint8)
held = worker_memory()
del block
print(json.dumps([before, held, worker_memory(), peak_memory()]))
"""
"""What other tests have freed in this process could hold the block: another one begins with nothing."""


def test_memory_in_use_is_seen_and_its_peak_is_kept():
    told = subprocess.run([sys.executable, "-c", _HOLD], capture_output=True, text=True, check=True)
    before, held, after, peak = json.loads(told.stdout)
    assert held - before > 80 * MEGABYTE
    assert after < held - 80 * MEGABYTE
    # The kernel counts pages in batches, so the two readings may differ by a few.
    assert peak > held - 10 * MEGABYTE


def test_a_new_process_begins_with_a_peak_of_its_own():
    ballast = np.ones(200 * MEGABYTE, np.uint8)
    code = "from rasterloom.cluster.memory import peak_memory; print(peak_memory())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 100 * MEGABYTE < len(ballast)


def test_threads_share_freed_memory_where_the_c_library_is_glibc() -> None:
    assert share_free_memory() == (platform.libc_ver()[0] == "glibc")
