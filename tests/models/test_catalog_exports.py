"""The networks for pixels of the catalog, written as TorchScript and ONNX, answer the same."""

import io

import pytest
import torch

from rasterloom.models.contract import Task
from tests.support.adapters import adapter_model, images, of_task

pytestmark = [
    pytest.mark.parametrize("row", of_task(Task.PIXELS), ids=lambda row: row.name),
    pytest.mark.usefixtures("one_thread"),
]

POINTREND = ("PSPNetClassifier", "DeepLab")
"""Classes that can render edges, which is tested instead of the plain network: it holds all of that too."""


def _network(row):
    changes = {"pointrend": True} if row.name in POINTREND else {}
    network = adapter_model(row, **changes).network
    with torch.no_grad():
        network(images(4))  # moves the running statistics away from their start
    return network.eval()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch calls TorchScript deprecated
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_torchscript_answers_the_same_for_any_number_of_tiles(row):
    network = _network(row)
    with torch.inference_mode():
        traced = torch.jit.trace(network, images(2))
        content = io.BytesIO()
        torch.jit.save(traced, content)
        content.seek(0)
        again = torch.jit.load(content)
        for count in (1, 3):
            torch.testing.assert_close(again(images(count)), network(images(count)), rtol=0, atol=1e-4)


def test_onnx_answers_the_same_for_any_number_of_tiles(row, tmp_path):
    pytest.importorskip("onnxscript", reason="writes ONNX files")
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra rasterloom[onnx]")
    network, path = _network(row), tmp_path / "network.onnx"
    torch.onnx.export(
        network,
        (images(2),),
        path,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim.AUTO},),
        external_data=False,
        verbose=False,
    )
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        found = session.run(None, {session.get_inputs()[0].name: images(count).numpy()})[0]
        with torch.inference_mode():
            torch.testing.assert_close(torch.from_numpy(found), network(images(count)), rtol=0, atol=1e-4)
