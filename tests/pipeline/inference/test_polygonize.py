"""Polygons of a class raster on the ground: exact, the same for any cut, with all that is told of each."""

import json
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from scipy.ndimage import gaussian_filter

from rasterloom.models.errors import OutputExistsError, SettingError
from rasterloom.pipeline import polygonize
from tests.support.rasters import write_pixels


def patches(height: int, width: int, *, seed: int = 0, smooth: float = 2.0) -> np.ndarray:
    """(row, column) of four classes, 0..3, in patches of all sizes."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), smooth)
    return np.digitize(field, np.quantile(field, [0.3, 0.5, 0.8])).astype(np.uint8)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pixels(tmp_path_factory.mktemp("classes") / "map.tif", patches(150, 131)[None], cell=2.0)


def test_the_layer_holds_what_gdal_finds_in_the_whole_raster(classes: Path, tmp_path: Path) -> None:
    written = polygonize(str(classes), tmp_path / "areas.parquet", cell_size=37, progress=False)
    layer = geopandas.read_parquet(written)
    with rasterio.open(classes) as source:
        found = rasterio.features.shapes(source.read(1).astype(np.int32), transform=source.transform)
        assert layer.crs == source.crs
    whole = sorted((int(v), shapely.normalize(shapely.geometry.shape(each)).wkb) for each, v in found)
    ours = zip(layer["ClassValue"], shapely.normalize(layer.geometry.to_numpy()), strict=True)
    assert sorted((value, outline.wkb) for value, outline in ours) == whole
    assert layer["OID"].tolist() == list(range(1, len(layer) + 1))
    assert layer["Area"].tolist() == shapely.area(layer.geometry.to_numpy()).tolist()
    assert layer["Area"].sum() == 150 * 131 * 4
    assert sorted(path.name for path in tmp_path.iterdir()) in (["areas.parquet"], ["_run", "areas.parquet"])


@pytest.mark.parametrize(
    "settings",
    [{}, {"simplify": 4.0}, {"regularize": True}, {"connectivity": 8, "minimum_area": 20}],
    ids=str,
)
def test_the_file_is_the_same_for_any_cut(classes: Path, tmp_path: Path, settings: dict) -> None:
    files = set()
    for number, side in enumerate((1000, 64, 23)):
        name = tmp_path / f"{number}.parquet"
        polygonize(str(classes), name, cell_size=side, progress=False, **settings)
        files.add(name.read_bytes())
    assert len(files) == 1
    layer = geopandas.read_parquet(tmp_path / "0.parquet")
    assert layer.geometry.is_valid.all()
    if "simplify" in settings:
        assert shapely.coverage_is_valid(layer.geometry.to_numpy())
    if "minimum_area" in settings:
        assert layer["Area"].min() >= 20


def test_names_come_from_the_raster_and_background_is_left_out(tmp_path: Path) -> None:
    path = write_pixels(tmp_path / "map.tif", np.array([[[0, 0, 1], [2, 2, 255]]], np.uint8), nodata=255)
    plain = geopandas.read_parquet(polygonize(str(path), progress=False))
    assert sorted(plain["ClassValue"]) == [0, 1, 2]
    assert sorted(plain["Class"]) == ["0", "1", "2"]
    listed = [
        {"value": 1, "name": "Road", "color": [0, 0, 0]},
        {"value": 2, "name": "Wood", "color": [0, 0, 0]},
    ]
    with rasterio.open(path, "r+") as target:
        target.update_tags(CLASSES=json.dumps(listed))
    named = geopandas.read_parquet(polygonize(str(path), overwrite=True, progress=False))
    assert sorted(named["Class"]) == ["Road", "Wood"]
    only = polygonize(str(path), tmp_path / "only.gpkg", classes=[2], progress=False)
    assert geopandas.read_file(only)["Class"].tolist() == ["Wood"]


@pytest.mark.parametrize("kind", ["bands", "one"])
def test_the_mean_probability_is_that_of_the_pixels_of_each_polygon(tmp_path: Path, kind: str) -> None:
    pixels = patches(40, 40) % 2 + 1
    path = write_pixels(tmp_path / "map.tif", pixels[None])
    listed = [{"value": 1, "name": "Road"}, {"value": 2, "name": "Wood"}]
    with rasterio.open(path, "r+") as target:
        target.update_tags(CLASSES=json.dumps(listed))
    stored = np.random.default_rng(0).integers(0, 255, (2, 40, 40)).astype(np.uint8)
    chosen = np.where(pixels == 1, stored[0], stored[1])
    shares = write_pixels(tmp_path / "shares.tif", stored if kind == "bands" else chosen[None], nodata=255)
    with rasterio.open(shares, "r+") as target:
        target.scales = [1 / 254] * target.count
        if kind == "bands":
            target.descriptions = ("Road", "Wood")
    written = polygonize(
        str(path), tmp_path / "a.parquet", probability=str(shares), cell_size=16, progress=False
    )
    with rasterio.open(path) as source:
        transform = source.transform
    for _, row in geopandas.read_parquet(written).iterrows():
        inside = rasterio.features.rasterize([row.geometry], (40, 40), transform=transform) == 1
        assert row["MeanProbability"] == pytest.approx(chosen[inside].mean() / 254, abs=1e-6)


def test_extent_and_mask_bound_what_there_is(classes: Path, tmp_path: Path) -> None:
    west, south, east, north = 500020, 4999800, 500100, 4999900
    context = {"extent": [west, south, east, north]}
    part = polygonize(str(classes), tmp_path / "part.parquet", context=context, cell_size=16, progress=False)
    assert geopandas.read_parquet(part)["Area"].sum() == (east - west) * (north - south)
    mask = geopandas.GeoDataFrame(geometry=[shapely.box(west, south, east, north)], crs=32633)
    masked = polygonize(
        str(classes), tmp_path / "masked.parquet", context={"mask": mask}, cell_size=16, progress=False
    )
    assert geopandas.read_parquet(masked)["Area"].sum() == (east - west) * (north - south)


def test_what_cannot_work_is_said_before_anything_is_read(classes: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    for settings, says in (
        ({"connectivity": 6}, "use 4"),
        ({"simplify": -1.0}, "0 or more"),
        ({"minimum_area": float("nan")}, "0 or more"),
        ({"classes": []}, "empty"),
        ({"cell_size": 0}, "1 or more"),
        ({"probability": str(classes)}, "does not say what stands for"),
    ):
        with pytest.raises(SettingError, match=says):
            polygonize(str(classes), output, progress=False, **settings)
    floating = write_pixels(tmp_path / "shares.tif", np.zeros((1, 8, 8), np.float32))
    with pytest.raises(SettingError, match="whole numbers"):
        polygonize(str(floating), output, progress=False)
    output.write_bytes(b"")
    with pytest.raises(OutputExistsError):
        polygonize(str(classes), output, progress=False)
    with pytest.raises(SettingError, match="read by this call"):
        polygonize(str(classes), str(classes), progress=False)


def test_a_raster_with_nothing_in_it_gives_an_empty_layer(tmp_path: Path) -> None:
    path = write_pixels(tmp_path / "map.tif", np.full((1, 70, 70), 255, np.uint8), nodata=255)
    layer = geopandas.read_parquet(polygonize(str(path), cell_size=32, progress=False))
    assert not len(layer)
    assert {"OID", "ClassValue", "Class", "Area"} <= set(layer.columns)
