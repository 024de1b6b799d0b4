import copy
import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rasterloom.models.networks.fingerprint import module_digest
from tests.support.networks import Answering, TinyNet, seeded

OFFSET = 1.0


def _shift(scores):
    return scores + OFFSET


class Settled(TinyNet):
    """Has settings of every kind that a state dictionary does not hold."""

    def __init__(self):
        super().__init__()
        self.scale, self._power, self.sizes = 2.0, 3, [1, {"a": (4, 5)}]
        self.table, self.hook = np.arange(3), functools.partial(_shift)
        self.register_buffer("grid", torch.arange(3.0), persistent=False)
        self.more = [nn.Conv2d(1, 1, 1)]

    def forward(self, images):
        return _shift(super().forward(images))


@pytest.fixture
def module():
    return seeded(Settled)


def _changed(module, change):
    other = copy.deepcopy(module)
    change(other)
    return module_digest(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.first.weight.data.view(-1)[0].add_(1e-6),
        lambda m: m.norm.running_mean.add_(1e-6),
        lambda m: m.grid.add_(1e-6),
        lambda m: setattr(m, "scale", 2.5),
        lambda m: setattr(m, "_power", 4),
        lambda m: m.sizes[1].update(a=(4, 6)),
        lambda m: m.table.__setitem__(0, 7),
        lambda m: m.more[0].weight.data.add_(1),
        lambda m: setattr(m, "hook", functools.partial(_shift, 1)),
        lambda m: setattr(m, "first", nn.Conv2d(3, 8, 3, padding=1, bias=False)),
        lambda m: setattr(m.norm, "eps", 1e-3),
        lambda m: m.last.register_forward_hook(lambda *given: None),
        lambda m: setattr(m, "__class__", TinyNet),
    ],
)
def test_anything_that_may_change_the_answer_changes_the_digest(module, change):
    assert _changed(module, change) != module_digest(module)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.eval(),
        lambda m: m.requires_grad_(False),
        lambda m: m.to(memory_format=torch.channels_last),
    ],
)
def test_what_does_not_change_the_answer_keeps_the_digest(module, change):
    assert _changed(module, change) == module_digest(module)


def test_the_code_of_functions_and_what_they_name_counts(module, monkeypatch):
    before = module_digest(module)
    monkeypatch.setitem(globals(), "OFFSET", 2.0)
    assert module_digest(module) != before
    one, other = (seeded(lambda f=f: Answering(f)) for f in (lambda s, i: s + 1, lambda s, i: s + 2))
    assert module_digest(one) != module_digest(other)


def test_a_module_that_holds_itself_is_no_endless_tale(module):
    module.friend = functools.partial(_shift, [module])
    assert module_digest(module) == module_digest(copy.deepcopy(module))


_SCRIPT = """
import sys; sys.path.insert(0, {root!r})
import torch
from torch import nn
from rasterloom.models.networks.fingerprint import module_digest
from tests.support.networks import seeded

FACTOR = {factor}
NAMES = {{"b", "a", "c"}}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.names, self.act = nn.Conv2d(3, 2, 1), {{"x", "y", "z"}}, lambda t: t * FACTOR
    def forward(self, images):
        return self.act(self.net(images)) if "a" in NAMES else None

print(module_digest(seeded(Net)))
"""


def test_equal_modules_have_equal_digests_in_any_process(tmp_path):
    root = str(Path(__file__).parents[3])

    def digest(*given):
        done = subprocess.run(
            [sys.executable, *given], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    path = tmp_path / "script.py"
    path.write_text(_SCRIPT.format(root=root, factor=1))
    same, other = (digest("-c", _SCRIPT.format(root=root, factor=factor)) for factor in (1, 2))
    assert digest(str(path)) == same != other
