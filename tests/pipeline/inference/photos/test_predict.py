"""Labels of single images."""

import numpy as np
import pytest
import torch
from PIL import Image

from rasterloom.models import FeatureClassifier
from rasterloom.models.catalog import find_adapter
from rasterloom.models.errors import MissingInputError, ModelMismatchError, SettingError
from rasterloom.models.scenes.predicting import predict
from tests.support.adapters import adapter_model
from tests.support.models import random_model
from tests.support.scene_models import colour_model
from tests.support.scenes import coloured


@pytest.fixture
def model():
    return colour_model()


def _picture(*classes, side=32):
    present = np.isin(np.arange(3), classes)[None]
    return np.moveaxis(coloured(present, side=side)[0], 0, -1)


@pytest.mark.parametrize("side", [8, 32, 100])
def test_an_image_of_any_size_is_labelled(side, model):
    label, share = predict(model, _picture(1, side=side))
    assert label == "roof"
    assert 0.9 < share <= 1


def test_a_file_is_labelled_as_its_pixels_are(model, tmp_path):
    pixels = _picture(2, side=40)
    Image.fromarray(pixels).save(tmp_path / "lake.png")
    assert predict(model, tmp_path / "lake.png") == predict(model, pixels)


def test_an_image_of_the_size_of_a_chip_is_seen_as_it_is():
    trained = adapter_model(find_adapter("FeatureClassifier"))
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    image = (torch.from_numpy(pixels).float().permute(2, 0, 1) - 120) / 50
    trained.network.eval()
    likely = trained.classify_chips(image.expand(4, -1, -1, -1).contiguous(memory_format=torch.channels_last))
    label, share = trained.predict(pixels)
    assert share == pytest.approx(float(likely[0].max()), abs=1e-6)
    assert label == trained.output_classes[int(likely[0].argmax())].name


def test_several_labels_come_in_the_order_of_their_probability():
    model = colour_model(multilabel=True)
    names, shares = predict(model, _picture(0, 2))
    assert sorted(names) == ["lake", "meadow"]
    assert shares == sorted(shares, reverse=True)
    assert min(shares) >= 0.5
    assert predict(model, _picture()) == ([], [])


def test_the_network_is_left_as_it_was():
    trained = adapter_model(find_adapter("FeatureClassifier"))
    trained.network.train()
    trained.predict(np.zeros((64, 64, 3), np.uint8))
    assert trained.network.training


def test_the_picture_shows_the_label_and_the_heat(tmp_path):
    trained = adapter_model(find_adapter("FeatureClassifier"))
    pixels = np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)
    trained.predict(pixels, visualize=tmp_path / "plain.png")
    trained.predict(pixels, visualize=tmp_path / "heat.png", gradcam=True)
    with Image.open(tmp_path / "plain.png") as plain, Image.open(tmp_path / "heat.png") as heat:
        assert heat.width == 2 * plain.width


def test_what_cannot_work_is_refused(model, tmp_path):
    with pytest.raises(SettingError, match="set visualize=True"):
        predict(model, _picture(1), gradcam=True)
    with pytest.raises(SettingError, match="whose layers nobody knows"):
        predict(model, _picture(1), gradcam=True, visualize=tmp_path / "x.png")
    with pytest.raises(MissingInputError, match="there is no image"):
        predict(model, tmp_path / "none.png")
    with pytest.raises(ModelMismatchError, match="has 1 bands"):
        predict(model, np.zeros((8, 8), np.uint8))
    with pytest.raises(SettingError, match="is for pixels: use a model that labels whole chips"):
        FeatureClassifier.predict(random_model(), _picture(1))
