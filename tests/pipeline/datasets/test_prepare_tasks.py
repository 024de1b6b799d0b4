"""What prepare_data makes of chips of every kind."""

import numpy as np
import pytest
import torch

from rasterloom.models.contract import ClassInfo, Task
from rasterloom.models.errors import ModelMismatchError, SettingError, StoreError
from rasterloom.pipeline.datasets.prepare import prepare_data
from tests.pipeline.datasets.stores import (
    CLASSES,
    COUNT,
    THINGS,
    bounds,
    numbered_chips,
    square_chips,
    write_store,
)


@pytest.mark.parametrize("kind", ["KITTI_rectangles", "PASCAL_VOC_rectangles", "YOLO"])
def test_boxes_come_as_detectors_take_them(stores, kind):
    data = prepare_data(stores[kind], chip_size=32, batch_size=4)
    images, targets = next(iter(data.train_dl))
    assert images.shape == (4, 3, 32, 32)
    assert data.form.task == Task.OBJECTS
    assert data.classes == THINGS
    assert data.output_values == (0, 2, 7)
    assert data.c == 3
    for target in targets:
        assert set(target) == {"boxes", "labels"}
        assert target["boxes"].dtype == torch.float32
        assert target["labels"].dtype == torch.int64
        assert set(target["labels"].tolist()) <= {1, 2}
        assert (target["boxes"][:, 2:] > target["boxes"][:, :2]).all()


def test_untouched_boxes_are_those_of_the_store(stores):
    data = prepare_data(stores["YOLO"], transforms=False, val_split_pct=0.5, batch_size=12)
    _, outlines, values = square_chips(COUNT)
    for indices, loader in ((data.valid.indices, data.valid_dl),):
        (_, targets) = next(iter(loader))
        for chip, target in zip(indices, targets, strict=True):
            assert target["boxes"].tolist() == [bounds(m) for m in outlines[chip]]
            assert target["labels"].tolist() == [{2: 1, 7: 2}[v] for v in values[chip]]


@pytest.mark.parametrize("kind", ["RCNN_Masks", "COCO"])
def test_outlines_come_with_their_boxes(stores, kind):
    data = prepare_data(stores[kind], chip_size=32, batch_size=12)
    images, targets = next(iter(data.train_dl))
    assert any(len(target["labels"]) for target in targets)
    for image, target in zip(images, targets, strict=True):
        assert target["masks"].dtype == torch.uint8
        assert target["masks"].shape == (len(target["labels"]), 32, 32)
        for mask, box in zip(target["masks"].numpy(), target["boxes"].tolist(), strict=True):
            assert box == bounds(mask)
            inner = torch.from_numpy(mask).bool()
            if inner.sum() > 30:  # squares are brighter than the ground
                assert image[0][inner].mean() > image[0].min() + 0.5


@pytest.mark.parametrize("asked", ["KITTI_rectangles", "PASCAL_VOC_rectangles", "YOLO"])
def test_outlines_can_be_read_as_boxes(stores, asked):
    data = prepare_data(stores["RCNN_Masks"], dataset_type=asked, chip_size=32)
    _, targets = next(iter(data.train_dl))
    assert set(targets[0]) == {"boxes", "labels"}


def test_chips_are_resized_with_their_objects(stores):
    for kind in ("YOLO", "RCNN_Masks"):
        data = prepare_data(
            stores[kind], resize_to=80, chip_size=80, transforms=(None, None), val_split_pct=0.5
        )
        _, outlines, _ = square_chips(COUNT)
        images, targets = next(iter(data.valid_dl))
        assert images.shape[2:] == (80, 80)
        for chip, target in zip(data.valid.indices, targets, strict=True):
            assert target["boxes"].tolist() == [[2 * side for side in bounds(m)] for m in outlines[chip]]
    small = prepare_data(stores["YOLO"], resize_to=(20, 30), chip_size=224)
    assert small.chip_size == 20
    assert next(iter(small.train_dl))[0].shape[2:] == (20, 20)


@pytest.mark.parametrize("kind", ["Labeled_Tiles", "Imagenet"])
def test_labelled_chips_come_with_one_position_each(stores, kind):
    data = prepare_data(stores[kind], chip_size=32, batch_size=4, val_split_pct=0.5)
    images, labels = next(iter(data.train_dl))
    assert images.shape[0] == len(labels)
    assert labels.dtype == torch.int64
    assert data.output_values == (1, 5)
    assert data.c == 2
    expected = [0 if i % 3 else 1 for i in data.valid.indices]
    assert torch.cat([labels for _, labels in data.valid_dl]).tolist() == expected
    # in proportion, unless told otherwise: a third of the chips is of class 5
    assert expected.count(1) == 2
    spec = data.spec_for("FeatureClassifier", {})
    assert spec.task == Task.SCENES
    assert spec.output_values == (1, 5)


def test_chips_of_several_labels_come_with_a_number_for_each_class(stores):
    data = prepare_data(stores["MultiLabeled_Tiles"], val_split_pct=0.5)
    _, labels = next(iter(data.valid_dl))
    assert labels.dtype == torch.float32
    assert labels.tolist() == [[float(i % 2), 1.0] for i in data.valid.indices]


