import importlib.util
import json

import numpy as np
import pytest
import torch

from rasterloom.models.catalog import CATALOG
from rasterloom.pipeline.packages.esri import inference_script


@pytest.fixture(scope="module")
def function(saved):
    """The script of the package, loaded as a host does: by file name."""
    path = saved.with_suffix("") / "ArcGISImageClassifier.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.ArcGISImageClassifier()
    made.initialize(model=str(path.with_name("fields.emd")), device=-1)
    return made


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 255, (3, 64, 64), np.uint8)


def _whole(model, pixels):
    normalization = model.spec.normalization
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (normalization.mean, normalization.std))
    with torch.inference_mode():
        logits = model.network.eval()(torch.from_numpy(((pixels - mean) / std)[None]))
    return np.array(model.spec.output_values)[logits[0].argmax(0).numpy()]


def test_a_tile_is_classified_and_its_padding_cut(function, model, pixels):
    setup = function.getConfiguration(padding="10", predict_background="True")
    assert (setup["padding"], setup["tx"], setup["ty"]) == (10, 44, 44)
    assert setup["extractBands"] == (0, 1, 2)
    mask = np.ones_like(pixels)
    mask[:, 10, 10] = 0
    found = function.updatePixels((0, 0), (1, 44, 44), {}, raster_pixels=pixels, raster_mask=mask)
    assert found["output_pixels"].dtype == np.uint8
    np.testing.assert_array_equal(found["output_pixels"][0], _whole(model, pixels)[10:54, 10:54])
    assert found["output_mask"].shape == (1, 44, 44)
    assert found["output_mask"].sum() == 44 * 44 - 1


def test_background_can_be_kept_out_of_the_answer(function, pixels):
    function.getConfiguration(padding="0", predict_background="False")
    found = function.updatePixels((0, 0), (1, 64, 64), {}, raster_pixels=pixels)
    assert 0 not in found["output_pixels"]
    assert "output_mask" not in found


def test_a_block_of_any_size_is_answered(function, pixels):
    function.getConfiguration(padding="2")
    found = function.updatePixels((0, 0), (1, 33, 26), {}, raster_pixels=pixels[:, :37, :30])
    assert found["output_pixels"].shape == (1, 33, 26)


def test_padding_leaves_something_of_a_tile(function):
    assert function.getConfiguration(padding="500")["tx"] >= 1
    assert function.getConfiguration(padding="-3")["padding"] == 0


def test_the_host_is_told_what_it_asks(function):
    names = [row["name"] for row in function.getParameterInfo()]
    assert names[:2] == ["raster", "model"]
    info = function.updateRasterInfo(output_info={})["output_info"]
    assert (info["bandCount"], info["pixelType"]) == (1, "u1")
    table = json.loads(info["rasterAttributeTable"])
    assert [row["attributes"]["Value"] for row in table["features"]] == [1, 2, 7]


SCRIPTED = [row for row in CATALOG if row.inference_function]


@pytest.mark.parametrize("row", SCRIPTED, ids=lambda row: row.name)
def test_every_model_class_has_a_script_named_after_its_class(row):
    text = inference_script(row)
    compile(text, row.inference_function, "exec")
    assert f"class {row.inference_function.removesuffix('.py')}(" in text
