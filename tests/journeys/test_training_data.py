"""Real training data: every format exported, read by other software's readers, compared with plain loops."""

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pytest
import rasterio
import shapely
from affine import Affine
from defusedxml import ElementTree
from pycocotools.coco import COCO
from rasterio.merge import merge

from rasterloom.pipeline import convert, export_training_data, open_raster
from rasterloom.pipeline.store.read import ChipStore
from tests.support.naive import NaiveChips

TILE = 256


@pytest.fixture(scope="module")
def photos(data_folder: Path) -> Path:
    return data_folder / "buildings_banepa" / "train" / "oam"


@pytest.fixture(scope="module")
def outlines(data_folder: Path) -> Path:
    return next((data_folder / "buildings_banepa" / "train" / "osm").glob("*.geojson"))


@pytest.fixture(scope="module")
def banepa(photos: Path, outlines: Path) -> NaiveChips:
    """48 photographs put together by rasterio, and the buildings on them."""
    pixels, _ = merge(sorted(photos.glob("*.tif")))
    # the photographs' rows differ in height by some 1e-5: the mosaic's mean row is the one that counts
    transform = open_raster(photos).rio.transform()
    buildings = geopandas.read_file(outlines)
    return NaiveChips(pixels, transform, buildings.geometry.array, np.ones(len(buildings)), TILE)


def _corner(transform: Affine, grid: Affine) -> tuple[int, int]:
    """Row and column of a chip on a grid."""
    col, row = ~grid @ (transform.c, transform.f)
    return round(row), round(col)


def _chips(folder: Path, grid: Affine, pattern: str = "images/*.tif") -> dict[tuple[int, int], Path]:
    """The image of each corner, by rasterio."""
    found = {}
    for path in sorted(folder.glob(pattern)):
        with rasterio.open(path) as chip:
            found[_corner(chip.transform, grid)] = path
    return found


def _same_boxes(found: Any, expected: Any, tolerance: float) -> None:
    """Whether the same boxes are there, in any order; slivers below a hundredth of a pixel aside."""
    ours, theirs = (np.asarray(boxes, float).reshape(-1, 4) for boxes in (found, expected))
    wide = [b[np.minimum(b[:, 2] - b[:, 0], b[:, 3] - b[:, 1]) > 0.02] for b in (ours, theirs)]
    assert len(wide[0]) == len(wide[1])
    if len(wide[0]):
        distance = np.abs(wide[0][:, None] - wide[1][None]).max(axis=-1)  # (ours, theirs)
        assert max(distance.min(axis=0).max(), distance.min(axis=1).max()) <= tolerance


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as image:
        return image.read()


def test_pixels_of_real_buildings_are_those_of_gdal(
    photos: Path, outlines: Path, banepa: NaiveChips, tmp_path: Path
) -> None:
    out = Path(
        export_training_data(
            photos,
            outlines,
            "TIFF",
            TILE,
            metadata_format="Classified_Tiles",
            output_location=tmp_path / "tiles",
            progress=False,
        )
    )
    chips = _chips(out, banepa.transform)
    assert set(chips) == set(banepa)
    for corner, path in chips.items():
        np.testing.assert_array_equal(_read(path), banepa.image(*corner))
        np.testing.assert_array_equal(_read(out / "labels" / path.name)[0], banepa.mask(*corner))


