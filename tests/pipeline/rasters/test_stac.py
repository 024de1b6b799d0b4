import json

import numpy as np
import pystac
import pytest

from rasterloom.models.errors import MissingInputError, RasterError, SettingError
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.pinned import pinned
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import write_raster
from tests.support.web import serve_folder

GEOTIFF = "image/tiff; application=geotiff; profile=cloud-optimized"


def whole(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))


def asset(name, *bands, roles=("data",), **more):
    listed = {"eo:bands": [{"name": band, "common_name": band} for band in bands]} if bands else {}
    return {"href": f"./{name}", "type": GEOTIFF, "roles": list(roles), **listed, **more}


def item(name, assets, base=None):
    links = [{"rel": "self", "href": str(base)}] if base else []
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2024-05-01T00:00:00Z"},
        "links": links,
        "assets": assets,
    }


@pytest.fixture
def place(tmp_path):
    """Three bands in three files, the third with larger cells, a preview and a mask of another type."""
    write_raster(tmp_path / "red.tif", height=40, width=60, bands=1, dtype="uint16")
    write_raster(tmp_path / "nir.tif", height=40, width=60, bands=1, dtype="uint16", seed=1)
    write_raster(tmp_path / "swir.tif", height=20, width=30, bands=1, dtype="uint16", cell=2.0, seed=2)
    write_raster(tmp_path / "clouds.tif", height=40, width=60, bands=1)
    write_raster(tmp_path / "preview.tif", height=40, width=60)
    assets = {
        "thumbnail": asset("preview.tif", roles=("thumbnail",)),
        "B04": asset("red.tif", "red"),
        "B08": asset("nir.tif", "nir"),
        "B11": asset("swir.tif", "swir16"),
        "clouds": asset("clouds.tif", roles=("cloud",)),
        "page": {"href": "./page.html", "type": "text/html"},
    }
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item("scene", assets)))
    return path


def forms(path):
    read = json.loads(path.read_text())
    known = item("scene", read["assets"], path)
    return {
        "path": path,
        "text": str(path),
        "dictionary": known,
        "pystac": pystac.Item.from_file(str(path)),
        "collection": {"type": "FeatureCollection", "features": [known]},
        "item collection": pystac.ItemCollection([pystac.Item.from_file(str(path))]),
        "list": [known],
        "list of paths": [path],
    }


@pytest.mark.parametrize("form", ["path", "text", "dictionary", "pystac", "collection", "item collection"])
def test_an_item_is_its_data_stacked_on_the_finest_grid(place, form):
    raster = describe(forms(place)[form])
    assert raster.bands == ("red", "nir", "swir16")
    assert raster.name == "STAC item scene"
    pixels, valid = whole(raster)
    assert valid.all()
    red = describe(place.parent / "red.tif")
    assert raster.grid == red.grid
    np.testing.assert_array_equal(pixels[0], whole(red)[0][0])
    swir = whole(describe(place.parent / "swir.tif").on_grid(red.grid))[0][0]
    np.testing.assert_allclose(pixels[2].astype(int), swir.astype(int), atol=1)
    np.testing.assert_array_equal(open_raster(forms(place)[form]).values, pixels)


@pytest.mark.parametrize("form", ["list", "list of paths"])
def test_a_list_of_one_item_is_that_item(place, form):
    assert describe(forms(place)[form]).etag == describe(place).etag


@pytest.mark.parametrize(
    ("assets", "bands", "files"),
    [
        ("B08", ("nir",), [("nir", 0)]),
        (["B08", "B04"], ("nir", "red"), [("nir", 0), ("red", 0)]),
        ({"thumbnail": [3, 1]}, ("thumbnail_3", "thumbnail_1"), [("preview", 2), ("preview", 0)]),
        ({"B04": ["red"], "B08": [1]}, ("red", "nir"), [("red", 0), ("nir", 0)]),
        (["thumbnail"], ("thumbnail_1", "thumbnail_2", "thumbnail_3"), [("preview", k) for k in range(3)]),
    ],
)
def test_assets_and_bands_can_be_chosen(place, assets, bands, files):
    raster = describe(place, assets=assets)
    assert raster.bands == bands
    for pixels, (name, band) in zip(whole(raster)[0], files, strict=True):
        np.testing.assert_array_equal(pixels, whole(describe(place.parent / f"{name}.tif"))[0][band])


def test_the_resampling_of_coarser_assets_can_be_chosen(place):
    pixels = whole(describe(place, resampling="nearest"))[0][2]
    coarse = whole(describe(place.parent / "swir.tif"))[0][0]
    np.testing.assert_array_equal(pixels, coarse.repeat(2, axis=0).repeat(2, axis=1))


def test_several_items_are_one_mosaic(tmp_path):
    for index in range(2):
        write_raster(
            tmp_path / f"{index}.tif", height=20, width=30, origin=(500000 + 30 * index, 5000000), seed=index
        )
        (tmp_path / f"{index}.json").write_text(
            json.dumps(item(str(index), {"visual": asset(f"{index}.tif", "red", "green", "blue")}))
        )
    raster = describe([tmp_path / "0.json", tmp_path / "1.json"])
    assert raster.name == "mosaic of 2 STAC items"
    assert raster.bands == ("red", "green", "blue")
    files = describe([tmp_path / "0.tif", tmp_path / "1.tif"])
    np.testing.assert_array_equal(whole(raster)[0], whole(files)[0])
    small = pinned(raster, tmp_path / "run")
    assert len(small.path) < 300
    np.testing.assert_array_equal(whole(small)[0], whole(files)[0])


