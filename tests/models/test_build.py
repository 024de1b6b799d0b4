from dataclasses import replace

import pytest

from rasterloom.models.build import build
from rasterloom.models.errors import SettingError
from rasterloom.models.pixels.unet import UnetClassifier
from tests.support.models import pixel_spec


def test_a_description_becomes_a_model_without_data():
    model = build(pixel_spec(bands=4))
    assert isinstance(model, UnetClassifier)
    assert model.data is None
    assert model.spec.parameters["encoder_depth"] == 3


def test_a_description_that_asks_for_pretrained_weights_is_built_without_fetching_any():
    spec = pixel_spec()
    build(replace(spec, parameters={**spec.parameters, "pretrained": True}))


def test_unknown_models_and_settings_are_refused():
    with pytest.raises(SettingError, match="Known are UnetClassifier"):
        build(replace(pixel_spec(), model="Unet"))
    with pytest.raises(SettingError, match="does not take colour"):
        build(replace(pixel_spec(), parameters={"colour": 1}))
    with pytest.raises(SettingError, match="description of a Other"):
        UnetClassifier.from_spec(replace(pixel_spec(), model="Other"))
