"""The arguments of a classification of objects."""

from dataclasses import replace

import pytest

from rasterloom.models.contract import ClassInfo, ModelSpec, Normalization, Task
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.scenes.arguments import GROUP, SceneArguments, scene_arguments

SPEC = ModelSpec(
    model="FeatureClassifier",
    task=Task.SCENES,
    bands=("b",),
    extract_bands=(0,),
    dtype="uint8",
    normalization=Normalization((0.0,), (1.0,)),
    tile_size=48,
    classes=(ClassInfo(1, "a", (0, 0, 0)), ClassInfo(2, "b", (0, 0, 0))),
    cell_size=(1.0, 1.0),
    crs="",
    background=False,
)


def given(arguments=None, device="cpu", **parameters):
    spec = replace(SPEC, parameters=parameters)
    return scene_arguments(arguments, spec, tile_multiple=16, device=device)


def test_what_nobody_says_is_as_the_model_was_trained():
    assert given() == SceneArguments(tile_size=48, batch_size=4, score_threshold=0.0)
    assert given(device="cuda").batch_size == 32
    found = given(crop_size_fixed=False, blacken_around_feature=True, multilabel=True)
    assert (found.fix_chip_size, found.blacken_around_feature, found.score_threshold) == (False, True, 0.5)


def test_the_caller_goes_before_the_model_also_in_words():
    words = {"fix_chip_size": "true", "blacken_around_feature": "0", "score_threshold": "0.3"}
    found = given(words | {"batch_size": "9"}, crop_size_fixed=False, blacken_around_feature=True)
    assert found == SceneArguments(tile_size=48, batch_size=9, score_threshold=0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": 3}, "'padding' is not known: this model takes batch_size, score_threshold"),
        ({"tile_size": 40}, "use a multiple of 16, such as 32 or 48"),
        ({"batch_size": 0}, "use 1 or more"),
        ({"score_threshold": 1.5}, "give 0 to 1"),
        ({"merge_policy": "sum"}, "use mean, max, min"),
        ({"test_time_augmentation": "perhaps"}, "neither true nor false"),
    ],
)
def test_what_cannot_work_is_refused(arguments, message):
    with pytest.raises(SettingError, match=message):
        given(arguments)


@pytest.mark.parametrize("batch", [1, 2, 5, 16, 33, 100])
@pytest.mark.parametrize("classes", [1, 2, 3, 7, 16, 21])
def test_passes_fill_the_vectors_of_a_cpu_and_groups_are_whole_passes(batch, classes):
    found = given({"batch_size": batch})
    size, group = found.chips_in_pass(classes), found.group(classes)
    assert size >= max(batch, 4)
    assert size < batch + 16
    assert size * classes % 16 == 0
    assert group % size == 0
    assert group >= GROUP