def test_two_dates_come_with_what_changed(stores):
    data = prepare_data(stores["change"], chip_size=32, batch_size=4, transforms=(None, None))
    (before, after), masks = next(iter(data.train_dl))
    assert before.shape == after.shape == (4, 3, 32, 32)
    mean, std = (torch.tensor(v)[:, None, None] for v in (data.normalization.mean, data.normalization.std))
    torch.testing.assert_close(before * std + mean, 255 - (after * std + mean), atol=1e-3, rtol=0)
    assert ((before[:, 0] * std[0] + mean[0] >= 99.9) == (masks == 2)).all()
    assert data.form.task == Task.CHANGE
    only_one = prepare_data(stores["change"], dataset_type="Classified_Tiles", chip_size=32)
    assert next(iter(only_one.train_dl))[0].shape[1:] == (3, 32, 32)


def test_both_dates_get_a_light_of_their_own(stores):
    data = prepare_data(stores["change"], chip_size=32, batch_size=4)
    (before, after), _ = next(iter(data.train_dl))
    std = torch.tensor(data.normalization.std)[:, None, None]
    mean = torch.tensor(data.normalization.mean)[:, None, None]
    assert (before * std + mean + after * std + mean - 255).abs().max() > 1


def test_pairs_come_whole_and_turned_together(stores):
    data = prepare_data(stores["pairs"], chip_size=8, batch_size=4)
    images, images2 = next(iter(data.train_dl))
    assert images.shape == (4, 3, 40, 40)
    assert images2.shape == (4, 2, 40, 40)
    first = images * torch.tensor(data.normalization.std)[:, None, None]
    first += torch.tensor(data.normalization.mean)[:, None, None]
    scaling = data.scaling2.normalization
    second = images2 * torch.tensor(scaling.std)[:, None, None] + torch.tensor(scaling.mean)[:, None, None]
    torch.testing.assert_close(first[:, :2], 255 - second, atol=1e-3, rtol=0)
    assert data.c == 2


@pytest.mark.parametrize(("factor", "sizes"), [(4, (10, 40)), (2, (20, 40)), (3, (13, 39)), (2.5, (16, 40))])
def test_coarse_chips_come_with_fine_ones(stores, factor, sizes):
    data = prepare_data(stores["Export_Tiles"], batch_size=4, downsample_factor=factor)
    coarse, fine = next(iter(data.train_dl))
    assert (coarse.shape[-1], fine.shape[-1]) == sizes
    torch.testing.assert_close(coarse.mean((2, 3)), fine.mean((2, 3)), atol=0.15, rtol=0)
    assert data.form.task == Task.IMAGES
    assert "image to image" in repr(data)


def test_any_chips_can_be_made_coarse(stores):
    data = prepare_data(stores["RCNN_Masks"], dataset_type="superres", resize_to=32)
    coarse, fine = next(iter(data.train_dl))
    assert (coarse.shape[-1], fine.shape[-1]) == (8, 32)


def test_unpaired_chips_come_from_both_sets(stores):
    data = prepare_data(stores["both"], batch_size=4, imagery_type="multispectral")
    seen = [set(), set()]
    for epoch in range(3):
        loader = data.train_loader()
        loader.batch_sampler.set_epoch(epoch)
        for batch in loader:
            for side, images in enumerate(batch):
                scaling = data.scaling2.normalization if side else data.normalization
                seen[side] |= set(
                    (images[:, 0, 0, 0] * scaling.std[0] + scaling.mean[0]).round().int().tolist()
                )
    assert seen[0] == set(data.train.indices.tolist())
    assert seen[1] == set(data.train.other.indices.tolist())
    assert len(data.train.other) + len(data.valid.other) == 7
    image, other = data.valid_ds[0]
    assert image.shape == other.shape == (3, 16, 16)


def test_panoptic_chips_come_with_masks_and_objects(stores):
    data = prepare_data(stores["Panoptic_Segmentation"], chip_size=32, batch_size=4)
    _, targets = next(iter(data.train_dl))
    assert targets["masks"].shape == (4, 32, 32)
    for mask, things in zip(targets["masks"], targets["objects"], strict=True):
        assert set(things) == {"boxes", "labels", "masks"}
        if len(things["labels"]):
            assert (mask[things["masks"].amax(dim=0) > 0] == 2).all()
    assert data.classes == CLASSES
    assert data.object_classes == THINGS


def test_only_the_largest_objects_are_kept(stores):
    data, few = (
        prepare_data(stores["Panoptic_Segmentation"], transforms=False, val_split_pct=0.5, n_masks=n)
        for n in (30, 1)
    )
    everything = [t for _, targets in data.valid_dl for t in targets["objects"]]
    chosen = [t for _, targets in few.valid_dl for t in targets["objects"]]
    for all_of, one in zip(everything, chosen, strict=True):
        areas = all_of["masks"].sum(dim=(1, 2))
        assert one["masks"].sum() == areas.max()
        assert len(one["labels"]) == 1
    only = prepare_data(stores["Panoptic_Segmentation"], dataset_type="RCNN_Masks")
    assert only.classes == THINGS


