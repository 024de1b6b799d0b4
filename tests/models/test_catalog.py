import pytest

from rasterloom.models import catalog
from rasterloom.models.catalog import CATALOG, AdapterRow, find_adapter, model_names
from rasterloom.models.contract import Task
from rasterloom.models.errors import MissingExtraError, SettingError
from rasterloom.models.imagery import ImageryModel


def test_names_are_unique_and_listed_by_task():
    assert len(set(model_names())) == len(CATALOG)
    assert "UnetClassifier" in model_names(Task.PIXELS)
    assert model_names(Task.OBJECTS) == [row.name for row in CATALOG if Task.OBJECTS in row.tasks]


@pytest.mark.parametrize("row", CATALOG, ids=lambda row: row.name)
def test_every_row_leads_to_a_model_class_of_its_name(row):
    found = row.load()
    assert issubclass(found, ImageryModel) == row.trainable
    assert found.__name__ == row.name


def test_an_unknown_name_lists_the_known_ones_and_the_closest():
    with pytest.raises(SettingError, match=r"Did you mean UnetClassifier\? Known are"):
        find_adapter("UNetClasifier")


def _row(name: str, **changes) -> AdapterRow:
    plain = {
        "task": Task.PIXELS,
        "module": "rasterloom.models.pixels.none",
        "model_type": "ImageClassification",
    }
    return AdapterRow(name=name, configuration="_none", inference_function="None.py", **(plain | changes))


def test_a_class_for_several_tasks_is_listed_for_each(monkeypatch):
    both = _row("Both", also=(Task.OBJECTS,))
    monkeypatch.setattr(catalog, "CATALOG", (_row("Pixels"), both))
    assert both.tasks == (Task.PIXELS, Task.OBJECTS)
    assert model_names(Task.OBJECTS) == ["Both"]
    assert model_names(Task.PIXELS) == model_names() == ["Pixels", "Both"]


def test_a_class_of_an_extra_names_it_where_its_package_is_missing(monkeypatch, tmp_path):
    (tmp_path / "needy_adapter.py").write_text("import package_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match=r"Needy needs the package package_that_nobody_has.*\[zoo\]"):
        _row("Needy", module="needy_adapter", extra="zoo").load()
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'package_that_nobody_has'$"):
        _row("Needy", module="needy_adapter").load()


def test_a_module_of_rasterloom_that_is_missing_is_no_matter_of_extras():
    with pytest.raises(ModuleNotFoundError, match=r"rasterloom\.models\.pixels\.none"):
        _row("Needy", extra="zoo").load()
