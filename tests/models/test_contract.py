import json
import math
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.contract import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ClassInfo,
    ModelSpec,
    Normalization,
    Task,
    classes_from_json,
)
from rasterloom.models.errors import SettingError
from tests.support.models import pixel_spec

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
colors = st.tuples(*[st.integers(0, 255)] * 3)
classes = st.lists(
    st.builds(ClassInfo, st.integers(0, 10**6), st.text(max_size=8), colors),
    max_size=5,
    unique_by=lambda c: c.value,
).map(lambda found: tuple(sorted(found, key=lambda c: c.value)))


@st.composite
def specs(draw):
    count = draw(st.integers(1, 5))
    per_band = st.tuples(*[finite] * count)
    deviations = st.tuples(*[st.floats(1e-12, 1e12)] * count)
    return ModelSpec(
        model=draw(st.text(max_size=8)),
        task=draw(st.sampled_from(Task)),
        bands=draw(st.tuples(*[st.text(max_size=6)] * count)),
        extract_bands=draw(st.tuples(*[st.integers(0, 20)] * count)),
        dtype=draw(st.sampled_from(["uint8", "uint16", "float32"])),
        normalization=Normalization(draw(per_band), draw(deviations)),
        tile_size=draw(st.integers(1, 4096)),
        classes=draw(classes),
        cell_size=(draw(finite), draw(finite)),
        crs=draw(st.text(max_size=8)),
        parameters=draw(st.dictionaries(st.text(max_size=4), st.one_of(finite, st.text(), st.lists(finite)))),
    )


@settings(max_examples=20)
@given(spec=specs())
def test_a_spec_survives_json_and_pickle_exactly(spec):
    assert ModelSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec


@settings(max_examples=15)
@given(spec=specs())
def test_output_values_begin_with_the_background_and_ascend(spec):
    values = spec.output_values
    assert values[0] == 0
    assert list(values) == sorted(set(values))
    assert set(values) - {0} == {c.value for c in spec.classes} - {0}
    assert spec.band_count == len(spec.bands)


def test_classes_are_sorted_by_value():
    plain = [{"value": "7", "name": 7, "color": [1, 2, 3]}, {"value": 2, "name": "two", "color": (4, 5, 6)}]
    assert classes_from_json(plain) == (ClassInfo(2, "two", (4, 5, 6)), ClassInfo(7, "7", (1, 2, 3)))


@pytest.mark.parametrize("std", [(0.0,), (-1.0,), (math.nan,), (math.inf,)])
def test_a_deviation_that_cannot_divide_is_refused(std):
    with pytest.raises(SettingError, match="above 0"):
        Normalization((0.0,), std)


def test_means_and_deviations_go_in_pairs():
    with pytest.raises(SettingError, match="2 means and 1 deviations"):
        Normalization((0.0, 1.0), (1.0,))
    assert Normalization(IMAGENET_MEAN, IMAGENET_STD).mean == IMAGENET_MEAN


@settings(max_examples=2)
@given(spec=specs())
def test_a_spec_does_not_change(spec):
    with pytest.raises(FrozenInstanceError):
        spec.tile_size = 3
    assert replace(spec, tile_size=3).tile_size == 3


def test_a_task_is_its_word():
    assert Task("pixels") is Task.PIXELS
    assert f"{Task.PIXELS}" == "pixels"
    assert json.dumps(Task.PIXELS) == '"pixels"'


def test_the_contract_needs_no_torch():
    code = "import sys, rasterloom.models.contract as c; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_without_background_the_outputs_are_the_classes():
    spec = pixel_spec(background=False)
    assert spec.output_values == (1, 2, 7)
    assert [info.name for info in spec.output_classes] == ["Field", "Water", "Road"]
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert pixel_spec().output_classes[0].name == "background"


def test_a_description_of_an_older_version_has_background():
    plain = pixel_spec().to_json()
    assert "background" not in plain
    assert ModelSpec.from_json(plain).output_values == (0, 1, 2, 7)
