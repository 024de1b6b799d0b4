"""Features labelled by exported chips, by their attachments, and by a raster."""

import geopandas
import numpy as np
import pandas
import pytest
import rasterio
import shapely
from PIL import Image

from rasterloom.models.errors import LabelError, MissingInputError, SettingError
from rasterloom.models.scenes.predicting import categorize_features, classify_features
from rasterloom.pipeline import export_training_data
from tests.support.scene_models import colour_model
from tests.support.scenes import coloured

CRS = "EPSG:32633"
TRUTH = ("meadow", "roof", "lake")


@pytest.fixture
def model():
    return colour_model()


@pytest.fixture
def raster(tmp_path):
    """Three squares of 32 pixels beside each other, each of a class."""
    pixels = np.concatenate(list(coloured(np.array([0, 1, 2]))), axis=2)
    path = tmp_path / "squares.tif"
    kind = {"driver": "GTiff", "count": 3, "dtype": "uint8", "crs": CRS}
    with rasterio.open(
        path, "w", height=32, width=96, transform=rasterio.Affine(1, 0, 1000, 0, -1, 2000), **kind
    ) as target:
        target.write(pixels)
    return path


@pytest.fixture
def features():
    """A thing in the middle of each square, in another order, and one far away."""
    middles = [1016, 1080, 1048, 9000]
    squares = [shapely.box(x - 4, 1980, x + 4, 1988) for x in middles]
    return geopandas.GeoDataFrame({"OBJECTID": [11, 13, 12, 14]}, geometry=squares, crs=CRS)


WANTED = ["meadow", "lake", "roof", None]


def _labels(column):
    return [None if pandas.isna(value) else value for value in column]


@pytest.fixture
def chips(raster, features, tmp_path):
    return export_training_data(
        raster,
        features,
        tile_size=32,
        metadata_format="Labeled_Tiles",
        classvalue_field="OBJECTID",
        output_location=tmp_path / "chips.zarr",
        progress=False,
    )


def test_exported_chips_label_the_features_that_they_are_of(model, features, chips):
    assert classify_features(model, features, chips, "OBJECTID", "label", "sure") is True
    labels = _labels(features["label"])
    assert labels[3] is None
    assert np.isnan(features["sure"][3])
    assert set(filter(None, labels)) <= set(TRUTH)
    assert labels[:3] == WANTED[:3]
    assert features["sure"][:3].between(0.3, 1).all()


def test_a_caller_decides_between_several_chips(model, features, chips):
    seen = []

    def decide(votes):
        seen.append(votes)
        return "mine", 0.25

    classify_features(model, features, chips, "OBJECTID", "label", "sure", decide)
    assert all(0 <= share <= 1 for votes in seen for _, share in votes)
    assert _labels(features["label"]) == ["mine"] * 3 + [None]
    assert features["sure"][0] == 0.25


@pytest.mark.parametrize("ending", [".parquet", ".gpkg", ".geojson", ".fgb"])
def test_a_file_gets_the_new_fields_and_keeps_the_rest(ending, model, features, chips, tmp_path):
    path = tmp_path / f"things{ending}"
    features.to_parquet(path) if ending == ".parquet" else features.to_file(path)
    classify_features(model, path, chips, "OBJECTID", "label")
    read = geopandas.read_parquet(path) if ending == ".parquet" else geopandas.read_file(path)
    by_id = read.set_index("OBJECTID")
    assert [_labels([by_id["label"][key]])[0] for key in features["OBJECTID"]] == WANTED
    assert by_id.geometry.loc[11].equals(features.geometry[0])
    assert read.crs == CRS
    assert list(tmp_path.glob(".things*")) == []


@pytest.mark.parametrize("batch_size", [1, 64])
def test_a_raster_labels_features(batch_size, model, features, raster):
    with pytest.warns(UserWarning, match="1 lie outside of the raster"):
        assert categorize_features(model, features, raster, batch_size=batch_size) is True
    assert _labels(features["prediction"]) == WANTED
    assert _labels(features["class_val"]) == [2, 9, 5, None]
    assert features["confidence"][:3].between(0.9, 1).all()
    assert np.isnan(features["confidence"][3])


def test_fields_that_are_there_are_kept_unless_they_may_go(model, features, raster):
    features = features.iloc[:3].copy()
    features["prediction"] = "mine"
    with pytest.raises(SettingError, match=r"have prediction already: use overwrite=True"):
        categorize_features(model, features, raster)
    assert list(features["prediction"]) == ["mine"] * 3
    categorize_features(model, features, raster, overwrite=True, confidence_field=None)
    assert _labels(features["prediction"]) == WANTED[:3]
    assert "confidence" not in features


def test_attachments_label_features(model, tmp_path):
    for number, name in enumerate(TRUTH):
        picture = np.moveaxis(coloured(np.array([number]), side=48)[0], 0, -1)
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    named = [["roof.png", "lake.png"], "meadow.png", None, ["lake.png"]]
    frame = geopandas.GeoDataFrame({"attachments": named}, geometry=[shapely.Point(0, 0)] * 4, crs=CRS)
    with pytest.raises(MissingInputError):
        categorize_features(model, frame.copy())
    path = tmp_path / "things.parquet"
    frame["attachments"] = [value if isinstance(value, list) else [value] if value else [] for value in named]
    frame.to_parquet(path)
    categorize_features(model, path, predict_function=lambda votes: sorted(votes)[0])
    assert _labels(geopandas.read_parquet(path)["prediction"]) == ["lake", "meadow", None, "lake"]


def test_what_cannot_work_is_refused(model, features, chips, raster, tmp_path):
    with pytest.raises(LabelError, match="have no field 'number': they have OBJECTID"):
        classify_features(model, features, chips, "number", "label")
    features["same"] = 1
    with pytest.raises(LabelError, match="does not tell the features apart"):
        classify_features(model, features, chips, "same", "label")
    with pytest.raises(LabelError, match="no field 'attachments'"):
        categorize_features(model, features)
    with pytest.raises(SettingError, match="no vector file that gets new fields"):
        classify_features(model, tmp_path / "things.shp", chips, "OBJECTID", "label")
    with pytest.raises(MissingInputError, match="there is no file"):
        classify_features(model, tmp_path / "things.gpkg", chips, "OBJECTID", "label")
    with pytest.raises(SettingError, match="int is no feature layer"):
        classify_features(model, 3, chips, "OBJECTID", "label")
    features.to_file(tmp_path / "two.gpkg", layer="a")
    features.to_file(tmp_path / "two.gpkg", layer="b")
    with pytest.raises(LabelError, match="holds 2 layers"):
        classify_features(model, tmp_path / "two.gpkg", chips, "OBJECTID", "label")
