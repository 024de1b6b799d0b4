"""Photographs as points where they were taken."""

import geopandas
import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from rasterloom.models.errors import MissingInputError, OutputExistsError, SettingError
from rasterloom.models.scenes.predicting import predict_folder_and_create_layer
from tests.support.scene_models import colour_model
from tests.support.scenes import coloured

_GPS = 0x8825


@pytest.fixture
def model():
    return colour_model()


def _dms(degrees):
    """Degrees, minutes and seconds as a camera writes them."""
    minutes, seconds = divmod(round(abs(degrees) * 3600 * 1000), 60_000)
    whole, minutes = divmod(minutes, 60)
    return (IFDRational(whole), IFDRational(minutes), IFDRational(seconds, 1000))


def _photo(path, classes, place=None, *, size=(40, 24)):
    present = np.isin(np.arange(3), classes)[None]
    pixels = np.moveaxis(coloured(present, side=max(size))[0], 0, -1)[: size[1], : size[0]]
    picture, exif = Image.fromarray(pixels), Image.Exif()
    if place is not None:
        longitude, latitude = place
        gps = {
            1: "N" if latitude >= 0 else "S",
            2: _dms(latitude),
            3: "E" if longitude >= 0 else "W",
            4: _dms(longitude),
        }
        exif.get_ifd(_GPS).update(gps)
    picture.save(path, exif=exif)


PLACES = {"a.jpg": (85.32, 27.71), "b.jpg": (-70.65, -33.45), "c.jpg": (-0.1275, 51.507222)}


@pytest.fixture
def folder(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, (name, place) in enumerate(PLACES.items()):
        _photo(photos / name, [number], place)
    (photos / "notes.txt").write_text("no photograph")
    return photos


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_each_photograph_is_a_point_with_its_label(folder, model, tmp_path, batch_size):
    path = predict_folder_and_create_layer(model, folder, tmp_path / "points", batch_size=batch_size)
    points = geopandas.read_parquet(path).set_index("image")
    assert path.name == "points.parquet"
    assert points.crs == "EPSG:4326"
    assert points["predict"].to_dict() == {"a.jpg": "meadow", "b.jpg": "roof", "c.jpg": "lake"}
    assert points["confidence"].between(0.9, 1).all()
    for name, (longitude, latitude) in PLACES.items():
        place = points.geometry[name]
        assert (place.x, place.y) == (pytest.approx(longitude, abs=1e-6), pytest.approx(latitude, abs=1e-6))


def test_the_file_depends_on_no_batch_size(folder, model, tmp_path):
    one, many = (
        predict_folder_and_create_layer(model, folder, tmp_path / f"{size}.parquet", batch_size=size)
        for size in (1, 64)
    )
    assert one.read_bytes() == many.read_bytes()


def test_photographs_without_a_place_are_left_out_and_told_of(folder, model, tmp_path):
    _photo(folder / "d.jpg", [1])
    (folder / "e.jpg").write_bytes(b"no image")
    Image.new("L", (8, 8)).save(folder / "f.png")
    with pytest.warns(UserWarning, match=r"3 of 6 photographs are left out; the first: d\.jpg does not say"):
        path = predict_folder_and_create_layer(model, folder, tmp_path / "points.gpkg")
    assert sorted(geopandas.read_file(path)["image"]) == sorted(PLACES)


def test_fields_have_the_names_that_are_asked_for(folder, model, tmp_path):
    path = predict_folder_and_create_layer(model, folder, tmp_path / "p.parquet", None, "label", "sure")
    assert {"image", "label", "sure", "geometry"} <= set(geopandas.read_parquet(path))


def test_several_labels_stand_side_by_side(folder, tmp_path):
    _photo(folder / "d.jpg", [0, 2], (1.0, 2.0))
    path = predict_folder_and_create_layer(colour_model(multilabel=True), folder, tmp_path / "points")
    points = geopandas.read_parquet(path).set_index("image")
    assert sorted(points["predict"]["d.jpg"].split(", ")) == ["lake", "meadow"]


def test_what_cannot_work_is_refused(folder, model, tmp_path):
    with pytest.raises(SettingError, match="gis=None"):
        predict_folder_and_create_layer(model, folder, tmp_path / "p", object())
    with pytest.raises(SettingError, match="two different names"):
        predict_folder_and_create_layer(model, folder, tmp_path / "p", None, "image")
    with pytest.raises(SettingError, match="batch_size=0"):
        predict_folder_and_create_layer(model, folder, tmp_path / "p", batch_size=0)
    with pytest.raises(MissingInputError, match="there is no folder"):
        predict_folder_and_create_layer(model, folder / "none", tmp_path / "p")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInputError, match="holds no photographs"):
        predict_folder_and_create_layer(model, tmp_path / "empty", tmp_path / "p")
    (tmp_path / "p.parquet").write_bytes(b"there")
    with pytest.raises(OutputExistsError):
        predict_folder_and_create_layer(model, folder, tmp_path / "p")
