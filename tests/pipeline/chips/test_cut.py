"""Chips of every format against plain loops: one chip and one feature at a time, by rasterio and shapely."""

import geopandas
import numpy as np
import pytest
import rasterio
import scipy.ndimage
import shapely
from rasterio.features import rasterize
from shapely.affinity import affine_transform, rotate

from rasterloom.pipeline.chips.cut import ChipStats, cut_chips
from rasterloom.pipeline.chips.describing import spec_of
from rasterloom.pipeline.chips.places import chip_affine
from rasterloom.pipeline.chips.plan import Cutting, plan_chips
from rasterloom.pipeline.chips.settings import ExportSettings
from rasterloom.pipeline.labels.objects import Objects
from rasterloom.pipeline.rasters.open import describe
from rasterloom.pipeline.store.kinds import KINDS
from tests.support.chips import make_source
from tests.support.labels import square_labels
from tests.support.rasters import write_pixels, write_raster

HEIGHT, WIDTH, TILE = 100, 130, (36, 40)


def odd_shapes():
    """Squares, turned ones, one with a hole and one of two parts; some beyond the raster."""
    labels = square_labels(height=HEIGHT, width=WIDTH, count=14, side=(5.0, 40.0))
    shapes = list(labels.geometry)
    shapes[1] = rotate(shapes[1], 30)
    shapes[2] = shapes[2].buffer(8).difference(shapes[2].buffer(-1))
    shapes[3] = shapely.union_all([shapes[3], shapely.affinity.translate(shapes[3], 45, -7)])
    shapes[4] = shapely.affinity.translate(shapes[4], 60, 0)
    return geopandas.GeoDataFrame(labels.drop(columns="geometry"), geometry=shapes, crs=labels.crs)


@pytest.fixture(
    scope="module", params=[("uint8", None), ("uint16", 0), ("float32", -9999.0)], ids=lambda p: p[0]
)
def scene(request, tmp_path_factory):
    dtype, nodata = request.param
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    return write_raster(path, height=HEIGHT, width=WIDTH, dtype=dtype, nodata=nodata)


class Cut:
    """A plan cut in one go, and what a plain loop needs to check it."""

    def __init__(self, path, folder, name, *, labels=None, all_tiles=True, cutting=None, **more):
        self.raster = describe(path)
        self.labels = odd_shapes() if labels is None else labels
        self.source = make_source(self.raster, labels if labels is not None else self.labels, folder, **more)
        how = Cutting(name, TILE, (25, 33), **(cutting or {}))
        self.plan = plan_chips([self.source], how, all_tiles=all_tiles)
        self.cutting = how
        settings = ExportSettings(
            name, "ZARR", how.tile, how.stride, "MAP_SPACE", {}, all_tiles, 0, fixed_size=how.fixed_size
        )
        self.spec = spec_of(self.plan, settings, "labels")
        self.block, self.stats = cut_chips({0: self.source}, self.plan.chips, how, self.spec)

    def __iter__(self):
        """Number, height and width, transform, and the features in its pixels, of each chip."""
        for number, chip in enumerate(self.plan.chips):
            affine = chip_affine(self.raster.grid, chip, self.cutting.angle)
            into = ~affine
            matrix = [into.a, into.b, into.d, into.e, into.c, into.f]
            shapes = [affine_transform(one, matrix) for one in self.labels.geometry]
            yield number, (int(chip["height"]), int(chip["width"])), affine, shapes

    def burned(self, shape, affine, features=None):
        chosen = range(len(self.labels)) if features is None else features
        pairs = [(self.labels.geometry.iloc[f], int(self.labels.classvalue.iloc[f])) for f in chosen]
        if not pairs:
            return np.zeros(shape, "uint8")
        return rasterize(pairs, out_shape=shape, transform=affine, dtype="uint8")

    def inside(self, shape, shapes):
        """Feature, clipped part and share of every feature with an area in a chip."""
        frame = shapely.box(0, 0, shape[1], shape[0])
        for feature, one in enumerate(shapes):
            part = shapely.intersection(one, frame)
            if part.area > 1e-5:
                yield feature, part, part.area / one.area