def test_objects_of_no_interest_are_left_out_and_chips_without_any_too(stores):
    _, _, values = square_chips(COUNT)
    data = prepare_data(
        stores["YOLO"], transforms=False, classes_of_interest=[2], background_classcode=True, batch_size=12
    )
    with_two = [chip for chip, found in enumerate(values) if 2 in found]
    assert sorted([*data.train.indices, *data.valid.indices]) == with_two
    assert [c.value for c in data.classes] == [2]
    for loader in (data.train_dl, data.valid_dl):
        for _, targets in loader:
            assert all(t["labels"].tolist() == [1] for t in targets)


def test_chips_are_left_out_that_lack_the_classes_of_interest(tmp_path):
    images, masks = numbered_chips(12)
    path = write_store(tmp_path / "numbered.zarr", images, masks)
    data = prepare_data(path, classes_of_interest=[1])
    assert sorted([*data.train.indices, *data.valid.indices]) == [1, 3, 5, 7, 9, 11]
    assert [c.value for c in data.classes] == [1, 5]


def test_classes_are_renamed_and_joined_in_masks_and_counts(stores):
    data = prepare_data(stores["Classified_Tiles"], remap_classes={5: 1}, class_mapping={1: "all"})
    assert [(c.value, c.name) for c in data.classes] == [(1, "all")]
    assert data.class_pixels == {1: COUNT * 40 * 40}
    assert (next(iter(data.train_dl))[1] == 1).all()


@pytest.mark.parametrize(
    ("kind", "asked", "needed"),
    [
        ("KITTI_rectangles", "RCNN_Masks", "needs outlines"),
        ("Classified_Tiles", "ChangeDetection", "without second images"),
        ("Classified_Tiles", "KITTI_rectangles", "needs objects"),
        ("Export_Tiles", "Pix2Pix", "needs second images"),
        ("Labeled_Tiles", "MultiLabeled_Tiles", "needs several labels"),
        ("Labeled_Tiles", "Classified_Tiles", "needs masks"),
    ],
)
def test_chips_that_lack_what_is_asked_for_are_refused(stores, kind, asked, needed):
    with pytest.raises(StoreError, match=needed):
        prepare_data(stores[kind], dataset_type=asked)


def test_settings_without_effect_are_refused(stores):
    with pytest.raises(SettingError, match="takes effect only"):
        prepare_data(stores["pairs"], resize_to=16)
    with pytest.raises(SettingError, match="remap_classes has no effect"):
        prepare_data(stores["pairs"], remap_classes={1: 2})
    with pytest.raises(SettingError, match="they have no labels"):
        prepare_data(stores["pairs"], class_mapping={1: "x"})
    with pytest.raises(SettingError, match="downsample_factor has no effect"):
        prepare_data(stores["YOLO"], downsample_factor=2)


@pytest.mark.parametrize(
    ("kind", "panels"),
    [
        ("Classified_Tiles", 8),
        ("KITTI_rectangles", 8),
        ("RCNN_Masks", 8),
        ("Labeled_Tiles", 8),
        ("MultiLabeled_Tiles", 8),
        ("Export_Tiles", 8),
        ("pairs", 8),
        ("both", 8),
        ("change", 12),
        ("Panoptic_Segmentation", 8),
    ],
)
def test_every_kind_has_a_picture(stores, kind, panels, tmp_path):
    data = prepare_data(stores[kind], chip_size=32)
    figure = data.show_batch(rows=2)
    assert len(figure.axes) == panels
    assert len([panel for panel in figure.axes if panel.images]) >= panels - 4
    figure.savefig(tmp_path / "batch.png")
    html = data._repr_html_()
    assert "data:image/png;base64," in html
    assert "chips to train" in html


def test_figures_tell_what_the_chips_hold(stores):
    data = prepare_data(stores["YOLO"], extract_bands=["band_2"])
    assert data.statistics.chips == COUNT
    assert list(data.statistics.bands) == ["band_2"]
    figures = data.statistics.bands["band_2"]
    images, _, values = square_chips(COUNT)
    assert (figures.minimum, figures.maximum) == (images.min(), images.max())
    np.testing.assert_allclose((figures.mean, figures.std), (images[:, 1].mean(), images[:, 1].std()))
    assert data.statistics.labels.areas[7].count == sum(v.count(7) for v in values)


def test_classes_keep_their_names_and_colours(stores):
    data = prepare_data(stores["RCNN_Masks"], class_mapping={7: "bush"})
    assert data.classes == (THINGS[0], ClassInfo(7, "bush", THINGS[1].color))


def test_a_model_refuses_data_of_another_task_and_names_the_chips_it_takes(stores):
    data = prepare_data(stores["RCNN_Masks"], chip_size=32, batch_size=4)
    with pytest.raises(ModelMismatchError, match=r"UnetClassifier learns pixels.*as Classified_Tiles, or"):
        data.spec_for("UnetClassifier", {})
