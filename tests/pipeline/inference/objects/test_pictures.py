import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings, strategies as st

from rasterloom.models.contract import Task
from rasterloom.models.errors import ModelMismatchError, SettingError
from rasterloom.pipeline.inference.objects.pictures import (
    Looking,
    Picture,
    PictureFinder,
    looking_with,
    picture_of,
)
from tests.support.videos import BrightFinder, scene


def picture(size, boxes, color=(200, 200, 200)):
    return Picture(np.moveaxis(scene(size, boxes, color), -1, 0))


@st.composite
def scenes(draw):
    """A size, and rectangles on a lattice of their own, so that none touches another."""
    tile = draw(st.sampled_from([32, 48]))
    step = tile // 2
    cols, rows = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    boxes = []
    for col in range(cols):
        for row in range(rows):
            if draw(st.booleans()):
                width, height = draw(st.integers(3, step - 4)), draw(st.integers(3, step - 4))
                x, y = (
                    col * step + draw(st.integers(0, step - 2 - width)),
                    row * step + draw(st.integers(0, 1)),
                )
                boxes.append((x, y, x + width, y + height))
    extra = draw(st.integers(0, 9))
    return tile, (cols * step + extra, rows * step), boxes


@settings(max_examples=60, deadline=None)
@given(scenes(), st.integers(1, 5))
def test_things_no_larger_than_the_overlap_are_found_once_at_their_pixels(made, batch_size):
    tile, size, boxes = made
    finder = PictureFinder(BrightFinder(tile=tile), Looking(batch_size=batch_size))
    (found,) = finder.find([picture(size, boxes)])
    assert sorted(map(tuple, found.boxes.tolist())) == sorted(map(tuple, map(np.float64, boxes)))
    assert not found.cut.any()


def test_a_thing_longer_than_a_chip_is_joined():
    box = (5, 10, 190, 25)
    (found,) = PictureFinder(BrightFinder(tile=32, masks=True), Looking()).find([picture((200, 64), [box])])
    assert found.boxes.tolist() == [list(box)]
    assert shapely.from_wkb(found.outlines[0]).equals(shapely.box(*box))


def test_every_batch_has_the_full_shape_whatever_is_left():
    model = BrightFinder(tile=32)
    PictureFinder(model, Looking(batch_size=4)).find([picture((70, 40), [])])
    assert set(model.seen) == {(4, 3, 32, 32)}
    assert len(model.seen) == 4  # five by three chips


def test_chips_of_several_pictures_share_batches():
    boxes = [[(5, 5, 15, 15)], [], [(40, 8, 60, 20), (2, 2, 9, 30)]]
    sizes = [(40, 30), (20, 20), (90, 35)]
    model = BrightFinder(tile=32)
    pictures = [picture(size, some) for size, some in zip(sizes, boxes, strict=True)]
    several = PictureFinder(model, Looking(batch_size=4)).find(pictures)
    assert len(model.seen) == -(-(3 * 2 + 2 * 2 + 6 * 3) // 4)
    for found, alone in zip(several, pictures, strict=True):
        (single,) = PictureFinder(BrightFinder(tile=32), Looking()).find([alone])
        assert found.boxes.tolist() == single.boxes.tolist()
    assert [len(found) for found in several] == [1, 0, 2]


def test_a_resized_picture_is_seen_once_and_answers_in_its_own_pixels():
    model = BrightFinder(tile=64, masks=True)
    box = (40, 20, 120, 60)
    (found,) = PictureFinder(model, Looking(resize=True)).find([picture((256, 128), [box])])
    assert model.seen == [(1, 3, 64, 64)]
    assert np.abs(found.boxes - [box]).max() <= 4
    outline = shapely.from_wkb(found.outlines[0])
    assert np.abs(np.array(outline.bounds) - box).max() <= 4
    assert outline.area == pytest.approx(80 * 40, rel=0.1)


def test_pixels_that_hold_nothing_hold_no_things():
    seen = picture((64, 64), [(5, 5, 15, 15), (40, 40, 50, 50)])
    valid = np.ones((64, 64), bool)
    valid[:20, :20] = False
    for resize in (False, True):
        (found,) = PictureFinder(BrightFinder(tile=64), Looking(resize=resize)).find(
            [Picture(seen.pixels, valid)]
        )
        assert found.boxes.tolist() == [[40, 40, 50, 50]]


def test_augmented_looks_find_the_same():
    boxes = [(5, 5, 15, 25), (40, 40, 60, 50)]
    (found,) = PictureFinder(BrightFinder(tile=64), Looking(augmented=True)).find([picture((100, 80), boxes)])
    assert sorted(found.boxes.tolist()) == sorted(map(list, boxes))


def test_things_without_a_score_are_told_of_and_left_out():
    model = BrightFinder(tile=64)
    right = model._found

    def wrong(image, threshold):
        found = right(image, threshold)
        found["scores"][:1] = float("nan")
        return found

    model._found = wrong
    seen = picture((64, 64), [(5, 5, 9, 9), (30, 30, 40, 40)])
    with pytest.warns(UserWarning, match=r"things are left out: .* no number"):
        (found,) = PictureFinder(model, Looking(resize=True)).find([seen])
    assert found.boxes.tolist() == [[30, 30, 40, 40]]


def test_a_picture_with_more_bands_is_seen_in_those_of_the_training():
    model = BrightFinder()
    pixels = np.arange(5 * 4).reshape(5, 2, 2).astype(np.uint8)
    assert (picture_of(pixels, model, "it").pixels == pixels[:3]).all()
    with pytest.raises(ModelMismatchError, match=r"it has 2 bands, and .* 3 \(red, green, blue\)"):
        picture_of(pixels[:2], model, "it")


def test_pixels_that_are_no_numbers_are_not_valid():
    pixels = np.ones((3, 4, 4), np.float64)
    pixels[1, 2, 3] = np.nan
    seen = picture_of(pixels, BrightFinder(), "it")
    assert seen.pixels.dtype == np.float32
    assert np.argwhere(~seen.valid).tolist() == [[2, 3]]
    assert picture_of(np.ones((3, 4, 4), np.uint16), BrightFinder(), "it").pixels.dtype == np.float32


def test_a_model_trains_on_where_it_was_after_it_looked():
    model = BrightFinder()
    model.network = torch.nn.Sequential(model.network, torch.nn.BatchNorm2d(1).eval()).train()
    model.network[1].eval()
    with looking_with(model, Looking()):
        assert not model.network.training
    assert (model.network.training, model.network[0].training, model.network[1].training) == (
        True,
        True,
        False,
    )


def test_a_model_for_something_else_is_refused():
    import dataclasses

    model = BrightFinder()
    model.spec = dataclasses.replace(model.spec, task=Task.PIXELS)
    with pytest.raises(SettingError, match="use a model that finds objects"), looking_with(model, Looking()):
        pass