def padded(path):
    with rasterio.open(path) as source:
        pixels, valid = source.read(), source.dataset_mask() > 0
    return np.pad(np.where(valid, pixels, 0), ((0, 0), (0, 64), (0, 64))), np.pad(valid, (0, 64))


def test_images_and_their_statistics_are_those_of_a_plain_loop(scene, tmp_path):
    cut = Cut(scene, tmp_path, "Classified_Tiles")
    pixels, valid = padded(scene)
    values = []
    for number, (row, col, height, width) in enumerate(cut.block.windows.tolist()):
        place = slice(row, row + height), slice(col, col + width)
        assert (cut.block.images[number] == pixels[:, *place]).all()
        assert cut.block.transforms[number].tolist() == [1, 0, 500000 + col, 0, -1, 5000000 - row]
        values.append(pixels[:, *place][:, valid[place]])
    together = np.concatenate(values, axis=1).astype(float)
    bands = cut.stats.bands
    assert bands.count == together.shape[1]
    assert np.allclose(bands.mean, together.mean(axis=1))
    assert np.allclose(bands.std, together.std(axis=1))
    assert bands.minimum == tuple(together.min(axis=1))


@pytest.mark.parametrize("angle", [0.0, 90.0, 35.0])
def test_masks_are_what_rasterio_burns_on_the_grid_of_each_chip(scene, tmp_path, angle):
    cut = Cut(scene, tmp_path, "Classified_Tiles", cutting={"angle": angle})
    counts = {}
    for number, shape, affine, _ in cut:
        expected = cut.burned(shape, affine)
        assert (cut.block.masks[number] != expected).sum() <= (0 if angle == 0 else 3)
        for value in np.unique(cut.block.masks[number]).tolist():
            counts[value] = counts.get(value, 0) + int((cut.block.masks[number] == value).sum())
    assert cut.stats.labels.class_pixels == dict(sorted(counts.items()))
    assert cut.block.rotation.tolist() == (cut.plan.chips["turn"] * angle).astype("float32").tolist()


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.objects and not kind.masks])
@pytest.mark.parametrize(("angle", "share"), [(0.0, 0.0), (0.0, 0.4), (50.0, 0.0), (50.0, 0.4)])
def test_objects_are_those_of_plain_clipping(scene, tmp_path, name, angle, share):
    cut = Cut(scene, tmp_path, name, cutting={"angle": angle, "min_share": share})
    objects = cut.block.objects
    for number, shape, affine, shapes in cut:
        own = objects.of([number])
        expected = [found for found in cut.inside(shape, shapes) if found[2] >= share]
        if KINDS[name].outlines:
            masks = {f: cut.burned(shape, affine, [f]) > 0 for f, _, _ in expected}
            expected = [found for found in expected if masks[found[0]].any()]
            for feature, outline in zip(own.features.tolist(), own.outlines(0, shape), strict=True):
                assert (outline != masks[feature]).sum() <= (0 if angle == 0 else 2)
        assert own.features.tolist() == [feature for feature, _, _ in expected]
        assert own.values.tolist() == [int(cut.labels.classvalue.iloc[f]) for f, _, _ in expected]
        assert np.allclose(own.boxes, np.array([p.bounds for _, p, _ in expected]).reshape(-1, 4), atol=1e-3)
        assert np.allclose(own.shares, [s for _, _, s in expected], atol=1e-5)
        assert np.allclose(own.areas, [p.area for _, p, _ in expected], rtol=1e-4, atol=1e-3)
    if not angle:
        assert sum(s.count for s in cut.stats.labels.areas.values()) == len(objects)


def test_a_share_leaves_features_out_of_masks_too(scene, tmp_path):
    cut = Cut(scene, tmp_path, "Classified_Tiles", cutting={"min_share": 0.5})
    for number, shape, affine, shapes in cut:
        kept = [feature for feature, _, share in cut.inside(shape, shapes) if share >= 0.5]
        assert (cut.block.masks[number] == cut.burned(shape, affine, kept)).all()


