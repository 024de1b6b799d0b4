"""A user's model class with its source."""

import pickle
import subprocess
import sys
import traceback

import pytest
import torchvision

from rasterloom.models.errors import PackageError, SettingError
from rasterloom.models.extension.configuration import (
    HOOKS,
    Configuration,
    backbone_name,
    read_backbone,
)
from tests.support.model_classes import TinySegmenter

METHODS = "\n".join(
    f"    def {name}(self, *args, **kwargs):\n        return {name!r}, WORD" for name in HOOKS
)
SOURCE = f"WORD = 'first'\n\n\nclass Mine:\n{METHODS}\n"


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A module of the user's, as it is imported from a folder of theirs."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, source=SOURCE):
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return __import__(name)

    return write


def test_the_source_of_the_whole_module_makes_the_same_class(written):
    first = Configuration.of(written("my_first_model").Mine)
    assert first.source == SOURCE
    again = Configuration.from_source(first.source, "Mine", "mine.dlpk")
    assert again.hooks.loss() == first.hooks.loss() == ("loss", "first")
    assert type(again.hooks) is not type(first.hooks)


def test_a_class_from_a_package_still_has_its_source():
    loaded = Configuration.from_source(SOURCE, "Mine", "mine.dlpk")
    assert Configuration.of(type(loaded.hooks)).source == SOURCE


def test_a_configuration_reaches_a_process_that_has_not_its_module(written, tmp_path):
    kept = tmp_path / "kept.pickle"
    kept.write_bytes(pickle.dumps(Configuration.of(written("my_second_model").Mine)))
    code = (
        "import pickle, sys, pathlib\n"
        "found = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())\n"
        "assert 'my_second_model' not in sys.modules\n"
        "print(found.class_name, found.hooks.loss())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(kept)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "Mine ('loss', 'first')", done.stderr


def test_the_lines_of_the_source_are_in_tracebacks():
    broken = SOURCE.replace("return 'loss', WORD", "raise KeyError(WORD)")
    hooks = Configuration.from_source(broken, "Mine", "mine.dlpk").hooks
    with pytest.raises(KeyError) as raised:
        hooks.loss()
    lines = traceback.format_exception(raised.value)
    assert "ModelConfiguration.py" in lines[-2]
    assert "raise KeyError(WORD)" in lines[-2]


def test_the_class_may_use_what_looks_its_module_up():
    source = (
        f"from dataclasses import dataclass\n\n\n@dataclass\nclass Mine:\n    word: str = 'x'\n{METHODS}\n"
    )
    hooks = Configuration.from_source(f"WORD = 1\n{source}", "Mine", "mine.dlpk").hooks
    assert hooks.word == "x"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("class Mine:\n  def", "cannot be run here"),
        ("import a_package_that_nobody_has", "a_package_that_nobody_has"),
        ("x = 1", "no model class Mine"),
        ("class Mine:\n    pass", "lacks get_model"),
    ],
)
def test_a_source_that_is_no_model_class_is_refused(source, told):
    with pytest.raises(PackageError, match=told) as raised:
        Configuration.from_source(source, "Mine", "mine.dlpk, ModelConfiguration.py")
    assert "mine.dlpk, ModelConfiguration.py" in str(raised.value)


def test_a_class_of_a_notebook_or_within_a_function_is_refused(monkeypatch):
    class Inner(TinySegmenter):
        pass

    with pytest.raises(
        SettingError, match=r"Inner is no class at the top.*put Inner into a module of its own"
    ):
        Configuration.of(Inner)
    namespace = {"__name__": "__main__"}
    exec(SOURCE, namespace)  # noqa: S102 as a console does it
    with pytest.raises(SettingError, match=r"notebook, console or script: put Mine into a module"):
        Configuration.of(namespace["Mine"])


def test_a_backbone_is_kept_by_its_name():
    assert backbone_name(None) is None
    assert read_backbone(backbone_name("resnet18")) == "resnet18"
    name = backbone_name(torchvision.models.resnet18)
    assert read_backbone(name) is torchvision.models.resnet18
    with pytest.raises(PackageError, match=r"no_such_module\.thing is not here"):
        read_backbone("function:no_such_module:thing")
    with pytest.raises(SettingError, match="cannot be saved"):
        backbone_name(lambda: None)
