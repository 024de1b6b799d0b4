"""classify_objects without features: each raster is one object."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from rasterloom.models.errors import ModelMismatchError, RasterloomError, SettingError
from rasterloom.pipeline import classify_objects, open_raster
from rasterloom.pipeline.inference.scenes import images, whole
from tests.support.rasters import write_pixels
from tests.support.shades import shade_model, shade_of


def _grey(value: int, height: int = 30, width: int = 50) -> np.ndarray:
    return np.full((1, height, width), value, np.uint8)


def _photo(path: Path, pixels: np.ndarray) -> Path:
    profile = {"driver": path.suffix[1:].upper(), "height": pixels.shape[1], "width": pixels.shape[2]}
    with (
        pytest.warns(NotGeoreferencedWarning),
        rasterio.open(path, "w", count=1, dtype="uint8", **profile) as file,
    ):
        file.write(pixels)
    return path


def _labels(source: Any, output: Path, arguments: Any = None, **changes: Any) -> Any:
    model = changes.pop("model", None) or shade_model()
    path = classify_objects(source, model, arguments, output_name=output, progress=False, **changes)
    return geopandas.read_parquet(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Rasters of two zones, and a photograph; their names are their greys."""
    made = tmp_path / "rasters"
    made.mkdir()
    write_pixels(made / "040.tif", _grey(40))
    write_pixels(made / "100.tif", _grey(100, 64, 16), crs="EPSG:32632", origin=(400_000, 5_000_000))
    write_pixels(made / "230.tif", _grey(230, 5, 5))
    _photo(made / "150.png", _grey(150))
    return made


def test_each_raster_of_a_folder_has_a_label_and_its_ground(folder: Path, tmp_path: Path) -> None:
    found = _labels(folder, tmp_path / "o.parquet")
    assert list(found.columns) == ["OID", "Raster", "ClassLabel", "Confidence", "geometry"]
    assert found.crs.to_epsg() == 32633
    rows = found.assign(stem=[Path(name).stem for name in found["Raster"]]).set_index("stem")
    assert sorted(rows.index) == ["040", "100", "150", "230"]
    for stem, row in rows.iterrows():
        label, confidence = shade_of(float(stem))
        assert row["ClassLabel"] == label
        assert row["Confidence"] == pytest.approx(confidence, abs=1e-3)
    assert rows.loc["040"].geometry.bounds == (500_000, 4_999_970, 500_050, 5_000_000)
    assert rows.loc["150"].geometry is None
    other = geopandas.GeoSeries([rows.loc["100"].geometry], crs=found.crs).to_crs("EPSG:32632")
    assert other.total_bounds == pytest.approx([400_000, 4_999_936, 400_016, 5_000_000], abs=1e-3)


def test_rasters_without_ground_make_a_table(tmp_path: Path) -> None:
    paths = [_photo(tmp_path / f"{value}.png", _grey(value)) for value in (20, 250)]
    found = _labels([str(path) for path in paths], tmp_path / "o.parquet")
    assert found.crs is None
    assert found.geometry.isna().all()
    assert dict(zip(found["Raster"], found["ClassLabel"], strict=True)) == {
        str(paths[0]): "dark",
        str(paths[1]): "bright",
    }


def test_the_file_is_the_same_for_any_crew(
    folder: Path, tmp_path: Path, client: Any, monkeypatch: Any
) -> None:
    _labels(folder, tmp_path / "alone.parquet")
    _labels(folder, tmp_path / "crew.parquet", {"batch_size": 1}, client=client)
    monkeypatch.setattr(whole, "_FILE", 2)
    _labels(folder, tmp_path / "tasks.parquet")
    contents = {(tmp_path / f"{name}.parquet").read_bytes() for name in ("alone", "crew", "tasks")}
    assert len(contents) == 1


def test_large_rasters_are_seen_whole_at_a_bounded_size(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(images, "MOST", 64)
    pixels = np.concatenate([_grey(100, 300, 500), _grey(120, 300, 500)], axis=2)
    for path in (write_pixels(tmp_path / "placed.tif", pixels), _photo(tmp_path / "plain.png", pixels)):
        seen = images.read_image(path, shade_model().spec)
        assert seen.pixels.shape == (1, 19, 64)
        assert seen.pixels.mean() == pytest.approx(110, abs=0.5)
        assert _labels(path, tmp_path / f"{path.stem}.parquet")["ClassLabel"].tolist() == ["grey"]


def test_an_array_is_one_object(tmp_path: Path) -> None:
    array = open_raster(write_pixels(tmp_path / "a.tif", _grey(100))) * 2
    found = _labels(array, tmp_path / "o.parquet")
    assert found["ClassLabel"].tolist() == ["bright"]
    assert found.total_bounds.tolist() == [500_000, 4_999_970, 500_050, 5_000_000]


def test_what_is_nodata_is_black_as_in_training(tmp_path: Path) -> None:
    pixels = _grey(220)
    pixels[:, :, 10:] = 7
    found = _labels(write_pixels(tmp_path / "n.tif", pixels, nodata=7), tmp_path / "o.parquet")
    assert found["ClassLabel"].tolist() == ["dark"]


def test_rasters_that_cannot_be_read_are_told_and_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "broken.tif").write_bytes(b"no raster")
    with pytest.warns(UserWarning, match=r"1 rasters cannot be read and are left out: .*broken.tif"):
        assert len(_labels(folder, tmp_path / "o.parquet")) == 4
    with pytest.raises(RasterloomError, match=r"broken.tif"):
        _labels(folder / "broken.tif", tmp_path / "p.parquet")


def test_uncertain_rasters_have_no_label(folder: Path, tmp_path: Path) -> None:
    found = _labels(folder, tmp_path / "o.parquet", {"score_threshold": 0.995})
    assert 0 < found["ClassLabel"].isna().sum() < 4
    assert (found["Confidence"][found["ClassLabel"].isna()] < 99.5).all()
    assert not pandas.isna(found["Confidence"]).any()


def test_the_layer_stands_beside_its_source_by_default(folder: Path) -> None:
    path = classify_objects(folder, shade_model(), progress=False)
    assert path == str(folder.parent / "rasters_classified.parquet")
    assert not list(folder.parent.glob("_run/*/inputs/*")), "nothing is left but the layer and the story"


def test_what_cannot_work_is_refused(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.parquet"
    with pytest.raises(SettingError, match=r"context\['extent'\] is about ground.*give features"):
        _labels(folder, output, context={"extent": (0, 0, 1, 1)})
    with pytest.raises(SettingError, match="is the field with the rasters' names"):
        _labels(folder, output, class_label_field="Raster")
    with pytest.raises(SettingError, match="which is no vector format"):
        _labels(folder, folder / "040.tif", overwrite=True)
    with pytest.raises(SettingError, match="give input_features"):
        classify_objects(folder, shade_model(), estimate=True)
    with pytest.raises(ModelMismatchError, match="has 1"):
        _labels(folder / "150.png", output, model=shade_model(bands=3))
