"""A script is loaded, called and told of as its host does it."""

import pytest

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.functions.host import Host
from tests.support.functions import function_files


def _host(body: str, name: str = "Script", **beside: str) -> Host:
    return Host(function_files(name, body, beside={f"{key}.py": text for key, text in beside.items()}))


def test_the_class_named_as_the_file_is_told_its_model_and_device():
    body = """
import os
class Script:
    def initialize(self, **kwargs):
        self.told = kwargs
    def answer(self, number, more):
        return number + more, os.path.isfile(self.told["model"]), self.told["device"]
"""
    host = _host(body)
    assert host.call("answer", 1, more=2) == (3, True, -1)
    assert not host.has("vectorize")
    assert host.call_if_there("vectorize") is None


def test_its_files_stay_as_long_as_it_does():
    host = _host("class Script: pass")
    folder = host.emd_path.parent
    assert sorted(file.name for file in folder.iterdir() if file.suffix) == ["Script.py", "model.emd"]
    del host
    assert not folder.exists()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("class Other: pass", "holds no class Script"),
        ("Script = 3", "holds no class Script"),
        ("class Script(", r"cannot be loaded: SyntaxError"),
        ("import no_such_module_anywhere", r"ModuleNotFoundError.*Install what it imports"),
        ("from arcpy.sa import Slope", r"Of arcpy only env\.processorType and env\.gpuId are here"),
        ("import arcpy\narcpy.GetCount_management", r"arcpy\.GetCount_management is not here"),
        ("import arcpy\narcpy.env.workspace", r"arcpy\.env\.workspace is not here"),
        ("class Script:\n  def __init__(self): 1 / 0", "ZeroDivisionError: division by zero"),
        ("class Script:\n  def initialize(self): pass", "initialize ended with TypeError"),
        (
            "class Script:\n  def isLicensed(self, **info): return {'okToRun': False, 'message': 'no key'}",
            "refuses to run here: no key",
        ),
    ],
)
def test_what_is_wrong_with_a_script_is_said_with_its_name(body, words):
    with pytest.raises(PackageError, match=words) as told:
        _host(body)
    assert "Script.py" in str(told.value)


def test_a_method_that_is_missing_is_named():
    with pytest.raises(PackageError, match="no method updatePixels"):
        _host("class Script: pass").call("updatePixels")


def test_a_lack_of_memory_stays_one():
    with pytest.raises(MemoryError):
        _host("class Script:\n  def work(self): raise MemoryError").call("work")


def test_classes_of_a_script_can_be_looked_up_by_their_module():
    body = """
import dataclasses, pickle
@dataclasses.dataclass
class Point:
    x: int
class Script:
    def there_and_back(self):
        return pickle.loads(pickle.dumps(Point(3))).x
"""
    assert _host(body).call("there_and_back") == 3
