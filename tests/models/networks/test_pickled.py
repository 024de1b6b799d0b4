import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from rasterloom.models.errors import PackageError, SettingError
from rasterloom.models.networks.pickled import dump_module, is_installed, load_module
from tests.support.networks import TinyNet, seeded

_READ = """
import sys, torch
from rasterloom.models.networks.pickled import load_module
network = load_module(open(sys.argv[1], "rb").read(), source="it").eval()
print(float(network(torch.ones(1, 3, 8, 8)).double().abs().sum()))
"""


def _elsewhere(content: bytes, folder: Path) -> float:
    """The answer of a process that knows none of the tests' code."""
    (folder / "net").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", _READ, folder / "net"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def _answer(module: nn.Module) -> float:
    return float(module.eval()(torch.ones(1, 3, 8, 8)).detach().double().abs().sum())


def test_a_class_of_a_function_travels_with_its_code(tmp_path):
    class Local(TinyNet):
        def forward(self, images):
            return super().forward(images) + 1

    module = seeded(Local)
    assert _elsewhere(dump_module(module), tmp_path) == _answer(module)


def test_a_class_of_the_callers_own_file_travels_with_its_code(tmp_path):
    module = seeded(TinyNet)
    assert not is_installed(TinyNet.__module__)
    assert _elsewhere(dump_module(module), tmp_path) == _answer(module)


def test_classes_of_installed_packages_are_named_only():
    assert is_installed("torch.nn.modules.conv")
    assert is_installed("torchvision.models")
    assert is_installed("json")
    assert is_installed("sys")
    assert len(dump_module(nn.Sequential(nn.Conv2d(3, 2, 1)))) < 5000


def test_what_cannot_leave_the_process_is_explained():
    module = seeded(TinyNet)
    module.lock = threading.Lock()
    with pytest.raises(SettingError, match=r"TinyNet cannot be taken to other processes: .*lock"):
        dump_module(module)


def test_a_package_that_is_missing_is_named(monkeypatch):
    content = dump_module(nn.Sequential(nn.Conv2d(3, 2, 1)))
    monkeypatch.setitem(sys.modules, "torch.nn.modules.conv", None)
    with pytest.raises(PackageError, match="needs a package that this process lacks"):
        load_module(content, source="it")