@pytest.mark.parametrize("metadata_format", ["KITTI_rectangles", "PASCAL_VOC_rectangles"])
def test_boxes_of_real_buildings_are_those_of_plain_clipping(
    metadata_format: str, photos: Path, outlines: Path, banepa: NaiveChips, tmp_path: Path
) -> None:
    out = Path(
        export_training_data(
            photos,
            outlines,
            "TIFF",
            TILE,
            metadata_format=metadata_format,
            output_location=tmp_path / "boxes",
            progress=False,
        )
    )
    chips = _chips(out, banepa.transform)
    assert set(chips) == set(banepa)
    for corner, path in chips.items():
        boxes = []
        if metadata_format == "KITTI_rectangles":
            for line in (out / "labels" / f"{path.stem}.txt").read_text().splitlines():
                columns = line.split()
                assert len(columns) == 15
                assert columns[0] == "1"
                boxes.append([float(number) for number in columns[4:8]])
        else:
            root = ElementTree.parse(out / "labels" / f"{path.stem}.xml").getroot()
            for box in root.iter("bndbox"):
                boxes.append([float(box.findtext(k)) for k in ("xmin", "ymin", "xmax", "ymax")])
        _same_boxes(boxes, [o.box for o in banepa.objects(*corner)], tolerance=0.02)


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools 2.0.11 and NumPy 2
def test_outlines_of_real_buildings_reach_every_format_that_holds_them(
    photos: Path, outlines: Path, banepa: NaiveChips, tmp_path: Path
) -> None:
    store = Path(
        export_training_data(
            photos,
            outlines,
            None,
            TILE,
            metadata_format="RCNN_Masks",
            output_location=tmp_path / "masks.zarr",
            progress=False,
        )
    )
    chips = ChipStore(store)
    corners = [tuple(window[:2]) for window in chips.windows.tolist()]
    everything = chips.objects(range(len(chips)))
    for number in range(0, len(chips), 7):
        expected = {
            one.feature: mask
            for one in banepa.objects(*corners[number])
            if (mask := banepa.outline(*corners[number], one.feature)).any()
        }
        own = everything.of([number])
        shown = own.outlines(0, (TILE, TILE))
        assert set(own.features.tolist()) == set(expected)
        for feature, mask in zip(own.features.tolist(), shown, strict=True):
            np.testing.assert_array_equal(mask, expected[feature])

    folder = Path(
        convert(store, tmp_path / "rcnn", metadata_format="RCNN_Masks", chip_format="TIFF", progress=False)
    )
    found = _chips(folder, banepa.transform)
    assert set(found) == set(corners)
    for corner, path in list(found.items())[::7]:
        layers = [_read(p) for p in (folder / "labels").glob(f"*/{path.name}")]
        seen = sum(len(np.unique(band[band > 0])) for bands in layers for band in bands)
        assert seen == len(everything.of([corners.index(corner)]))

    back = ChipStore(convert(folder, tmp_path / "back.zarr", chip_format="ZARR", progress=False))
    np.testing.assert_array_equal(back.images(range(len(back))), chips.images(range(len(chips))))
    again = back.objects(range(len(back)))
    np.testing.assert_array_equal(again.counts, everything.counts)
    np.testing.assert_array_equal(again.runs, everything.runs)

    coco = Path(convert(store, tmp_path / "coco", metadata_format="COCO", chip_format="PNG", progress=False))
    annotations = COCO(next((coco / "annotations").glob("*.json")))
    assert len(annotations.getImgIds()) == len(chips)
    assert len(annotations.getAnnIds()) == len(everything)
    for number, image in list(enumerate(annotations.loadImgs(sorted(annotations.getImgIds()))))[::7]:
        of_image = annotations.loadAnns(annotations.getAnnIds([image["id"]]))
        decoded = sorted(annotations.annToMask(one).tobytes() for one in of_image)
        own = everything.of([number]).outlines(0, (TILE, TILE)).astype(np.uint8)
        assert decoded == sorted(mask.tobytes() for mask in own)


def test_sparse_land_cover_meets_eight_band_files_in_another_crs(data_folder: Path, tmp_path: Path) -> None:
    import xarray

    files = sorted((data_folder / "landcover_rcr_s2" / "sentinel-2").glob("*.tiff"))
    stack = xarray.concat([open_raster(path) for path in files], dim="band", combine_attrs="override")
    layer = data_folder / "landcover_rcr_s2" / "rcr" / "rcr_landcover.shp"
    store = ChipStore(
        export_training_data(
            stack,
            layer,
            None,
            64,
            metadata_format="Classified_Tiles",
            classvalue_field="Classvalue",
            output_location=tmp_path / "cover.zarr",
            progress=False,
        )
    )
    with rasterio.open(files[0]) as first:
        fields = geopandas.read_file(layer).to_crs(first.crs)
        pixels = np.concatenate([_read(path) for path in files])
        naive = NaiveChips(pixels, first.transform, fields.geometry.array, fields["Classvalue"], 64)
    corners = [tuple(window[:2]) for window in store.windows.tolist()]
    assert corners == list(naive)
    for number, corner in enumerate(corners):
        np.testing.assert_array_equal(store.images([number])[0], naive.image(*corner))
        np.testing.assert_array_equal(store.masks([number])[0], naive.mask(*corner))
    assert {c.name for c in store.spec.classes} == set(fields["Classname"])


