"""What all tests share: a quiet, offline process, one small cluster, and the way to the sample data."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.object_store import bucket as bucket, object_store as object_store

# Set before anything imports the libraries that read them; worker processes inherit them.
os.environ.setdefault("MPLBACKEND", "Agg")  # no window, on a machine with a screen either
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small tensors: threads cost more than they bring
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that would fetch weights fails at once, everywhere


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Journeys come first: where files are shared out, the long ones are not to be waited for at the end."""
    items.sort(key=lambda item: "journeys" not in item.path.parts)


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """A Dask client of two single-threaded workers, started once for all tests that only compute on it.

    A test that kills workers or closes the cluster starts its own with ``connect``.
    """
    from rasterloom.cluster.start import connect

    with connect(n_workers=2, threads_per_worker=1, dashboard=False) as client:
        yield client


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real sample data that RASTERLOOM_DATA names; the test is skipped without it."""
    named = os.environ.get("RASTERLOOM_DATA")
    if not named:
        pytest.skip("needs real rasters: set RASTERLOOM_DATA to the folder of sample data")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"RASTERLOOM_DATA names {named}, which is no folder")
    return folder


@pytest.fixture(scope="session")
def timing() -> bool:
    """Whether seconds are wanted, as in ``make bench``: benchmarks then print figures of larger scenes."""
    return os.environ.get("RASTERLOOM_TIMING") == "1"


@pytest.fixture
def all_cores() -> Iterator[None]:
    """Let torch use every core: for the few tests that really train."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)
