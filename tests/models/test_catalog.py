import pytest

from rasterloom.models.catalog import CATALOG, find_adapter, model_names
from rasterloom.models.contract import Task
from rasterloom.models.errors import SettingError
from rasterloom.models.imagery import ImageryModel


def test_names_are_unique_and_listed_by_task():
    assert len(set(model_names())) == len(CATALOG)
    assert "UnetClassifier" in model_names(Task.PIXELS)
    assert model_names(Task.OBJECTS) == [row.name for row in CATALOG if row.task == Task.OBJECTS]


@pytest.mark.parametrize("row", CATALOG, ids=lambda row: row.name)
def test_every_row_leads_to_a_model_class_of_its_name(row):
    found = row.load()
    assert issubclass(found, ImageryModel) == row.trainable
    assert found.__name__ == row.name


def test_an_unknown_name_lists_the_known_ones_and_the_closest():
    with pytest.raises(SettingError, match=r"Did you mean UnetClassifier\? Known are"):
        find_adapter("UNetClasifier")
