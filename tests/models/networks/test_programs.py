import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from rasterloom.models.errors import MissingInputError, ModelMismatchError, PackageError, SettingError
from rasterloom.models.networks.outputs import first_tensor
from rasterloom.models.networks.programs import (
    Program,
    ProgramKind,
    check_trust,
    export_module,
    open_exported,
    open_program,
    pickle_down,
    read_program,
    write_down,
)
from tests.support.networks import Answering, Strided, TinyNet, seeded

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # torch calls it deprecated

EXAMPLE = torch.zeros(2, 3, 32, 32)


@pytest.fixture
def images():
    return torch.rand(3, 3, 64, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "make",
    [TinyNet, Strided, lambda: Answering(lambda s, i: {"out": s, "aux": s})],
    ids=["tensor", "logits", "out"],
)
def test_an_exported_module_takes_any_number_and_size_and_answers_alike(make, images):
    module = seeded(make).eval()
    network = open_program(export_module(module, EXAMPLE), trust=True, source="it")
    network.eval().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        for given in (images, images[:1].contiguous(memory_format=torch.channels_last)):
            torch.testing.assert_close(network(given), first_tensor(module(given)))


@pytest.mark.parametrize("kind", ["pt2", "torchscript", "pickle"])
def test_threads_may_share_a_network(kind, images):
    module = seeded(TinyNet).eval()
    made = {
        "pt2": lambda: export_module(module, EXAMPLE),
        "torchscript": lambda: write_down(torch.jit.script(module)),
        "pickle": lambda: pickle_down(module),
    }
    network = open_program(made[kind](), trust=True, source="it").eval()

    def answer(_: int) -> torch.Tensor:
        with torch.inference_mode():
            return network(images)

    wanted = answer(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(found, wanted) for found in pool.map(answer, range(16)))


def test_exporting_gives_the_same_bytes_again():
    module = seeded(TinyNet).eval()
    assert export_module(module, EXAMPLE) == export_module(module, EXAMPLE)


class _Deciding(TinyNet):
    def forward(self, images):
        if images.max() > 0.5:
            return super().forward(images)
        return super().forward(images) * 2


def test_what_cannot_be_exported_can_be_pickled(images):
    module = seeded(_Deciding).eval()
    with pytest.raises(SettingError, match=r"_Deciding cannot be exported .*save\(path, pickled=True\)"):
        export_module(module, EXAMPLE)
    network = open_program(pickle_down(module), trust=True, source="it")
    assert torch.equal(network(images), module(images))


def test_torchscript_is_written_as_it_is(images):
    module = seeded(TinyNet).eval()
    program = write_down(torch.jit.script(module))
    assert program.kind is ProgramKind.SCRIPT
    torch.testing.assert_close(open_program(program, trust=True, source="it")(images), module(images))
    assert write_down(module) is None


_HASH = """
import warnings; warnings.simplefilter("ignore")
import sys; sys.path.insert(0, {root!r})
import torch
from rasterloom.models.networks.programs import write_down
from tests.support.networks import TinyNet, seeded
{before}
print(write_down(torch.jit.script(seeded(TinyNet, {seed}).eval())).digest)
"""


def test_equal_scripts_have_equal_digests_in_any_process():
    root = str(Path(__file__).parents[3])
    text = _HASH.format(root=root, before="torch.jit.script(TinyNet())", seed=0)
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=120
    )
    here = [write_down(torch.jit.script(seeded(TinyNet, seed).eval())).digest for seed in (0, 1)]
    assert done.stdout.strip() == here[0] != here[1]


@pytest.mark.parametrize("kind", [kind for kind in ProgramKind if kind is not ProgramKind.ONNX])
def test_programs_that_hold_code_are_not_even_opened_without_trust(kind):
    with pytest.raises(PackageError, match="can run any code of its author"):
        open_program(Program(kind, b"rubbish"), trust=False, source="it")
    with pytest.raises(PackageError, match="it"):
        open_program(Program(kind, b"rubbish"), trust=True, source="it")
    check_trust(ProgramKind.ONNX, trust=False, source="it")


class _Payload:
    def __reduce__(self):
        return (pytest.fail, ("code of the file was run",))


def test_reading_a_file_runs_nothing(tmp_path):
    path = tmp_path / "evil.pt2"
    torch.save(_Payload(), path)
    with pytest.raises(PackageError, match=r"written by torch\.save"):
        read_program(path)
    with pytest.raises(MissingInputError, match=r"give a \.pt2, TorchScript or \.onnx file"):
        read_program(tmp_path / "none.pt2")


def test_the_kind_of_a_file_is_told_by_what_is_in_it(tmp_path):
    module = seeded(TinyNet).eval()
    torch.jit.save(torch.jit.script(module), tmp_path / "a.pt2")
    torch.export.save(torch.export.export(module, (EXAMPLE,)), tmp_path / "b.pt2")
    assert read_program(tmp_path / "a.pt2").kind is ProgramKind.SCRIPT
    assert read_program(tmp_path / "b.pt2").kind is ProgramKind.EXPORTED


def test_an_exported_program_that_takes_no_images_is_refused():
    with pytest.raises(ModelMismatchError, match="it should take one batch of images"):
        open_exported(torch.export.export(nn.Linear(3, 2), (torch.zeros(1, 3),)))


def test_a_pickle_of_something_else_is_refused():
    buffer = io.BytesIO()
    torch.save({"a": 1}, buffer)
    with pytest.raises(PackageError, match="holds a dict"):
        open_program(Program(ProgramKind.PICKLED, buffer.getvalue()), trust=True, source="it")
