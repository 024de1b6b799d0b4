"""One tiny learnable store for all training tests."""

import pytest
import torch

from rasterloom.pipeline.datasets.prepare import prepare_data
from tests.pipeline.datasets.stores import (
    THINGS,
    bounds,
    boxed_objects,
    outlined_objects,
    square_chips,
    toy_chips,
    write_store,
)


@pytest.fixture(scope="session")
def toy_store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("chips") / "toy.zarr", *toy_chips(24))


@pytest.fixture
def data(toy_store, tmp_path):
    return prepare_data(toy_store, chip_size=24, batch_size=4, val_split_pct=0.25, working_dir=tmp_path)


@pytest.fixture(scope="session")
def object_store(tmp_path_factory):
    """Chips with one to three bright squares each."""
    images, outlines, values = square_chips(16)
    objects = boxed_objects([[bounds(mask) for mask in chip] for chip in outlines], values)
    path = tmp_path_factory.mktemp("chips") / "objects.zarr"
    kind = "PASCAL_VOC_rectangles"
    return write_store(path, images, objects=objects, classes=THINGS, metadata_format=kind)


@pytest.fixture
def object_data(object_store, tmp_path):
    return prepare_data(object_store, chip_size=40, batch_size=4, val_split_pct=0.25, working_dir=tmp_path)


@pytest.fixture(scope="session")
def outline_store(tmp_path_factory):
    """The same squares with their outlines."""
    images, outlines, values = square_chips(16)
    path = tmp_path_factory.mktemp("chips") / "outlines.zarr"
    objects = outlined_objects(outlines, values)
    return write_store(path, images, objects=objects, classes=THINGS, metadata_format="RCNN_Masks")


@pytest.fixture
def outline_data(outline_store, tmp_path):
    return prepare_data(outline_store, chip_size=40, batch_size=4, val_split_pct=0.25, working_dir=tmp_path)


@pytest.fixture(autouse=True)
def one_thread():
    """The networks are so small that more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
