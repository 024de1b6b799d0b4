import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from rasterloom.models.errors import MissingExtraError, ModelMismatchError, PackageError
from rasterloom.models.networks.onnx import open_onnx, read_onnx_file
from rasterloom.models.networks.outputs import first_tensor
from tests.support.networks import TinyNet, seeded, write_onnx

onnx = pytest.importorskip("onnx", reason="needs the extra rasterloom[onnx]")
pytest.importorskip("onnxruntime", reason="needs the extra rasterloom[onnx]")
pytest.importorskip("onnxscript", reason="writes ONNX files")


@pytest.fixture(scope="module")
def module():
    return seeded(TinyNet).eval()


@pytest.fixture(scope="module")
def content(module, tmp_path_factory):
    return read_onnx_file(write_onnx(tmp_path_factory.mktemp("onnx") / "net.onnx", module))


@pytest.fixture
def images():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def _close(network, module, images):
    torch.testing.assert_close(first_tensor(network(images)), module(images), rtol=1e-3, atol=1e-4)


def test_the_graph_computes_what_the_module_does(content, module, images):
    network = open_onnx(content, source="net.onnx").eval().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        _close(network, module, images)
        _close(network, module, images[:1].contiguous(memory_format=torch.channels_last))
        _close(network, module, torch.rand(1, 3, 48, 64))


def test_a_file_for_one_chip_takes_any_number(module, images, tmp_path):
    network = open_onnx(read_onnx_file(write_onnx(tmp_path / "n.onnx", module, batch=1)), source="n")
    _close(network, module, images)


def test_threads_and_processes_share_nothing_that_breaks(content, images):
    network = open_onnx(content, source="net.onnx")
    again = pickle.loads(pickle.dumps(network))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: first_tensor(n(images)), [network, again] * 8))
    assert all(torch.equal(one, found[0]) for one in found)


def test_one_thread_or_two_give_the_same_bits(content, images):
    found = []
    for count in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            found.append(first_tensor(open_onnx(content, source="net.onnx")(images)))
        finally:
            torch.set_num_threads(before)
    assert torch.equal(*found)


def test_weights_in_further_files_are_taken_along(module, images, tmp_path):
    model = onnx.load(write_onnx(tmp_path / "net.onnx", module))
    onnx.save(model, tmp_path / "two.onnx", save_as_external_data=True, location="w", size_threshold=0)
    content = read_onnx_file(tmp_path / "two.onnx")
    (tmp_path / "w").unlink()
    _close(open_onnx(content, source="two.onnx"), module, images)
    with pytest.raises(PackageError, match="must lie beside it"):
        read_onnx_file(tmp_path / "two.onnx")


def test_content_that_names_further_files_is_refused(module, tmp_path, monkeypatch):
    model = onnx.load(write_onnx(tmp_path / "net.onnx", module))
    onnx.save(model, tmp_path / "two.onnx", save_as_external_data=True, location="w", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PackageError, match=r"two\.onnx is refused: it names further files"):
        open_onnx((tmp_path / "two.onnx").read_bytes(), source="two.onnx")


def test_files_that_are_damaged_or_take_something_else_are_explained(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"rubbish")
    with pytest.raises(PackageError, match="cannot be read as ONNX"):
        read_onnx_file(tmp_path / "bad.onnx")
    with pytest.raises(PackageError, match="no ONNX file"):
        open_onnx(b"rubbish", source="bad.onnx")
    path = tmp_path / "linear.onnx"
    torch.onnx.export(nn.Linear(3, 2).eval(), (torch.zeros(1, 3),), path, dynamo=True, verbose=False)
    with pytest.raises(ModelMismatchError, match="should take one batch of images"):
        open_onnx(read_onnx_file(path), source="linear.onnx")


def test_images_that_do_not_fit_are_an_error_of_ours(content):
    with pytest.raises(ModelMismatchError, match="use bands=3"):
        open_onnx(content, source="net.onnx")(torch.zeros(1, 4, 32, 32))


@pytest.mark.parametrize("name", ["onnx", "onnxruntime"])
def test_a_missing_package_names_the_extra(name, content, images, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"need onnx.*pip install 'rasterloom\[onnx\]'"):
        open_onnx(content, source="net.onnx")(images)
