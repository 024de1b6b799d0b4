import numpy as np
import pytest

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.video.draw import VisualOptions, caption, drawn
from rasterloom.pipeline.inference.video.vmti import Target

CAR = Target((20.0, 40.0, 60.0, 70.0), "car", 0.875, 3)
BARE = VisualOptions(show_labels=False, show_scores=False, thickness=1, color=(1, 2, 250))
DARK = np.zeros((100, 120, 3), np.uint8)


def test_a_box_is_drawn_on_its_outermost_pixels_and_nowhere_else():
    picture = drawn(DARK, [Target((20.0, 40.0, 60.0, 70.0), "car", 0.5)], BARE)
    expected = np.zeros((100, 120), bool)
    expected[40:70, 20:60] = True
    expected[41:69, 21:59] = False
    assert (picture.any(axis=2) == expected).all()
    assert (picture[expected] == (1, 2, 250)).all()
    assert not DARK.any()


def test_thick_lines_cover_more():
    count = [
        int(drawn(DARK, [CAR], VisualOptions(thickness=t, show_labels=False)).any(axis=2).sum())
        for t in (1, 2, 4)
    ]
    assert count == sorted(set(count))


def test_labels_scores_and_fonts_change_the_picture():
    options = [
        VisualOptions(),
        VisualOptions(show_labels=False),
        VisualOptions(show_scores=False),
        VisualOptions(show_labels=False, show_scores=False),
        VisualOptions(fontface=1),
        VisualOptions(fontface=2),
    ]
    assert len({drawn(DARK, [CAR], option).tobytes() for option in options}) == len(options)


def test_the_text_of_a_box_in_a_corner_stays_in_the_frame():
    for box in ((0, 0, 20, 10), (110, 0, 120, 10), (100, 90, 120, 100)):
        with_text = drawn(DARK, [Target(box, "car", 0.5)], VisualOptions(thickness=1))
        without = drawn(
            DARK, [Target(box, "car", 0.5)], VisualOptions(thickness=1, show_labels=False, show_scores=False)
        )
        written = (with_text != without).any(axis=2)
        middle = np.argwhere(written)
        assert len(middle) > 100  # all of "car 0.50", not its edge


def test_what_stands_beside_a_box():
    assert caption(CAR, VisualOptions()) == "3: car 0.88"
    assert caption(Target((0, 0, 1, 1), "Bäume", 0.5), VisualOptions()) == "B?ume 0.50"
    assert caption(Target((0, 0, 1, 1), "car", 0.5), BARE) == ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"colour": (1, 2, 3)}, "it knows color, fontface"),
        ({"color": (1, 2)}, r"use \(blue, green, red\)"),
        ({"color": (1, 2, 300)}, "each 0 to 255"),
        ({"color": "red"}, "each 0 to 255"),
        ({"fontface": 9}, "0 to 7"),
        ({"thickness": 0}, "1 or more"),
    ],
)
def test_options_that_cannot_work_are_refused(options, told):
    with pytest.raises(SettingError, match=told):
        VisualOptions.read(options)


def test_options_that_are_not_named_stay_as_they_are():
    assert VisualOptions.read({"color": [1, 2, 3]}) == VisualOptions(color=(1, 2, 3))
    assert VisualOptions.read(None) == VisualOptions()
