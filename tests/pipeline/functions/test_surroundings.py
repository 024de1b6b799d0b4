"""A script has its own folder, modules and arcpy while it runs, and leaves none of them behind."""

import sys

import pytest

from rasterloom.pipeline.functions.surroundings import Surroundings


@pytest.fixture
def place(tmp_path):
    (tmp_path / "neighbour.py").write_text("value = 'own'\n")
    (tmp_path / "json.py").write_text("value = 'shadow'\n")
    return Surroundings(tmp_path, device=-1)


def test_what_a_script_finds_and_adds_is_there_only_while_it_runs(place, tmp_path):
    import json as ours

    before = list(sys.path)
    with place.entered():
        import json

        import neighbour

        assert (neighbour.value, json.value) == ("own", "shadow")
        sys.path.append(str(tmp_path / "more"))
    assert sys.path == before
    assert "neighbour" not in sys.modules
    assert sys.modules["json"] is ours


def test_its_modules_are_the_same_the_next_time(place, tmp_path):
    with place.entered():
        import neighbour

        neighbour.value = "changed"
        sys.path.append(str(tmp_path / "more"))
    with place.entered():
        import neighbour as again

        assert again.value == "changed"
        assert str(tmp_path / "more") in sys.path


def test_modules_of_others_stay_loaded(place):
    with place.entered():
        import this as loaded_inside  # noqa: F401 - a module that nobody else loads
    assert "this" in sys.modules


@pytest.mark.parametrize(("device", "kind", "number"), [(-1, "CPU", "0"), (0, "GPU", "0"), (2, "GPU", "2")])
def test_arcpy_says_what_the_device_is_and_takes_what_it_is_told(tmp_path, device, kind, number):
    with Surroundings(tmp_path, device=device).entered():
        import arcpy

        assert (arcpy.env.processorType, arcpy.env.gpuId) == (kind, number)
        arcpy.env.processorType = "GPU"
        assert arcpy.env.processorType == "GPU"
        assert not hasattr(arcpy, "Raster")
    assert "arcpy" not in sys.modules


def test_everything_is_put_back_after_an_error(place):
    before = list(sys.path)

    def fail() -> None:
        with place.entered():
            import neighbour

            raise KeyError(neighbour.value)

    with pytest.raises(KeyError, match="own"):
        fail()
    assert sys.path == before
    assert not {"neighbour", "arcpy"} & set(sys.modules)
