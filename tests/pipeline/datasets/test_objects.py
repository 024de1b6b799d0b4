"""Objects move with their chips."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from rasterloom.pipeline.datasets.augment import Augmentation
from rasterloom.pipeline.datasets.lots import Lot
from rasterloom.pipeline.datasets.moving import moved_objects, outline_boxes
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.datasets.samples import RawBatch
from rasterloom.pipeline.datasets.views import NUMBERS, centre_views, draw_views
from tests.pipeline.datasets.stores import (
    THINGS,
    bounds,
    boxed_objects,
    outlined_objects,
    square_chips,
    toy_chips,
    write_store,
)

CPU = torch.device("cpu")
STRONG = Augmentation(share=1.0, zoom=1.5, rotation=30.0)


def raw_batch(images, objects, limits=None):
    frames = np.tile(np.array(images.shape[-2:]), (len(images), 1))
    limits = frames if limits is None else limits
    return RawBatch(images, np.arange(len(images)), limits, frames, objects=objects)


def views_of(raw, *, size, augmentation, seed=0):
    numbers = Lot(seed).numbers(raw.places, np.zeros(len(raw), int), NUMBERS)
    return draw_views(numbers, limits=raw.limits, size=size, augmentation=augmentation)


@settings(max_examples=25)
@given(seed=st.integers(0, 9999), share=st.sampled_from([0.0, 1.0]), size=st.integers(16, 36))
def test_boxes_and_outlines_bound_the_same_pixels_after_a_move(seed, share, size):
    """The pixels of each square are told by their colour: the moved image says where it is."""
    images, outlines, values = square_chips(4, seed=seed)
    augmentation = Augmentation(share=share, zoom=1.4, rotation=25.0)
    objects = outlined_objects(outlines, values)
    raw = raw_batch(images, objects)
    views = views_of(raw, size=(size, size), augmentation=augmentation, seed=seed)
    seen = views.of(torch.from_numpy(images), smooth=False).numpy()
    targets = moved_objects(raw, objects, views, None, CPU)
    for chip, target in enumerate(targets):
        expected = []
        for number, value in enumerate(values[chip]):
            pixels = seen[chip, 0] == 100 + 50 * number
            whole = outlines[chip][number].sum() * views.zooms[chip] ** 2
            if pixels.any() and pixels.sum() >= whole / 4:
                expected.append((value, pixels))
        assert target["labels"].tolist() == [value for value, _ in expected]
        for place, (_, pixels) in enumerate(expected):
            assert (target["masks"][place].numpy() == pixels).all()
            assert target["boxes"][place].tolist() == bounds(pixels)


@settings(max_examples=25)
@given(seed=st.integers(0, 9999), zoom=st.floats(1, 2), size=st.integers(16, 40))
def test_boxes_alone_bound_the_pixels_that_are_left_of_them(seed, zoom, size):
    images, outlines, values = square_chips(4, seed=seed)
    boxes = [[bounds(mask) for mask in chip] for chip in outlines]
    objects = boxed_objects(boxes, values)
    raw = raw_batch(images, objects)
    augmentation = Augmentation(share=0.5, zoom=zoom, rotation=0.0)
    views = views_of(raw, size=(size, size), augmentation=augmentation, seed=seed)
    seen = views.of(torch.from_numpy(images), smooth=False).numpy()
    for chip, target in enumerate(moved_objects(raw, objects, views, None, CPU)):
        assert set(target) == {"boxes", "labels"}
        assert target["boxes"].dtype == torch.float32
        found = [(seen[chip, 0] == 100 + 50 * number) for number in range(len(values[chip]))]
        for box, label in zip(target["boxes"].numpy(), target["labels"].tolist(), strict=True):
            near = [
                pixels
                for pixels, value in zip(found, values[chip], strict=True)
                if value == label
                and pixels.any()
                and np.abs(np.array(bounds(pixels)) - box).max() <= 0.5 + 1e-4
            ]
            assert near, "no square of this class is where the box is"
        assert (target["boxes"].numpy() >= 0).all()
        assert (target["boxes"].numpy() <= size).all()


@pytest.mark.parametrize(
    ("box", "left"),
    [
        ((4, 4, 8, 8), (0, 0, 4, 4)),  # inside the middle
        ((3, 4, 7, 8), (0, 0, 3, 4)),  # three quarters
        ((1, 4, 5, 8), (0, 0, 1, 4)),  # a quarter, and one pixel
        ((0, 4, 4.9, 8), None),  # less than a quarter
        ((3.5, 4, 4.5, 8), None),  # half of it, but less than a pixel
        ((0, 0, 3, 3), None),  # nothing
    ],
)
def test_an_object_is_dropped_when_little_is_left_of_it(box, left):
    objects = boxed_objects([[box]], [[1]])
    raw = raw_batch(np.zeros((1, 1, 12, 12), np.uint8), objects)
    views = centre_views(limits=raw.limits, size=(4, 4))
    (target,) = moved_objects(raw, objects, views, None, CPU)
    assert target["boxes"].tolist() == ([] if left is None else [list(left)])
    assert target["boxes"].shape == (0 if left is None else 1, 4)


def test_chips_without_objects_have_empty_targets():
    for objects in (boxed_objects([[], []], [[], []]), outlined_objects([np.zeros((0, 8, 8))] * 2, [[], []])):
        raw = raw_batch(np.zeros((2, 1, 8, 8), np.uint8), objects)
        for target in moved_objects(raw, objects, centre_views(limits=raw.limits, size=(4, 4)), None, CPU):
            assert target["boxes"].shape == (0, 4)
            assert target["labels"].shape == (0,)
            assert "masks" not in target or target["masks"].shape == (0, 4, 4)


def test_resizing_takes_boxes_and_outlines_along():
    """Chips of two sizes, the smaller one filled up with zeros, all brought to 20 x 40."""
    mask = np.zeros((1, 10, 10), bool)
    mask[0, 2:4, 1:5] = True
    limits = np.array([[10, 10], [5, 10]])
    expected = [[4, 4, 20, 8], [4, 8, 20, 16]]
    outlined = outlined_objects([mask, mask], [[1], [1]])
    boxed = boxed_objects([[[1, 2, 5, 4]]] * 2, [[1]] * 2)
    for objects in (outlined, boxed):
        raw = raw_batch(np.zeros((2, 1, 10, 10), np.uint8), objects, limits)
        views = centre_views(limits=np.array([[20, 40]] * 2), size=(20, 40))
        targets = moved_objects(raw, objects, views, (20, 40), CPU)
        assert [target["boxes"][0].tolist() for target in targets] == expected
        if "masks" in targets[0]:
            assert [bounds(t["masks"][0].numpy()) for t in targets] == expected


def test_boxes_of_outlines_are_found():
    masks = torch.zeros((2, 6, 8), dtype=torch.uint8)
    masks[0, 1:3, 4:8] = 1
    masks[1, 5, 0] = 1
    assert outline_boxes(masks).tolist() == [[4, 1, 8, 3], [0, 5, 1, 6]]


def test_sizes_of_objects_are_those_of_the_chips_to_train_on_as_the_network_sees_them(tmp_path):
    boxes = [[[0, 0, 4, 8], [10, 10, 16, 12]], [], [[1, 2, 11, 7]], [[0, 0, 3, 3]]]
    objects = boxed_objects(boxes, [[2, 7], [], [2], [7]])
    path = write_store(
        tmp_path / "chips.zarr",
        np.zeros((4, 3, 32, 32), np.uint8),
        objects=objects,
        classes=THINGS,
        metadata_format="PASCAL_VOC_rectangles",
        split=("train", "train", "train", "val"),
    )
    sizes = prepare_data(path, chip_size=32).object_sizes
    assert sorted(sizes.tolist()) == [[4, 8], [6, 2], [10, 5]]
    resized = prepare_data(path, chip_size=64, resize_to=64).object_sizes
    assert sorted(resized.tolist()) == [[8, 16], [12, 4], [20, 10]]


def test_chips_without_objects_have_no_sizes(tmp_path):
    path = write_store(tmp_path / "chips.zarr", *toy_chips(4))
    assert prepare_data(path, chip_size=32).object_sizes.shape == (0, 2)