def test_a_pair_of_dates_and_its_change_make_change_tiles(data_folder: Path, tmp_path: Path) -> None:
    folder = data_folder / "change_suriname"
    store = ChipStore(
        export_training_data(
            folder / "example_t0.tif",
            folder / "example.geojson",
            None,
            72,
            metadata_format="Classified_Tiles",
            additional_input_raster=folder / "example_t1.tif",
            output_location=tmp_path / "change.zarr",
            context={"exportAllTiles": True},
            progress=False,
        )
    )
    before, after = _read(folder / "example_t0.tif"), _read(folder / "example_t1.tif")
    for number, (row, col, *_) in enumerate(store.windows.tolist()):
        part = np.s_[:, row : row + 72, col : col + 72]
        np.testing.assert_array_equal(store.images([number])[0], before[part])
        np.testing.assert_array_equal(store.images2([number])[0], after[part])
    assert store.class_pixels[1] > 0


def test_two_dates_of_unlike_extent_are_laid_on_one_grid(data_folder: Path, tmp_path: Path) -> None:
    dates = sorted((data_folder / "timeseries_naip").glob("*.tif"))
    store = ChipStore(
        export_training_data(
            dates[0],
            None,
            None,
            128,
            metadata_format="Export_Tiles",
            additional_input_raster=dates[3],
            output_location=tmp_path / "pairs.zarr",
            progress=False,
        )
    )
    with rasterio.open(dates[0]) as first, rasterio.open(dates[3]) as second:
        shift = np.asarray(~second.transform @ (first.transform.c, first.transform.f))
        assert len(store) == (first.height // 128) * (first.width // 128)
        before, after = first.read(), second.read()
    right, down = np.round(shift).astype(int).tolist()
    for number, (row, col, *_) in enumerate(store.windows.tolist()):
        np.testing.assert_array_equal(store.images([number])[0], before[:, row : row + 128, col : col + 128])
        if np.allclose(shift, np.round(shift), atol=1e-6) and row + down >= 0 and col + right >= 0:
            expected = after[:, row + down : row + down + 128, col + right : col + right + 128]
            np.testing.assert_array_equal(store.images2([number])[0], expected)


def test_tree_crowns_marked_in_pixels_become_the_same_boxes_again(data_folder: Path, tmp_path: Path) -> None:
    image = data_folder / "trees_neon" / "OSBS_029.tif"
    marked = pandas.read_csv(data_folder / "trees_neon" / "OSBS_029.csv")
    with rasterio.open(image) as scene:
        corners = marked[["xmin", "ymin", "xmax", "ymax"]].to_numpy(float)
        ground = [
            shapely.box(*(scene.transform @ (x0, y1)), *(scene.transform @ (x1, y0)))
            for x0, y0, x1, y1 in corners
        ]
        trees = geopandas.GeoDataFrame({"name": marked["label"]}, geometry=ground, crs=scene.crs)
    out = Path(
        export_training_data(
            image,
            trees,
            "PNG",
            400,
            metadata_format="YOLO",
            classvalue_field="name",
            output_location=tmp_path / "trees",
            progress=False,
        )
    )
    lines = next(out.glob("labels/**/*.txt")).read_text().splitlines()
    rows = np.array([[float(number) for number in line.split()] for line in lines])
    centre, size = rows[:, 1:3] * 400, rows[:, 3:5] * 400
    _same_boxes(np.concatenate([centre - size / 2, centre + size / 2], axis=1), corners, tolerance=0.01)
    assert json.dumps((out / "data.yaml").read_text()).count("Tree") == 1
