from collections.abc import Iterator

import pytest
from distributed import Client

from rasterloom.cluster.start import connect


@pytest.fixture(scope="module")
def pair() -> Iterator[Client]:
    """A cluster of two worker processes, without GPUs on every machine."""
    with connect(n_workers=2, gpus=False) as client:
        yield client
