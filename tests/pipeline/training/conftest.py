"""One tiny learnable store for all training tests."""

import pytest
import torch

from rasterloom.pipeline.datasets.prepare import prepare_data
from tests.pipeline.datasets.stores import toy_chips, write_store


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("chips") / "toy.zarr", *toy_chips(24))


@pytest.fixture
def data(toy_store, tmp_path):
    return prepare_data(toy_store, chip_size=24, batch_size=4, val_split_pct=0.25, working_dir=tmp_path)


@pytest.fixture(autouse=True)
def one_thread():
    """The networks are so small that more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
