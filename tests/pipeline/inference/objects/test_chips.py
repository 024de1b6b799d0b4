"""What a chip finds is put where it lies on the raster; what is only a mirror image is left out."""

import numpy as np
import pytest
import shapely
from hypothesis import given, strategies as st

from rasterloom.pipeline.inference.objects.chips import candidates_of
from rasterloom.pipeline.inference.objects.finds import Finds
from rasterloom.pipeline.seams.candidates import Candidates, ChipViews

VIEWS = ChipViews(tile=32, padding=8, shape=(100, 90))


def _found(*boxes: tuple[float, ...], masks: np.ndarray | None = None) -> Finds:
    count = len(boxes)
    found = Finds(
        boxes=np.array(boxes, float).reshape(-1, 4),
        labels=np.ones(count, np.int32),
        scores=np.full(count, 0.9, np.float32),
        unusable=0,
    )
    if masks is not None:
        found["masks"] = masks
    return found


def _of(place: tuple[int, int], found: Finds, valid: np.ndarray | None = None) -> Candidates:
    return candidates_of([found], np.array([place]), VIEWS, valid)


def test_a_box_is_moved_to_its_place_on_the_raster():
    found = _of((2, 1), _found((10, 11, 20, 22)))
    assert found.boxes.tolist() == [[16 - 8 + 10, 32 - 8 + 11, 16 - 8 + 20, 32 - 8 + 22]]
    assert found.chips.tolist() == [[2, 1]]
    assert not found.cut.any()


@pytest.mark.parametrize(
    ("place", "box", "cut"),
    [
        ((2, 2), (0, 5, 9, 9), [True, False, False, False]),
        ((2, 2), (1.5, 1.5, 9, 9), [True, True, False, False]),
        ((2, 2), (5, 5, 31, 32), [False, False, True, True]),
        ((0, 0), (8, 8, 12, 12), [False, False, False, False]),  # where the raster ends, nothing is cut
    ],
)
def test_a_box_is_cut_where_the_view_ends_and_the_raster_goes_on(place, box, cut):
    assert _of(place, _found(box)).cut.tolist() == [cut]


def test_a_thing_at_the_rasters_edge_is_what_lies_on_the_raster():
    # with its mirror image it is twice as large
    assert _of((0, 0), _found((2, 2, 14, 14))).boxes.tolist() == [[0, 0, 6, 6]]


def test_mirror_images_are_left_out():
    assert len(_of((0, 0), _found((0, 10, 7, 20), (10, 0, 20, 9)))) == 0


def test_a_thing_as_large_as_the_raster_is_kept_however_often_it_is_mirrored():
    small = ChipViews(tile=64, padding=20, shape=(10, 10))
    found = candidates_of([_found((0, 0, 64, 64))], np.array([(0, 0)]), small)
    assert found.boxes.tolist() == [[0, 0, 10, 10]]


def test_a_box_of_any_size_ends_where_its_chip_does():
    found = _of((2, 2), _found((-1e9, -5, 1e12, 40)))
    assert found.boxes.tolist() == [[24, 24, 56, 56]]
    assert found.cut.all()


def test_what_shows_no_valid_pixel_is_left_out():
    valid = np.zeros((1, 32, 32), bool)
    valid[0, 10, 10] = True
    found = _of((2, 2), _found((10, 10, 12, 12), (11, 11, 20, 20), (9.5, 9.5, 10.5, 10.5)), valid)
    assert (found.boxes[:, 0] - 24).tolist() == [10, 9.5]


@given(seed=st.integers(0, 50), density=st.floats(0.05, 0.95))
def test_an_outline_holds_the_pixels_of_its_mask_and_no_others(seed, density):
    mask = np.random.default_rng(seed).random((1, 32, 32)) < density
    (outline,) = shapely.from_wkb(_of((2, 2), _found((0, 0, 32, 32), masks=mask)).outlines)
    rows, cols = np.mgrid[:32, :32] + 0.5
    assert (shapely.contains_xy(outline, cols + 24, rows + 24) == mask[0]).all()
    assert outline.is_valid
    assert outline.area == mask.sum()


def test_an_outline_ends_with_the_raster():
    mask = np.ones((1, 32, 32), bool)
    (outline,) = shapely.from_wkb(_of((0, 0), _found((0, 0, 32, 32), masks=mask)).outlines)
    assert outline.equals(shapely.box(0, 0, 24, 24))
    assert shapely.get_num_coordinates(outline) == 5


def test_without_findings_there_is_nothing():
    assert len(_of((0, 0), _found())) == 0
