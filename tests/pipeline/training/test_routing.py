"""Arguments come as text or as values, and reach whom they belong to."""

import pytest

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.training.routing import number_of, route, value_of, whole_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        (" 3 ", 3),
        ("1e-3", 1e-3),
        ("true", True),
        ("False", False),
        ("None", None),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("(1,2)", (1, 2)),
        ("{1: 'wood'}", {1: "wood"}),
        ("'7'", "7"),
        ("resnet34", "resnet34"),
        ("timm:convnext_tiny", "timm:convnext_tiny"),
        ("__import__('os')", "__import__('os')"),
        ("[1, 2", "[1, 2"),
        ("", ""),
        (0.5, 0.5),
        ([1], [1]),
    ],
)
def test_a_text_becomes_what_it_stands_for(text, value):
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


def test_each_argument_goes_to_who_takes_it():
    given = {
        "chip_size": "64",
        "monitor": "miou",
        "class_balancing": "true",
        "num_workers": 0,
        "accumulate": "2",
    }
    routed = route(given)
    assert routed.data == {"chip_size": 64, "num_workers": 0}
    assert routed.fit == {"monitor": "miou", "accumulate": 2}
    assert routed.model == {"class_balancing": True}
    assert route(None) == route({})


def test_class_values_are_numbers_also_as_keys_of_json():
    given = {"class_mapping": {"1": "7"}, "remap_classes": {"5": "1"}, "class_weights": {"2": "0.5"}}
    routed = route(given)
    assert routed.data == {"class_mapping": {1: "7"}, "remap_classes": {5: 1}}
    assert routed.model == {"class_weights": {2: 0.5}}


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("batch_size", "batch_size"),
        ("lr", "learning_rate"),
        ("epochs", "max_epochs"),
        ("backbone", "backbone_model"),
    ],
)
def test_what_has_a_parameter_of_its_own_says_which(name, instead):
    with pytest.raises(SettingError, match=f"pass {instead}= instead"):
        route({name: 3})


def test_arguments_are_a_dictionary():
    with pytest.raises(SettingError, match="give a dictionary"):
        route([("chip_size", 3)])


def test_numbers_may_come_as_text_and_have_limits():
    assert number_of("learning_rate", "0.01", least=0, most=1) == 0.01
    assert number_of("learning_rate", "", least=0) is None
    assert whole_of("max_epochs", "20", least=1) == 20
    for value, words in ((2, "from 0 to 1"), ("fast", "no number"), (float("nan"), "from 0 to 1")):
        with pytest.raises(SettingError, match=words):
            number_of("learning_rate", value, least=0, most=1)
    with pytest.raises(SettingError, match="whole number"):
        whole_of("max_epochs", 1.5, least=1)
