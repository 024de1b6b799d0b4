"""prepare_data: from a store to data."""

import inspect
import math

import numpy as np
import pytest
import torch

from rasterloom.models.contract import IMAGENET_MEAN, ClassInfo, Task
from rasterloom.models.errors import MissingInputError, SettingError, StoreError
from rasterloom.pipeline.datasets import prepare
from rasterloom.pipeline.datasets.augment import Turns
from rasterloom.pipeline.datasets.prepare import prepare_data
from tests.pipeline.datasets.stores import CLASSES, numbered_chips, toy_chips, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("chips") / "toy.zarr", *toy_chips(12))


def test_arguments_and_defaults_are_those_of_the_reference():
    parameters = inspect.signature(prepare_data).parameters
    defaults = {name: p.default for name, p in parameters.items() if name not in ("path", "kwargs")}
    assert next(iter(parameters)) == "path"
    assert defaults == {
        "class_mapping": None,
        "chip_size": 224,
        "val_split_pct": 0.1,
        "batch_size": 64,
        "transforms": None,
        "collate_fn": None,
        "seed": 42,
        "dataset_type": None,
        "resize_to": None,
        "working_dir": None,
    }


def test_a_model_learns_what_it_needs_from_the_data(store):
    data = prepare_data(store, chip_size=24, class_mapping={5: "sea"})
    spec = data.spec_for("UnetClassifier", {"backbone": "resnet18"})
    assert spec.model == "UnetClassifier"
    assert spec.task == Task.PIXELS
    assert spec.bands == ("band_1", "band_2", "band_3", "band_4")
    assert spec.extract_bands == (0, 1, 2, 3)
    assert spec.dtype == "uint8"
    assert spec.tile_size == data.chip_size == 24
    assert [c.name for c in spec.classes] == ["field", "sea"]
    assert spec.output_values == data.output_values == (0, 1, 5)
    assert spec.cell_size == (0.5, 0.5)
    assert spec.crs == "EPSG:32633"
    assert spec.parameters == {"backbone": "resnet18"}
    assert sum(data.class_pixels.values()) == 12 * 32 * 32
    assert data.working_dir == store.parent
    assert "11 chips to train, 1 to validate, 24 px" in repr(data)


def test_three_bands_of_bytes_are_scaled_with_imagenet_and_others_with_their_own_statistics(tmp_path):
    images, masks = toy_chips(4, bands=3)
    three = prepare_data(write_store(tmp_path / "rgb.zarr", images, masks))
    assert three.normalization.mean == tuple(255 * m for m in IMAGENET_MEAN)
    told = prepare_data(tmp_path / "rgb.zarr", imagery_type="multispectral")
    np.testing.assert_allclose(told.normalization.mean, images.mean(axis=(0, 2, 3)))
    wide = prepare_data(write_store(tmp_path / "wide.zarr", images.astype(np.uint16), masks))
    np.testing.assert_allclose(wide.normalization.std, images.std(axis=(0, 2, 3)), rtol=1e-6)
    with pytest.raises(SettingError, match="three bands of 8 bits"):
        prepare_data(tmp_path / "wide.zarr", imagery_type="RGB")