def test_panoptic_chips_hold_a_map_and_objects_of_their_own(scene, tmp_path):
    things = odd_shapes().iloc[::2].reset_index(drop=True)
    instances = make_source(describe(scene), things, tmp_path).features
    cut = Cut(scene, tmp_path, "Panoptic_Segmentation", instances=instances)
    alone = Cut(scene, tmp_path, "RCNN_Masks", labels=things)
    tiles = Cut(scene, tmp_path, "Classified_Tiles")
    assert (cut.block.masks == tiles.block.masks).all()
    assert (cut.block.objects.boxes == alone.block.objects.boxes).all()
    assert (cut.block.objects.runs == alone.block.objects.runs).all()
    assert cut.spec.instance_classes == alone.spec.classes


@pytest.mark.parametrize("angle", [0.0, 72.0])
def test_several_labels_are_the_classes_of_the_features_inside(scene, tmp_path, angle):
    cut = Cut(scene, tmp_path, "MultiLabeled_Tiles", cutting={"angle": angle})
    assert cut.block.labels.shape == (len(cut.plan), 3)
    for number, shape, _, shapes in cut:
        present = {int(cut.labels.classvalue.iloc[f]) for f, _, _ in cut.inside(shape, shapes)}
        assert set((np.flatnonzero(cut.block.labels[number]) + 1).tolist()) == present


@pytest.mark.parametrize("name", ["Labeled_Tiles", "Imagenet"])
@pytest.mark.parametrize("blacken", [False, True])
def test_centred_chips_have_the_class_of_their_feature(scene, tmp_path, name, blacken):
    cut = Cut(scene, tmp_path, name, cutting={"centred": True, "blacken": blacken, "angle": 180.0})
    pixels, _ = padded(scene)
    pixels = np.pad(pixels, ((0, 0), (64, 0), (64, 0)))
    for number, shape, affine, _ in cut:
        chip = cut.plan.chips[number]
        feature = int(chip["feature"])
        assert cut.block.labels[number] == cut.labels.classvalue.iloc[feature]
        row, col = int(chip["row"]) + 64, int(chip["col"]) + 64
        expected = pixels[:, row : row + shape[0], col : col + shape[1]]
        if chip["turn"]:
            expected = np.rot90(expected, 2, axes=(1, 2))
        if blacken:
            expected = expected * (cut.burned(shape, affine, [feature]) > 0)
        assert (cut.block.images[number] == expected).all()


def test_chips_cut_to_their_feature_lie_in_the_upper_left_corner(scene, tmp_path):
    cut = Cut(scene, tmp_path, "Labeled_Tiles", cutting={"centred": True, "fixed_size": False})
    pixels, _ = padded(scene)
    assert cut.block.sizes is not None
    for number, (row, col, height, width) in enumerate(cut.block.windows.tolist()):
        assert cut.block.sizes[number].tolist() == [height, width]
        shown = cut.block.images[number][:, :height, :width]
        if row >= 0 and col >= 0:
            assert (shown == pixels[:, row : row + height, col : col + width]).all()
        assert not cut.block.images[number][:, height:].any()
        assert not cut.block.images[number][:, :, width:].any()


