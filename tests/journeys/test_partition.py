"""The network between scheduler and workers is slow, breaks and heals during a map: not a byte changes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.gates import began
from tests.support.islands import Islands, NoIslands, islands

ROOT = Path(__file__).parents[2]
PATIENCE = {
    # A cut is noticed after the least that dask takes, not after the minute that a run of days is given.
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "60s",
    "DASK_LOGGING__DISTRIBUTED": "critical",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
}


def run_in(network: Islands, folder: Path, kind: str) -> dict[str, list[str]]:
    """Run in the first namespace; what was seen of the workers."""
    words = ["-m", "tests.support.island_run", str(folder), kind, *network.names]
    done = subprocess.run(
        [*network.inside(0), sys.executable, *words],
        cwd=ROOT,
        env=os.environ | PATIENCE,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, list[str]] = json.loads((folder / "seen.json").read_text())
    return seen


def test_a_slow_network_changes_no_byte(tmp_path: Path) -> None:
    try:
        with islands(2, milliseconds=20) as network:
            seen = run_in(network, tmp_path, "quiet")
    except NoIslands as error:
        pytest.skip(str(error))
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert seen["after"] == seen["before"]
    assert len(began(tmp_path / "gate", 0)) == 2


def test_a_network_that_breaks_and_heals_changes_no_byte(tmp_path: Path) -> None:
    try:
        with islands(2) as network:
            seen = run_in(network, tmp_path, "cut")
            cut_off, other = network.address(1), network.address(2)
    except NoIslands as error:
        pytest.skip(str(error))
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()
    assert len(seen["before"]) == 2
    assert seen["after a short cut"] == seen["before"]
    assert [other in worker for worker in seen["cut"]] == [True]
    assert len(seen["after"]) == 2
    assert [cut_off in worker for worker in set(seen["after"]) - set(seen["before"])] == [True]
    assert len(began(tmp_path / "gate", 3)) >= 2