def test_normalised_chips_have_mean_zero_and_deviation_one(store):
    data = prepare_data(store, chip_size=32, transforms=(None, None))
    images = torch.cat([i for loader in (data.train_loader(), data.valid_loader()) for i, _ in loader])
    np.testing.assert_allclose(images.mean(dim=(0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(images.std(dim=(0, 2, 3)), 1, atol=1e-3)


def test_a_band_of_one_value_becomes_zeros(tmp_path):
    images, masks = toy_chips(4, bands=2)
    images[:, 1] = 9
    data = prepare_data(write_store(tmp_path / "flat.zarr", images, masks), transforms=(None, None))
    assert data.normalization.std[1] == 1.0
    batch, _ = next(iter(data.train_loader()))
    assert (batch[:, 1] == 0).all()


def test_an_alpha_band_is_left_out(tmp_path):
    bands = ("red", "green", "blue", "alpha")
    data = prepare_data(write_store(tmp_path / "rgba.zarr", *toy_chips(4), bands=bands))
    assert data.bands == ("red", "green", "blue")
    assert data.extract_bands == (0, 1, 2)
    assert next(iter(data.train_loader()))[0].shape[1] == 3


def test_bands_are_taken_by_name_or_position_in_the_order_given(store):
    data = prepare_data(store, extract_bands=["BAND_3", 0], transforms=False)
    whole = prepare_data(store, transforms=False)
    assert data.bands == ("band_3", "band_1")
    ours, theirs = next(iter(data.valid_loader()))[0], next(iter(whole.valid_loader()))[0]
    assert torch.equal(ours, theirs[:, [2, 0]])


@pytest.mark.parametrize(("asked", "size"), [(16, 16), (32, 32), (500, 32)])
def test_chips_are_cropped_to_the_chip_size_unless_they_are_smaller(store, asked, size):
    data = prepare_data(store, chip_size=asked, batch_size=4)
    for loader in (data.train_loader(), data.valid_loader()):
        images, targets = next(iter(loader))
        assert images.shape[2:] == targets.shape[1:] == (size, size)


def test_long_chips_are_cropped_to_squares(tmp_path):
    images, masks = toy_chips(4)
    path = write_store(tmp_path / "long.zarr", images[:, :, :20], masks[:, :20])
    assert next(iter(prepare_data(path).train_loader()))[0].shape[2:] == (20, 20)
    whole = prepare_data(path, transforms=False)
    assert next(iter(whole.train_loader()))[0].shape[2:] == (20, 32)
    assert whole.chip_size == 20


def test_no_transforms_means_whole_chips_as_they_are(store):
    data = prepare_data(store, chip_size=8, transforms=False, batch_size=2)
    images, targets = next(iter(data.train_loader()))
    position = next(iter(data.train_loader().batch_sampler))[0]
    pixels, values = toy_chips(12)
    chip = data.train.indices[position]
    mean, std = (np.array(v)[:, None, None] for v in (data.normalization.mean, data.normalization.std))
    np.testing.assert_allclose(images[0].numpy() * std + mean, pixels[chip], atol=1e-2)
    assert (np.array(data.output_values)[targets[0].numpy()] == values[chip]).all()


def test_the_callers_transforms_get_normalised_batches(store):
    seen = []

    def halve(images, targets):
        seen.append((images.dtype, targets.dtype))
        return images / 2, targets

    plain = prepare_data(store, chip_size=32, transforms=(None, None), batch_size=4)
    changed = prepare_data(store, chip_size=32, transforms=(halve, halve), batch_size=4)
    for loader in ("train_loader", "valid_loader"):
        ours, theirs = (next(iter(getattr(d, loader)())) for d in (changed, plain))
        assert torch.equal(ours[0] * 2, theirs[0])
    assert set(seen) == {(torch.float32, torch.int64)}


def test_the_callers_collation_gets_prepared_samples(store):
    collate = torch.utils.data.default_collate
    plain, own = (prepare_data(store, chip_size=16, collate_fn=f, batch_size=4) for f in (None, collate))
    for ours, theirs in zip(own.train_loader(), plain.train_loader(), strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_pictures_with_an_upside_keep_it(tmp_path):
    chips = toy_chips(4)
    for space, turns in (
        ("IMAGE_SPACE", Turns.MIRROR),
        ("PIXEL_SPACE", Turns.MIRROR),
        ("MAP_SPACE", Turns.ALL),
    ):
        path = write_store(tmp_path / f"{space}.zarr", *chips, parameters={"reference_system": space})
        assert prepare_data(path).augmentation.turns is turns


def test_several_stores_become_one(tmp_path):
    images, masks = numbered_chips(10)
    first = write_store(tmp_path / "a.zarr", images[:4], masks[:4])
    second = write_store(tmp_path / "b.zarr", images[4:], masks[4:])
    source = prepare_data([first, second]).train.source
    asked = np.array([9, 0, 4, 3, 9])
    assert len(source) == 10
    read = source.read(asked, {"masks"})
    assert read.images[:, 0, 0, 0].tolist() == asked.tolist()
    assert (read.masks == masks[asked]).all()
    assert source.class_pixels == {1: 5 * 64, 5: 5 * 64}
    np.testing.assert_allclose(source.stats.mean, [4.5] * 3)


def test_stores_that_disagree_are_refused(tmp_path):
    images, masks = numbered_chips(4)
    first = write_store(tmp_path / "a.zarr", images, masks)
    other_type = write_store(tmp_path / "b.zarr", images.astype(np.uint16), masks)
    renamed = (ClassInfo(1, "forest", (0, 0, 0)), CLASSES[1])
    other_names = write_store(tmp_path / "c.zarr", images, masks, classes=renamed)
    with pytest.raises(StoreError, match=r"dtype uint8 and .* dtype uint16"):
        prepare_data([first, other_type])
    with pytest.raises(StoreError, match=r"class 1 is 'field' in .* and 'forest' in"):
        prepare_data([first, other_names])


def test_mask_values_that_are_no_classes_are_refused(tmp_path):
    images, masks = numbered_chips(4)
    path = write_store(tmp_path / "odd.zarr", images, masks, classes=CLASSES[:1])
    with pytest.raises(StoreError, match=r"values \[5\] that are no classes"):
        prepare_data(path)


def test_many_classes_keep_their_order(tmp_path):
    classes = tuple(ClassInfo(v, f"c{v}", (0, 0, 0)) for v in range(1, 400))
    images, _ = numbered_chips(4)
    masks = np.full((4, 8, 8), 399, np.uint16)
    data = prepare_data(write_store(tmp_path / "many.zarr", images, masks, classes=classes))
    assert (next(iter(data.train_loader()))[1] == 399).all()


def test_a_batch_size_is_estimated_from_memory(store, monkeypatch):
    for free, expected in ((1e15, 64), (0, 2)):
        memory = type("Memory", (), {"available": free})
        monkeypatch.setattr(prepare.psutil, "virtual_memory", lambda memory=memory: memory)
        monkeypatch.setattr(prepare.torch.cuda, "is_available", lambda: False)
        assert prepare_data(store, batch_size=None).batch_size == expected


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("class_mapping", {9: "x"}, r"\[9\].*\[1, 5\]"),
        ("chip_size", 0, "number of pixels"),
        ("chip_size", "big", "number of pixels"),
        ("val_split_pct", 1.0, "between"),
        ("batch_size", 1, "need 2 or more"),
        ("transforms", True, "None, False or a pair"),
        ("transforms", (1, None), "cannot be called"),
        ("seed", -1, "0 or more"),
        ("dataset_type", "PointCloud", "KITTI_rectangles, PASCAL_VOC_rectangles, Classified_Tiles"),
        ("resize_to", 100, "cellSize"),
        ("num_workers", -1, "0 or more"),
        ("extract_bands", [7], r"bands are \['band_1'"),
        ("extract_bands", [0, "band_1"], "once"),
        ("imagery_type", "radar", "RGB"),
        ("n_masks", 30, "n_masks has no effect on these chips.*extract_bands, imagery_type"),
        ("n_masks", 0, "1 or more"),
        ("downsample_factor", 1, "above 1"),
        ("n_temporal", 3, "time series"),
        ("min_points", 3, "point clouds"),
        ("speed", 3, "background_classcode, classes_of_interest"),
        ("resize_to", "big", "number of pixels, or"),
        ("remap_classes", [1], "dictionary"),
        ("remap_classes", {9: 1}, r"remap_classes names \[9\]"),
        ("classes_of_interest", [], "list of class values"),
        ("classes_of_interest", [9], r"classes_of_interest names \[9\]"),
        ("background_classcode", 1, "only with classes_of_interest"),
    ],
)
def test_settings_that_cannot_work_are_refused(store, setting, value, remedy):
    with pytest.raises(SettingError, match=remedy):
        prepare_data(store, **{setting: value})


def test_paths_that_are_no_stores_are_refused(tmp_path):
    with pytest.raises(MissingInputError, match="export_training_data"):
        prepare_data(tmp_path / "nothing")
    with pytest.raises(StoreError):
        prepare_data(tmp_path)
    with pytest.raises(SettingError, match="empty list"):
        prepare_data([])


def test_statistics_stay_finite(store):
    data = prepare_data(store)
    assert all(math.isfinite(v) for v in (*data.normalization.mean, *data.normalization.std))
