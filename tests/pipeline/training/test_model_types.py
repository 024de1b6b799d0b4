"""Model types are the reference's names for classes of the catalog."""

import pytest

from rasterloom.models.catalog import CATALOG
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.training.model_types import MODEL_TYPES, available_model_types, find_model_type


@pytest.mark.parametrize("name", ["UNET", "unet", "Unet", " UnetClassifier ", "unetclassifier"])
def test_a_model_is_found_by_type_and_by_class(name):
    assert find_model_type(name).name == "UnetClassifier"


def test_every_class_that_is_trained_from_chips_alone_has_a_type():
    ready = {row.name for row in CATALOG if row.trainable and not row.brings_code}
    assert ready == {MODEL_TYPES[name] for name in available_model_types()}
    assert all(find_model_type(name).name == MODEL_TYPES[name] for name in available_model_types())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("UNTE", "Did you mean UNET"),
        ("nonsense", r"not known\. Those that can be trained are SSD, UNET"),
        ("DEEPSORT", r"not here yet: those that can be trained are SSD, UNET"),
        ("TorchModel", r"needs code of yours: build it in Python\. Those that can be trained are SSD, UNET"),
        ("ModelExtension", "or give one to go on from"),
    ],
)
def test_what_cannot_be_trained_lists_what_can(name, words):
    with pytest.raises(SettingError, match=words):
        find_model_type(name)


def test_an_extension_can_be_gone_on_from():
    assert find_model_type("modelextension", started=True).name == "ModelExtension"
