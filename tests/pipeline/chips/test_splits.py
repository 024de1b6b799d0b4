import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from rasterloom.models.errors import CrsError, SettingError
from rasterloom.pipeline.chips.splits import Split, check_split, on_lattice, split_chips
from rasterloom.pipeline.rasters.grid import Grid


def squares(rows, cols, side):
    row, col = (v.ravel() for v in np.meshgrid(rows, cols, indexing="ij"))
    right, down = np.array([0, side, side, 0]), np.array([0, 0, side, side])
    return np.stack([col[:, None] + right, row[:, None] + down], axis=-1).astype(float)


@settings(max_examples=30, deadline=None)
@given(
    block=st.integers(12, 60),
    seed=st.integers(0, 9),
    first=st.floats(0.1, 0.9),
    origin=st.integers(-500, 500),
)
def test_chips_of_two_parts_are_two_pixels_apart(block, seed, first, origin):
    places = squares(np.arange(0, 240, 7) + origin, np.arange(0, 240, 7), 10)
    parts = split_chips(places, Split((first, 1 - first, 0.0), block, seed))
    assert set(parts.tolist()) <= {0, 1, 2}
    one, other = places[parts == 1], places[parts == 2]
    if len(one) and len(other):
        low, high = one.min(axis=1)[:, None], one.max(axis=1)[:, None]
        gap = np.maximum(other.min(axis=1)[None] - high, low - other.max(axis=1)[None]).max(axis=-1)
        assert gap.min() >= 2


def test_chips_at_the_edge_of_a_raster_stay():
    corners = np.arange(0, 240, 10)
    places = squares(corners, corners, 10)
    parts = split_chips(places, Split((0.5, 0.5, 0.0), 60, 3))
    inside = ((places.min(axis=1) % 60 > 0) | (places.min(axis=1) == 0)) & (
        (places.max(axis=1) % 60 > 0) | (places.max(axis=1) == 240)
    )
    assert (parts[inside.all(axis=1)] > 0).all()


def test_shares_are_met_by_chips_and_not_by_ground():
    # nine in ten chips lie in a tenth of the ground
    places = np.concatenate([squares(range(0, 400, 2), range(40), 8), squares(range(0, 400, 8), [2000], 8)])
    parts = split_chips(places, Split((0.5, 0.25, 0.25), 20, 0))
    counts = np.bincount(parts, minlength=4)[1:]
    assert np.abs(counts / counts.sum() - [0.5, 0.25, 0.25]).max() < 0.05


def test_a_seed_gives_the_same_parts_again_and_another_others():
    places = squares(range(0, 300, 10), range(0, 300, 10), 10)
    first, again, other = (split_chips(places, Split((0.6, 0.4, 0.0), 50, seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_no_chips_at_all_have_no_parts():
    assert split_chips(np.zeros((1, 4, 2)), Split((0.5, 0.5, 0.0), 50, 0)).shape == (1,)


@pytest.mark.parametrize(
    ("given", "shares"),
    [
        ("80/10/10", (0.8, 0.1, 0.1)),
        ("80/20", (0.8, 0.2, 0.0)),
        ({"train": 3, "test": 1}, (0.75, 0.0, 0.25)),
    ],
)
def test_shares_are_read_in_any_form(given, shares):
    found = check_split(given, None, 7, (64, 32))
    assert found is not None
    assert found.shares == pytest.approx(shares)
    assert (found.block, found.seed) == (512, 7)


@pytest.mark.parametrize(
    ("split", "block", "seed", "words"),
    [
        ("100", None, 0, "80/10/10"),
        ("a/b", None, 0, "80/10/10"),
        ({"train": 1.0}, None, 0, "two or three shares"),
        ({"train": 0.5, "val": -0.5}, None, 0, "two or three shares"),
        ({"train": 0.5, "valid": 0.5}, None, 0, "train, val, test"),
        ("80/20", 64, 0, "66 or more"),
        ("80/20", 100.5, 0, "66 or more"),
        ("80/20", None, -1, "0 or more"),
        (None, 512, 0, "without split"),
    ],
)
def test_a_split_that_cannot_work_is_answered_with_one_that_does(split, block, seed, words):
    with pytest.raises(SettingError, match=words):
        check_split(split, block, seed, (64, 64))


def test_sources_in_other_reference_systems_lie_on_the_same_ground():
    lattice = Grid("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0), 100, 100)
    there = Grid("EPSG:4326", (1e-4, 0.0, 15.0, 0.0, -1e-4, 45.15), 100, 100)
    places = np.array([[[15.0, 45.1511], [15.01, 45.1511], [15.01, 45.14], [15.0, 45.14]]])
    found = on_lattice(places, there, lattice)
    assert np.allclose(found[0, 0], [0.0, 0.0], atol=30)
    with pytest.raises(CrsError, match="too far apart"):
        on_lattice(np.array([[[500.0, 5000.0]]]), there, lattice)
