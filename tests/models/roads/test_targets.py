import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from rasterloom.models.losses.pixels import IGNORE_INDEX
from rasterloom.models.networks.roads import RoadSettings
from rasterloom.models.roads.targets import TargetMaker

SIDE = 48


def maker(*, outputs: int = 2, ignored: tuple[int, ...] = (), **changes) -> TargetMaker:
    return TargetMaker(RoadSettings(**changes), outputs=outputs, background=0, ignored=ignored)


def road(width: int, *, value: int = 1) -> torch.Tensor:
    """(1, SIDE, SIDE): a road from west to east in the middle."""
    labels = torch.zeros(1, SIDE, SIDE, dtype=torch.int64)
    first = (SIDE - width) // 2
    labels[:, first : first + width] = value
    return labels


def rows_of(classes: torch.Tensor, value: int = 1) -> int:
    return int((classes[0, :, SIDE // 2] == value).sum())


@given(seed=st.integers(0, 99))
@settings(deadline=None, max_examples=10)
def test_the_usual_threshold_leaves_every_label_as_it_is(seed):
    labels = torch.from_numpy(np.random.default_rng(seed).integers(-1, 3, (2, SIDE, SIDE)))
    assert torch.equal(maker(outputs=3)(labels).classes, labels)
    assert torch.equal(maker(outputs=3).classes(labels), labels)


@pytest.mark.parametrize("width", [3, 7, 11])
@pytest.mark.parametrize("height", [0.1, 0.3, 0.5, 0.9, 0.99])
def test_a_road_is_as_wide_as_the_bell_where_it_is_cut(width, height):
    # a bell that is 0.76 high at the side of the label
    spread = (width / 2) / np.sqrt(-2 * np.log(0.76))
    expected = 2 * spread * np.sqrt(-2 * np.log(height))
    assert abs(rows_of(maker(gaussian_thresh=height)(road(width)).classes) - expected) <= 1


def test_the_highest_threshold_leaves_the_centre_line_alone():
    assert rows_of(maker(gaussian_thresh=1.0).classes(road(9))) == 1
    assert rows_of(maker(gaussian_thresh=1.0).classes(road(1))) == 1


@given(heights=st.lists(st.floats(0.05, 1.0), min_size=2, max_size=2), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=15)
def test_a_lower_threshold_never_makes_a_road_narrower(heights, seed):
    random = np.random.default_rng(seed)
    labels = torch.zeros(1, SIDE, SIDE, dtype=torch.int64)
    for first in random.integers(0, SIDE - 9, 2):
        labels[:, first : first + random.integers(1, 9)] = 1
    low, high = sorted(heights)
    wide, narrow = (maker(gaussian_thresh=height).classes(labels) for height in (low, high))
    assert bool(((wide == 1) | (narrow != 1)).all())


def test_a_wider_road_covers_background_alone():
    labels = road(5)
    labels[:, :18] = 2  # ignored
    labels[:, 30:] = -1  # unknown
    found = maker(outputs=3, ignored=(2,), gaussian_thresh=0.05)(labels).classes
    assert bool((found[:, :18] == 2).all())
    assert bool((found[:, 30:] == -1).all())
    assert bool((found[:, 18:30] == 1).all())


@pytest.mark.parametrize("theta", [1, 4, 9])
def test_pixels_as_near_as_theta_have_the_orientation_and_others_none(theta):
    found = maker(orient_theta=theta)(road(5)).orientations[0]
    distance = torch.arange(SIDE) - SIDE // 2
    near = distance.abs() <= theta - 1  # the centre of the road may be a pixel aside
    far = distance.abs() > theta + 1
    assert bool((found[near] == 1).all())
    assert bool((found[far] == 0).all())
    assert int((found[:, SIDE // 2] == 1).sum()) == 2 * theta + 1


@pytest.mark.parametrize(("size", "count"), [(10, 18), (20, 9), (45, 4), (50, 4), (90, 2)])
def test_orientations_are_counted_against_the_clock_from_east(size, count):
    settings = RoadSettings(orient_bin_size=size)
    assert settings.orientations == count
    make = maker(orient_bin_size=size)
    rising = torch.zeros(1, SIDE, SIDE, dtype=torch.int64)
    for row in range(SIDE):
        rising[0, row, max(0, SIDE - row - 4) : SIDE - row + 3] = 1
    middle = (0, SIDE // 2, SIDE // 2)
    assert make(road(5)).orientations[middle] == 1
    assert make(rising).orientations[middle] == 1 + round(45 / (180 / count))
    upright = int(make(road(5).transpose(1, 2)).orientations[middle])
    assert upright in {1 + count // 2, 1 + (count + 1) // 2}


def test_crossings_ignored_classes_and_unknown_pixels_teach_no_orientation():
    labels = torch.maximum(road(5), road(5).transpose(1, 2))
    labels[:, :4] = 2
    labels[:, -4:] = -1
    found = maker(outputs=3, ignored=(2,))(labels).orientations[0]
    assert found[SIDE // 2, SIDE // 2] == IGNORE_INDEX
    assert bool((found[:4] == IGNORE_INDEX).all())
    assert bool((found[-4:] == IGNORE_INDEX).all())
    assert found[SIDE // 2, 8] == 1


def test_chips_do_not_depend_on_their_batch():
    batch = torch.cat([road(3), torch.zeros(1, SIDE, SIDE, dtype=torch.int64), road(9).transpose(1, 2)])
    make = maker(gaussian_thresh=0.5)
    whole = make(batch)
    for number in range(3):
        alone = make(batch[number : number + 1])
        assert torch.equal(alone.classes[0], whole.classes[number])
        assert torch.equal(alone.orientations[0], whole.orientations[number])
    assert not whole.orientations[1].any()
