"""Transforms of torchvision and kornia move everything of a chip together."""

import warnings

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from rasterloom.models.errors import SettingError
from rasterloom.pipeline.datasets.moving import Seen, outline_boxes
from rasterloom.pipeline.datasets.prepare import prepare_data
from rasterloom.pipeline.datasets.transforms import moving_transform
from tests.pipeline.datasets.stores import square_chips, toy_chips, write_store

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # kornia warns of names of its own when it is imported
    kornia = pytest.importorskip("kornia.augmentation")

LIBRARIES = {
    "torchvision": lambda: v2.Compose(
        [v2.RandomHorizontalFlip(0.5), v2.RandomVerticalFlip(0.5), v2.RandomAffine(20, translate=(0.1, 0.1))]
    ),
    "kornia": lambda: kornia.AugmentationSequential(
        kornia.RandomHorizontalFlip(p=0.5),
        kornia.RandomVerticalFlip(p=0.5),
        kornia.RandomAffine(20, translate=(0.1, 0.1), p=1.0),
        data_keys=None,
    ),
}


def seen_squares(count, *, outlines=True, seed=0):
    """Images in which square k of a chip has the colour 100 + 50 k, as a batch from 0 to 1."""
    images, masks, values = square_chips(count, seed=seed)
    objects = []
    for chip, labels in zip(masks, values, strict=True):
        drawn = torch.from_numpy(chip.astype(np.uint8))
        target = {"boxes": outline_boxes(drawn), "labels": torch.tensor(labels)}
        objects.append({**target, "masks": drawn} if outlines else target)
    seen = torch.from_numpy(images).float() / 255
    classes = torch.from_numpy((images[:, 0] >= 100).astype(np.int64) * 3)
    return Seen(images=seen, images2=seen.flip(1) * 0.5, masks=classes, objects=objects)


@pytest.mark.parametrize("library", LIBRARIES)
def test_masks_outlines_and_second_images_follow_the_image(library):
    torch.manual_seed(0)
    before = seen_squares(8)
    after = moving_transform(LIBRARIES[library]())(before)
    assert after.images.shape == before.images.shape
    assert not torch.equal(after.images, before.images)
    torch.testing.assert_close(after.images2, after.images.flip(1) * 0.5, atol=1e-5, rtol=0)
    bright = after.images[:, 0] > 0.25
    assert ((after.masks == 3) == bright).float().mean() > 0.97
    assert set(after.masks.unique().tolist()) == {0, 3}
    for chip, target in enumerate(after.objects):
        assert len(target["labels"]) == len(target["masks"]) == len(target["boxes"]) > 0
        together = target["masks"].amax(dim=0) > 0
        assert (together == bright[chip]).float().mean() > 0.97
        assert torch.equal(target["boxes"], outline_boxes(target["masks"]))


@pytest.mark.parametrize("library", LIBRARIES)
def test_boxes_alone_follow_the_image(library):
    torch.manual_seed(1)
    after = moving_transform(LIBRARIES[library]())(seen_squares(8, outlines=False))
    for chip, target in enumerate(after.objects):
        assert set(target) == {"boxes", "labels"}
        inside = torch.zeros(40, 40, dtype=torch.bool)
        for left, top, right, bottom in target["boxes"].round().long().tolist():
            inside[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = True
        assert not (after.images[chip, 0] > 0.3)[~inside].any()
        assert target["boxes"].min() >= 0
        assert target["boxes"].max() <= 40


@pytest.mark.parametrize("library", LIBRARIES)
def test_chips_are_changed_each_in_its_own_way(library):
    torch.manual_seed(2)
    one = seen_squares(1)
    many = Seen(images=one.images.repeat(12, 1, 1, 1))
    after = moving_transform(LIBRARIES[library]())(many)
    assert len({chip.numpy().tobytes() for chip in after.images}) > 6


@pytest.mark.parametrize(
    "make",
    [
        lambda: v2.RandomHorizontalFlip(1.0),
        lambda: kornia.RandomHorizontalFlip(p=1.0),
        lambda: kornia.ImageSequential(kornia.RandomHorizontalFlip(p=1.0)),
    ],
)
def test_single_transforms_are_known_too(make):
    before = seen_squares(3)
    after = moving_transform(make())(before)
    torch.testing.assert_close(after.images, before.images.flip(-1))
    assert torch.equal(after.masks, before.masks.flip(-1))
    for ours, theirs in zip(after.objects, before.objects, strict=True):
        assert torch.equal(ours["masks"], theirs["masks"].flip(-1))


def test_plain_functions_are_none_of_them():
    assert moving_transform(None) is None
    assert moving_transform(lambda images, targets: (images, targets)) is None


def test_objects_that_leave_the_image_are_dropped():
    before = seen_squares(4, outlines=False)
    after = moving_transform(v2.Pad([40, 0, 0, 0]))(before)
    cut = moving_transform(v2.Compose([v2.Pad([40, 0, 0, 0]), v2.CenterCrop((40, 40))]))(before)
    assert [len(t["labels"]) for t in after.objects] == [len(t["labels"]) for t in before.objects]
    assert sum(len(t["labels"]) for t in cut.objects) < sum(len(t["labels"]) for t in before.objects)


def test_chips_of_different_sizes_are_refused():
    with pytest.raises(SettingError, match="end them with a Resize"):
        moving_transform(v2.RandomResize(20, 60))(seen_squares(8))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_data_is_normalised_after_the_transform(tmp_path, library, dtype):
    store = write_store(tmp_path / "toy.zarr", *toy_chips(8, dtype=dtype))
    still = {"torchvision": v2.Identity(), "kornia": kornia.RandomHorizontalFlip(p=0.0)}[library]
    plain = prepare_data(store, chip_size=24, transforms=(None, None), batch_size=4)
    changed = prepare_data(store, chip_size=24, transforms=(still, still), batch_size=4)
    for loader in ("train_loader", "valid_loader"):
        for ours, theirs in zip(getattr(changed, loader)(), getattr(plain, loader)(), strict=True):
            torch.testing.assert_close(ours[0], theirs[0], atol=2e-5, rtol=0)
            assert torch.equal(ours[1], theirs[1])
            assert ours[0].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_same_epoch_gives_the_same_batches(tmp_path, library):
    store = write_store(tmp_path / "toy.zarr", *toy_chips(8))
    data = prepare_data(store, chip_size=24, transforms=(LIBRARIES[library](), None), batch_size=4)
    first, second = ([images for images, _ in data.train_loader()] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