def class_map(folder, *, shift=0, dtype="uint8"):
    rows, cols = np.indices((HEIGHT, WIDTH))
    values = ((rows // 17 + cols // 23) % 4).astype(dtype)
    path = write_pixels(folder / "classes.tif", values[None], origin=(500000.0 + shift, 5000000.0))
    return values, describe(path)


@pytest.mark.parametrize(
    "name", ["Classified_Tiles", "KITTI_rectangles", "Labeled_Tiles", "MultiLabeled_Tiles"]
)
def test_a_class_raster_gives_masks_regions_and_labels(scene, tmp_path, name):
    values, classes = class_map(tmp_path)
    raster = describe(scene)
    source = make_source(raster, None, tmp_path, class_map=classes.on_grid(raster.grid, resampling="nearest"))
    how = Cutting(name, TILE, (25, 33))
    plan = plan_chips([source], how)
    spec = spec_of(plan, ExportSettings(name, "ZARR", TILE, (25, 33), "MAP_SPACE", {}, False, 0), "")
    assert [c.value for c in spec.classes] == [1, 2, 3]
    block, _ = cut_chips({0: source}, plan.chips, how, spec)
    for number, (row, col, *_) in enumerate(block.windows.tolist()):
        expected = values[row : row + TILE[0], col : col + TILE[1]]
        if name == "Classified_Tiles":
            assert (block.masks[number] == expected).all()
        elif name == "KITTI_rectangles":
            own, found = block.objects.of([number]), []
            for value in (1, 2, 3):
                regions, _ = scipy.ndimage.label(expected == value, np.ones((3, 3)))
                for rows, cols in scipy.ndimage.find_objects(regions):
                    found.append((value, cols.start, rows.start, cols.stop, rows.stop))
            boxes = zip(own.values.tolist(), *own.boxes.astype(int).T.tolist(), strict=True)
            assert sorted(boxes) == sorted(found)
        else:
            counts = np.bincount(expected.ravel(), minlength=4)[1:]
            if name == "Labeled_Tiles":
                assert block.labels[number] == counts.argmax() + 1
            else:
                assert block.labels[number].tolist() == (counts > 0).tolist()


def test_numbers_of_an_instance_raster_are_objects_of_one_class(scene, tmp_path):
    values, numbers = class_map(tmp_path, dtype="int32")
    raster = describe(scene)
    cut = Cut(
        scene,
        tmp_path,
        "Panoptic_Segmentation",
        instance_map=numbers.on_grid(raster.grid, resampling="nearest"),
    )
    for number, (row, col, *_) in enumerate(cut.block.windows.tolist()):
        expected = values[row : row + TILE[0], col : col + TILE[1]]
        own: Objects = cut.block.objects.of([number])
        present = np.unique(expected[expected > 0])
        assert own.values.tolist() == [1] * len(present)
        for outline, value in zip(own.outlines(0, TILE), present, strict=True):
            assert (outline == (expected == value)).all()


def test_second_images_show_the_same_ground(scene, tmp_path):
    other = write_raster(tmp_path / "other.tif", height=HEIGHT, width=WIDTH, bands=2, seed=5)
    cut = Cut(scene, tmp_path, "Classified_Tiles", second=describe(other))
    pixels, _ = padded(other)
    for number, (row, col, height, width) in enumerate(cut.block.windows.tolist()):
        assert (cut.block.images2[number] == pixels[:, row : row + height, col : col + width]).all()
    assert cut.stats.bands2.count == len(cut.plan) * TILE[0] * TILE[1]


@pytest.mark.parametrize("name", ["Classified_Tiles", "RCNN_Masks", "MultiLabeled_Tiles", "Labeled_Tiles"])
def test_a_chip_cut_alone_is_the_same_chip(scene, tmp_path, name):
    cutting = {"angle": 130.0, "centred": name == "Labeled_Tiles", "blacken": name == "Labeled_Tiles"}
    cut = Cut(scene, tmp_path, name, cutting=cutting)
    for number in range(0, len(cut.plan), 3):
        chips = cut.plan.chips[number : number + 1]
        alone, _ = cut_chips({0: cut.source}, chips, cut.cutting, cut.spec)
        expected = cut.block.of([number])
        for part in ("images", "masks", "labels", "transforms"):
            one, other = getattr(alone, part), getattr(expected, part)
            assert (one is None and other is None) or (one == other).all()
        if alone.objects is not None:
            for part in ("counts", "boxes", "values", "shares", "areas", "features", "runs"):
                assert (getattr(alone.objects, part) == getattr(expected.objects, part)).all()


def test_statistics_survive_json_bit_for_bit(scene, tmp_path):
    for name in ("Classified_Tiles", "RCNN_Masks"):
        stats = Cut(scene, tmp_path, name).stats
        assert ChipStats.from_json(stats.to_json()) == stats
