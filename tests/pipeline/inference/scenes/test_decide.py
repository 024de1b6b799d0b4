"""From probabilities to labels."""

from types import SimpleNamespace

import numpy as np

from rasterloom.models.contract import ClassInfo
from rasterloom.pipeline.inference.scenes.arguments import SceneArguments
from rasterloom.pipeline.inference.scenes.decide import labels_of

CLASSES = tuple(ClassInfo(value, name, (0, 0, 0)) for value, name in ((3, "a"), (5, "b"), (9, "c")))
SHARES = np.array([[0.2, 0.7, 0.1], [0.4, 0.35, 0.25], [0.9, 0.8, 0.6], [0.1, 0.2, 0.3]])


def choice(threshold: float, *, several: bool = False):
    given = SceneArguments(tile_size=8, batch_size=4, score_threshold=threshold)
    return SimpleNamespace(classes=CLASSES, several=several, arguments=given)


def test_the_most_probable_class_is_the_label():
    labels, confidences = labels_of(choice(0), SHARES)
    assert labels == ["b", "a", "a", "c"]
    assert confidences.tolist() == [0.7, 0.4, 0.9, 0.3]


def test_what_is_less_certain_than_wanted_gets_no_label_and_keeps_its_confidence():
    labels, confidences = labels_of(choice(0.4), SHARES)
    assert labels == ["b", "a", "a", None]
    assert confidences[3] == 0.3


def test_of_several_labels_all_that_are_certain_enough_are_given_and_perhaps_none():
    labels, confidences = labels_of(choice(0.5, several=True), SHARES)
    assert labels == ["b", "", "a,b,c", ""]
    assert confidences.tolist() == [0.7, 0.4, 0.9, 0.3]


def test_a_probability_that_is_no_number_leaves_no_confidence():
    labels, confidences = labels_of(choice(0), np.array([[0.2, np.nan, 0.3], [0.1, 0.2, 0.7]]))
    assert np.isnan(confidences).tolist() == [True, False]
    assert labels[1] == "c"
