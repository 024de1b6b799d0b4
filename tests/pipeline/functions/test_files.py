"""What a description says of its inference function, and what the files of a package are."""

import pytest

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.functions.files import named_script
from tests.support.functions import function_files


@pytest.mark.parametrize("said", [None, "", "  ", 3, ["Detect.py"]])
def test_a_description_may_name_none(said):
    assert named_script({} if said is None else {"InferenceFunction": said}, source="m.emd") is None


def test_a_script_keeps_its_path():
    assert named_script({"InferenceFunction": " .\\code\\Detect.py "}, source="m.emd") == ".\\code\\Detect.py"


@pytest.mark.parametrize("said", [r"[Functions]System\DeepLearning\ArcGISLearn\X.py", "[functions]Y.py"])
def test_a_script_that_ships_elsewhere_is_said_to(said):
    with pytest.raises(PackageError, match="ships with other software"):
        named_script({"InferenceFunction": said}, source="m.emd")


def test_only_python_files_are_scripts():
    with pytest.raises(PackageError, match=r"model\.dll, and only Python files"):
        named_script({"InferenceFunction": "model.dll"}, source="m.emd")


def test_the_digest_changes_with_every_file():
    one = function_files("Script", "class Script: pass")
    same = function_files("Script", "class Script: pass")
    others = [
        function_files("Script", "class Script: '''x'''"),
        function_files("Script", "class Script: pass", beside={"more.txt": ""}),
        function_files("Script", "class Script: pass", Threshold=0.5),
    ]
    assert one.digest == same.digest
    assert len({one.digest, *(other.digest for other in others)}) == 4


def test_trust_is_asked_for_by_name():
    files = function_files("Script", "class Script: pass")
    files.check_trust(trust=True)
    with pytest.raises(PackageError, match=r"script\.dlpk.*Script\.py.*trust=True"):
        files.check_trust(trust=False)
