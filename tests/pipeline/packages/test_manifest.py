import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.contract import IMAGENET_MEAN, IMAGENET_STD, Normalization
from rasterloom.models.errors import PackageError
from rasterloom.models.history import EpochRow, History
from rasterloom.pipeline.packages.manifest import (
    dump_emd,
    from_emd,
    normalization_stats,
    parse_emd,
    relative_name,
    to_emd,
)
from tests.support.models import pixel_spec

HISTORY = History((EpochRow(1, 0.5, math.nan, {"miou": 0.4}),), 0.00123)


def _emd(spec=None, **facts):
    return to_emd(
        spec or pixel_spec(bands=4),
        model_file="m.safetensors",
        history=HISTORY,
        facts=facts,
        inference_function="ArcGISImageClassifier.py",
    )


@pytest.mark.parametrize("bands", [1, 3, 8])
def test_a_description_comes_back_from_the_file_as_it_was(bands):
    spec = pixel_spec(bands=bands)
    manifest = from_emd(parse_emd(dump_emd(_emd(spec)), source="m"), source="m")
    assert manifest.spec == spec
    assert manifest.model_file == "m.safetensors"
    assert manifest.history.rows[0].metrics == {"miou": 0.4}


def test_the_exchanged_keys_are_those_of_a_pixel_classifier():
    emd = _emd(ignore_mapped_class=[0], per_class_metrics={"f1": {"Field": 0.5, "Road": math.nan}})
    expected = {
        "ModelName": "UnetClassifier",
        "ModelType": "ImageClassification",
        "ModelConfiguration": "_unet",
        "InferenceFunction": "ArcGISImageClassifier.py",
        "ModelFormat": "NCHW",
        "ExtractBands": [0, 1, 2, 3],
        "ImageHeight": 64,
        "LearningRate": "1.23e-03",
        "IsMultispectral": True,
        "ignore_mapped_class": [0],
    }
    assert {name: emd[name] for name in expected} == expected
    assert emd["Classes"][2] == {"Value": 7, "Name": "Road", "Color": [90, 90, 90]}
    assert emd["MinCellSize"]["spatialReference"] == {"wkid": 32633, "latestWkid": 32633}
    assert emd["ModelParameters"]["backbone"] == "resnet18"
    assert json.loads(emd["per_class_metrics"]) == {"f1": {"Field": 0.5, "Road": None}}


def test_eight_bit_colour_in_the_usual_scaling_is_not_multispectral():
    usual = Normalization(tuple(255 * m for m in IMAGENET_MEAN), tuple(255 * s for s in IMAGENET_STD))
    emd = _emd(dataclasses.replace(pixel_spec(), normalization=usual))
    assert emd["IsImageNetNormalization"] is True
    assert "NormalizationStats" not in emd
    assert _emd(pixel_spec())["IsMultispectral"] is True


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(-1000, 60000), st.floats(0.5, 5000)), min_size=1, max_size=4),
    st.sampled_from(["uint8", "uint16", "int16", "float32"]),
)
def test_readers_of_the_exchanged_scaling_see_what_our_network_saw(bands, dtype):
    mean, std = (np.array(values) for values in zip(*bands, strict=True))
    stats = {
        name: np.array(v)
        for name, v in normalization_stats(Normalization(tuple(mean), tuple(std)), dtype).items()
    }
    pixel = np.linspace(0, 200, len(bands))
    unit = (pixel - stats["band_min_values"]) / (stats["band_max_values"] - stats["band_min_values"])
    theirs = (unit - stats["scaled_mean_values"]) / stats["scaled_std_values"]
    np.testing.assert_allclose(theirs, (pixel - mean) / std, rtol=1e-6, atol=1e-6)


def test_a_crs_without_a_number_is_written_out():
    emd = _emd(dataclasses.replace(pixel_spec(), crs="+proj=laea +lat_0=50 +lon_0=10 +type=crs"))
    assert "wkt" in emd["MinCellSize"]["spatialReference"]
    assert "wkt" in _emd(dataclasses.replace(pixel_spec(), crs="nonsense"))["MinCellSize"]["spatialReference"]


def _without(*path):
    emd = json.loads(dump_emd(_emd()))
    place = emd
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return emd


@pytest.mark.parametrize(
    ("emd", "message"),
    [
        ({"Framework": "Keras", "ModelName": "X"}, "not written by rasterloom.*Keras.*X"),
        (_without("Rasterloom"), "no Rasterloom section"),
        (_without("Rasterloom", "FormatVersion"), "format version None"),
        (_without("Rasterloom", "Spec"), "lacks 'Spec'"),
        (_without("Rasterloom", "Spec", "bands"), "lacks 'bands'"),
        (_without("ModelFile"), "lacks 'ModelFile'"),
        ({**_emd(), "ModelFile": "../m.pth"}, "no path inside the package"),
        ({"Rasterloom": {"FormatVersion": 2}}, "format version 2"),
    ],
)
def test_a_foreign_or_damaged_description_says_what_is_wrong(emd, message):
    with pytest.raises(PackageError, match=message):
        from_emd(emd, source="model.emd")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "Unheard"),
        ("task", "juggling"),
        ("normalization", {"mean": [1.0], "std": [0.0]}),
        ("normalization", {"mean": [1.0], "std": [1.0]}),
        ("classes", 5),
        ("extract_bands", [-1, 0, 1, 2]),
        ("bands", []),
        ("tile_size", "large"),
    ],
)
def test_values_that_cannot_be_a_model_are_refused(name, value):
    emd = json.loads(dump_emd(_emd()))
    emd["Rasterloom"]["Spec"][name] = value
    with pytest.raises(PackageError, match="cannot be read"):
        from_emd(emd, source="model.emd")


@pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff\xfe", b"", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(PackageError, match=r"its \.emd"):
        parse_emd(text, source="model.emd")


@pytest.mark.parametrize("text", [".\\m.pth", "./m.pth", "m.pth"])
def test_paths_are_read_as_other_software_writes_them(text):
    assert relative_name(text, source="m") == "m.pth"
    assert relative_name("weights\\m.pth", source="m") == "weights/m.pth"


@pytest.mark.parametrize(
    "name", ["", None, 3, "/m", "..", "a/../m", "C:\\m", "a//m", "\\\\host\\m", "a\0b", "m/"]
)
def test_paths_out_of_the_package_are_refused(name):
    with pytest.raises(PackageError, match="no path inside the package"):
        relative_name(name, source="m")


def test_manifest_and_archive_do_without_torch():
    code = "import sys, rasterloom.pipeline.packages.load; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