def test_an_item_behind_a_web_address_leads_to_the_files_beside_it(place):
    with serve_folder(place.parent) as web:
        raster = describe(f"{web.url}/item.json", assets=["B04", "B11"])
        np.testing.assert_array_equal(whole(raster)[0], whole(describe(place, assets=["B04", "B11"]))[0])
        with pytest.raises(MissingInputError, match=r"gone\.json could not be fetched"):
            describe(f"{web.url}/gone.json?token=secret")


def test_files_with_nodata_keep_it_in_a_stack(tmp_path):
    for index in range(2):
        write_raster(tmp_path / f"{index}.tif", height=20, width=20, bands=1, nodata=0, seed=index)
    source = item("scene", {str(k): asset(f"{k}.tif", f"b{k}") for k in range(2)}, tmp_path / "i.json")
    raster = describe(source)
    assert raster.nodata == 0
    np.testing.assert_array_equal(whole(raster)[1], whole(describe(tmp_path / "0.tif"))[1])


def test_bands_of_the_newer_and_the_older_standard_are_named(tmp_path):
    write_raster(tmp_path / "a.tif", height=9, width=9, bands=2)
    new = asset("a.tif", bands=[{"name": "B1", "eo:common_name": "red"}, {"name": "B2"}])
    assert describe(item("i", {"a": new}, tmp_path / "i.json")).bands == ("red", "B2")
    old = item("i", {"a": asset("a.tif") | {"eo:bands": [1, 0]}}, tmp_path / "i.json")
    old["properties"]["eo:bands"] = [{"name": "blue"}, {"common_name": "nir"}]
    assert describe(old).bands == ("nir", "blue")


def test_names_that_two_assets_share_are_told_apart(tmp_path):
    write_raster(tmp_path / "a.tif", height=9, width=9, bands=1)
    assets = {key: asset("a.tif", "rededge") for key in ("B05", "B06")}
    assert describe(item("i", assets, tmp_path / "i.json")).bands == ("B05", "B06")


def test_data_of_several_types_asks_to_choose(place):
    read = json.loads(place.read_text())
    read["assets"]["clouds"] = asset("clouds.tif", "clouds")
    place.write_text(json.dumps(read))
    words = r"assets= among B04 \(uint16\), B08 \(uint16\), B11 \(uint16\), clouds \(uint8\)"
    with pytest.raises(RasterError, match=words):
        describe(place)
    with pytest.raises(RasterError, match="pixel type"):
        describe(place, assets=["B04", "clouds"])


@pytest.mark.parametrize(
    ("assets", "error", "words"),
    [
        ("B99", SettingError, r"no asset 'B99': it has thumbnail, B04"),
        ({"B04": [2]}, SettingError, r"no band 2: it has 1 to 1 \(red\)"),
        ({"B04": []}, SettingError, "names no band"),
        ([], SettingError, "assets= is empty"),
        ("page", MissingInputError, r"asset page of STAC item scene.*page\.html"),
    ],
)
def test_what_an_item_does_not_have_is_said(place, assets, error, words):
    with pytest.raises(error, match=words):
        describe(place, assets=assets)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "no STAC item or ItemCollection"),
        ('{"type": "Catalog"}', "it says 'Catalog'"),
        ('{"type": "FeatureCollection", "features": []}', "holds no STAC item"),
        ('{"type": "Feature", "geometry": null}', "holds no STAC item"),
    ],
)
def test_json_that_is_no_item_is_refused(tmp_path, content, words):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(RasterError, match=words):
        describe(tmp_path / "a.json")


def test_an_item_without_a_place_asks_for_it(place):
    with pytest.raises(RasterError, match="beside a JSON file that is not known: give its path"):
        describe(json.loads(place.read_text()))


def test_an_item_of_pictures_alone_asks_to_choose(tmp_path):
    with pytest.raises(RasterError, match=r"no asset that looks like data: name some with assets= among a"):
        describe(item("i", {"a": asset("a.tif", roles=("overview",))}))


def test_a_landsat_scene_is_a_stack_of_its_reflectances(data_folder):
    folder = data_folder / "stac_landsat8"
    read = json.loads(next(folder.glob("*_stac.json")).read_text())
    for each in read["assets"].values():  # the item names the provider's server, and the files lie here
        each["href"] = str(folder / each["href"].rpartition("/")[2])
    kept = [key for key, each in read["assets"].items() if (folder / each["href"]).is_file()]
    raster = describe(read, assets=[key for key in kept if key.startswith("SR_B")])
    assert raster.bands == ("blue", "green", "red", "nir08", "swir16", "swir22")
    pixels, valid = whole(raster)
    assert pixels.shape == (6, *raster.grid.shape)
    assert 0.3 < valid.mean() < 0.9  # the scene lies askew in its square
    files = [describe(folder / read["assets"][key]["href"]) for key in kept if key.startswith("SR_B")]
    for band, file in zip(pixels, files, strict=True):
        np.testing.assert_array_equal(band, whole(file)[0][0])
