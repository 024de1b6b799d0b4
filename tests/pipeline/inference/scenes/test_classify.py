"""classify_objects on layers and rasters of all kinds."""

import os
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pytest
import rasterio
import shapely
import torch
from torch import nn

from rasterloom.models import from_torch
from rasterloom.models.errors import (
    LabelError,
    ModelMismatchError,
    OutputExistsError,
    SettingError,
)
from rasterloom.pipeline import classify_objects
from rasterloom.pipeline.inference.estimate import Estimate
from tests.support.models import random_model
from tests.support.networks import seeded
from tests.support.rasters import write_pixels
from tests.support.shades import SHADES, expected, scattered, shade_model, shade_of, shaded

SHAPE = (240, 320)
LOST = "ignore:of the .* features:UserWarning"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pixels(tmp_path_factory.mktemp("scene") / "scene.tif", shaded(30, 40))


@pytest.fixture(scope="module")
def features() -> Any:
    return scattered(150, SHAPE)


def _labels(scene: Any, features: Any, folder: Path, arguments: Any = None, **changes: Any) -> Any:
    model = changes.pop("model", None) or shade_model()
    output = folder / changes.pop("name", "o.parquet")
    path = classify_objects(scene, model, arguments, features, output_name=output, progress=False, **changes)
    return geopandas.read_parquet(path) if path.endswith(".parquet") else geopandas.read_file(path)


def _check(found: Any, scene: Path, features: Any, **rule: Any) -> None:
    """Every label, and every confidence, is that of the chip around the feature."""
    rows = found.set_index("number")
    seen = 0
    for number, shape in zip(features["number"], features.geometry, strict=True):
        mean, row = expected(scene, shape, **rule), rows.loc[number]
        if mean is None:
            assert pandas.isna(row["ClassLabel"])
            assert np.isnan(row["Confidence"])
            continue
        seen += 1
        label, confidence = shade_of(mean)
        assert row["ClassLabel"] == label
        assert row["Confidence"] == pytest.approx(confidence, abs=0.01)
    assert seen > 100


@pytest.mark.filterwarnings(LOST)
@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326", "EPSG:3857"])
def test_each_object_is_labelled_by_the_chip_around_it(
    scene: Path, features: Any, tmp_path: Path, crs: str
) -> None:
    found = _labels(scene, features.to_crs(crs), tmp_path)
    _check(found, scene, features)
    assert found.crs == crs
    assert list(found.columns) == ["OID", "number", "name", "ClassLabel", "Confidence", "geometry"]
    assert len(set(found["ClassLabel"].dropna())) == 3
    given = features.to_crs(crs).set_index("number").loc[found["number"]]
    assert (found["name"].to_numpy() == given["name"].to_numpy()).all()
    assert (found.geometry.to_wkb().to_numpy() == given.geometry.to_wkb().to_numpy()).all()


@pytest.mark.filterwarnings(LOST)
def test_pixels_around_the_object_are_blackened_where_the_model_was_trained_so(
    scene: Path, features: Any, tmp_path: Path
) -> None:
    found = _labels(scene, features, tmp_path, {"blacken_around_feature": True})
    _check(found, scene, features, blacken=True)


@pytest.mark.filterwarnings(LOST)
def test_chips_of_the_objects_own_size_are_enlarged(scene: Path, tmp_path: Path) -> None:
    features = scattered(300, SHAPE)
    features = features[features.area > 0]
    found = _labels(scene, features, tmp_path, {"fix_chip_size": "false"})
    rows = found.set_index("number")
    agree = []
    for number, shape in zip(features["number"], features.geometry, strict=True):
        mean = expected(scene, shape, fixed=False)
        if mean is not None:
            agree.append(rows.loc[number, "ClassLabel"] == shade_of(mean)[0])
    assert len(agree) > 100
    assert np.mean(agree) > 0.97, "enlarging changes a mean a little"


def _small() -> nn.Module:
    """A network with a product of matrices at its end."""
    seen = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    return nn.Sequential(seen, nn.Linear(32, 3))


@pytest.mark.filterwarnings(LOST)
@pytest.mark.parametrize(
    "arguments",
    [{}, {"batch_size": 1}, {"batch_size": 7}, {"batch_size": 64, "test_time_augmentation": True}],
)
def test_the_file_is_the_same_for_any_batch_cell_and_crew(
    scene: Path, features: Any, tmp_path: Path, client: Any, arguments: dict[str, Any]
) -> None:
    model = from_torch(
        seeded(_small), task="scenes", classes=SHADES, bands=1, tile_size=16, normalize=(100, 60)
    )
    alone = tmp_path / "alone.parquet"
    look = {"test_time_augmentation": bool(arguments.get("test_time_augmentation"))}
    _labels(scene, features, tmp_path, look, model=model, name="alone.parquet")
    for name, settings in {"cells": {"cell_size": 1}, "crew": {"client": client}}.items():
        _labels(scene, features, tmp_path, arguments, model=model, name=f"{name}.parquet", **settings)
        assert (tmp_path / f"{name}.parquet").read_bytes() == alone.read_bytes()
    assert len(set(geopandas.read_parquet(alone)["ClassLabel"].dropna())) > 1


def test_what_the_raster_does_not_show_has_no_label_and_is_told(tmp_path: Path) -> None:
    pixels = shaded(8, 8)
    pixels[:, :, 40:] = 0
    scene = write_pixels(tmp_path / "s.tif", pixels, nodata=0)
    x, y = [500_010, 500_055, 499_000, 500_020], [4_999_990, 4_999_990, 4_999_990, 4_999_960]
    points = [*shapely.points(x, y), None, shapely.Polygon()]
    features = geopandas.GeoDataFrame({"number": range(6)}, geometry=points, crs="EPSG:32633")
    told = r"of the 6 features .*: 1 lie outside of the raster.*; 2 have no geometry.*; 1 show nothing"
    with pytest.warns(UserWarning, match=told):
        found = _labels(scene, features, tmp_path).set_index("number")
    assert found["ClassLabel"].notna().to_dict() == {n: n in (0, 3) for n in range(6)}
    assert found["Confidence"].notna().to_dict() == {n: n in (0, 3) for n in range(6)}


def test_a_number_that_is_none_leaves_no_label(scene: Path, features: Any, tmp_path: Path) -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            mean = images.mean(dim=(1, 2, 3))
            return torch.where(mean > 1, torch.nan, mean)[:, None].expand(-1, 2)  # noise has a mean below 1

    model = from_torch(Broken(), task="scenes", classes=["a", "b"], bands=1, tile_size=16)
    inside = features.iloc[[n for n, s in enumerate(features.geometry) if expected(scene, s) is not None][:9]]
    with pytest.warns(UserWarning, match="9 get no number from the network"):
        assert _labels(scene, inside, tmp_path, model=model)["ClassLabel"].isna().all()


@pytest.mark.filterwarnings(LOST)
@pytest.mark.parametrize("suffix", [".gpkg", ".fgb", ".geojson", ".shp"])
def test_every_format_holds_the_labels(scene: Path, features: Any, tmp_path: Path, suffix: str) -> None:
    given = features[features.area > 0]  # one kind of geometry, as a Shapefile has
    found = _labels(scene, given, tmp_path, name=f"o{suffix}").set_index("number")
    same = _labels(scene, given, tmp_path).set_index("number")
    for number in given["number"]:
        written, wanted = found.loc[number, "ClassLabel"], same.loc[number, "ClassLabel"]
        assert written == wanted or (pandas.isna(written) and pandas.isna(wanted))


@pytest.mark.filterwarnings(LOST)
def test_fields_of_the_input_stay_but_for_earlier_labels(scene: Path, features: Any, tmp_path: Path) -> None:
    given = features.assign(
        OID=np.arange(len(features)) + 1000,
        kind=7.5,
        Confidence="old",
        seen=np.datetime64("2024-05-06T07:08:09"),
    )
    given.loc[3, "name"] = None
    given.to_parquet(tmp_path / "given.parquet")
    found = _labels(scene, str(tmp_path / "given.parquet"), tmp_path, class_label_field="kind")
    assert list(found.columns) == ["number", "name", "OID", "seen", "kind", "Confidence", "geometry"]
    rows = found.set_index("number").sort_index()
    assert (rows["OID"] == given["OID"].to_numpy()).all()
    assert pandas.isna(rows.loc[3, "name"])
    assert (rows["seen"] == given["seen"].to_numpy()).all()
    assert set(rows["kind"].dropna()) == set(SHADES)
    assert rows["Confidence"].dtype == float


@pytest.mark.filterwarnings(LOST)
def test_objects_below_the_threshold_stay_without_a_label(scene: Path, features: Any, tmp_path: Path) -> None:
    everything = _labels(scene, features, tmp_path).set_index("number")
    found = _labels(scene, features, tmp_path, {"score_threshold": "0.8"}, name="t.parquet").set_index(
        "number"
    )
    sure = everything["Confidence"] >= 80
    assert 0.2 < sure.mean() < 0.8
    assert (found["ClassLabel"].notna() == sure.loc[found.index]).all()
    assert found["Confidence"].equals(everything["Confidence"].loc[found.index])


@pytest.mark.filterwarnings(LOST)
def test_several_labels_stand_beside_each_other(scene: Path, features: Any, tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            mean = images.mean(dim=(1, 2, 3))
            return torch.stack([mean - 100, mean - 150], dim=1)

    model = from_torch(Two(), task="scenes", classes=["light", "very light"], bands=1, tile_size=16)
    model.spec.parameters["multilabel"] = True
    found = _labels(scene, features, tmp_path, model=model).set_index("number")
    for number, shape in zip(features["number"], features.geometry, strict=True):
        mean = expected(scene, shape)
        if mean is not None:
            wanted = [name for name, level in (("light", 100), ("very light", 150)) if mean >= level]
            assert found.loc[number, "ClassLabel"] == ",".join(wanted)


@pytest.mark.filterwarnings(LOST)
def test_eight_looks_are_merged(scene: Path, features: Any, tmp_path: Path) -> None:
    looks = {
        policy: _labels(
            scene,
            features,
            tmp_path,
            {"test_time_augmentation": True, "merge_policy": policy},
            model=shade_model(upper_half=True),
            name=f"{policy}.parquet",
        ).set_index("number")["Confidence"]
        for policy in ("mean", "max", "min")
    }
    once = _labels(scene, features, tmp_path, model=shade_model(upper_half=True)).set_index("number")
    once = once["Confidence"].loc[looks["max"].index]
    known = once.notna()
    assert (looks["max"][known] >= looks["mean"][known] - 1e-3).all()
    assert (looks["mean"][known] >= looks["min"][known] - 1e-3).all()
    assert (looks["max"][known] >= once[known] - 1e-3).all()
    assert not looks["mean"].equals(once)


@pytest.mark.filterwarnings(LOST)
def test_an_extent_and_a_mask_leave_the_others_without_a_label(
    scene: Path, features: Any, tmp_path: Path
) -> None:
    inside = shapely.box(500_050, 4_999_850, 500_200, 4_999_960)
    area = geopandas.GeoDataFrame(geometry=[inside], crs="EPSG:32633")
    middles = shapely.centroid(shapely.envelope(features.geometry.to_numpy()))
    wanted = set(features["number"][shapely.contains(inside, middles)])
    for name, context in {"mask": {"mask": area}, "extent": {"extent": inside.bounds}}.items():
        found = _labels(scene, features, tmp_path, name=f"{name}.parquet", context=context)
        assert set(found["number"][found["ClassLabel"].notna()]) == wanted
    assert 20 < len(wanted) < 100


@pytest.mark.filterwarnings(LOST)
def test_a_raster_on_another_grid_is_read_as_asked(scene: Path, features: Any, tmp_path: Path) -> None:
    found = _labels(scene, features, tmp_path, context={"cellSize": 2, "outSR": "EPSG:3857"})
    assert found.crs == features.crs
    same = _labels(scene, features, tmp_path, name="p.parquet")
    both = found.merge(same[["number", "ClassLabel"]], on="number").dropna(subset="ClassLabel_y")
    assert both["ClassLabel_x"].notna().mean() > 0.95


@pytest.mark.filterwarnings(LOST)
def test_each_raster_of_a_folder_can_be_looked_at_by_itself(
    scene: Path, features: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "rasters"
    folder.mkdir()
    for number in range(2):
        write_pixels(folder / f"r{number}.tif", shaded(30, 40, seed=number))
    given = (folder, shade_model(), None, features, None, True)
    paths = classify_objects(*given, tmp_path / "out", progress=False)
    assert paths == [str(tmp_path / f"out/r{n}_classified.parquet") for n in range(2)]
    for number, path in enumerate(paths):
        _check(geopandas.read_parquet(path), folder / f"r{number}.tif", features)
    before = [Path(path).stat().st_mtime_ns for path in paths]
    assert classify_objects(*given, tmp_path / "out", progress=False) == paths
    assert [Path(path).stat().st_mtime_ns for path in paths] == before, "finished items are left alone"


@pytest.mark.filterwarnings(LOST)
def test_a_run_that_was_cut_off_goes_on(
    scene: Path, features: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rasterloom.pipeline.inference.scenes import run

    whole = _labels(scene, features, tmp_path, name="whole.parquet")
    real, done = run.run_scene_batch, []

    def stopping(plan: Any, batch: Any) -> Any:
        if len(done) == 0:
            done.append(real(plan, batch))
            return done[0]
        raise KeyError("the program is wrong")

    monkeypatch.setattr("rasterloom.pipeline.inference.scenes.chips.MOST", 40)
    monkeypatch.setattr(run, "run_scene_batch", stopping)
    with pytest.raises(KeyError):
        _labels(scene, features, tmp_path, context={"parallelProcessingFactor": 1})
    assert not (tmp_path / "o.parquet").exists()
    computed = []

    def counting(plan: Any, batch: Any) -> Any:
        computed.append(batch.id)
        return real(plan, batch)

    monkeypatch.setattr(run, "run_scene_batch", counting)
    found = _labels(scene, features, tmp_path, context={"parallelProcessingFactor": 1})
    assert done[0].batch not in computed
    assert len(computed) == 3
    assert found.equals(whole)
    assert not list(tmp_path.glob("_run/*/tiles/*")), "nothing is left but the layer and the story"


def test_unreadable_ground_costs_the_objects_there_and_can_be_tried_again(tmp_path: Path) -> None:
    scene = write_pixels(tmp_path / "s.tif", shaded(200, 80))
    good = scene.read_bytes()
    features = scattered(1200, (1600, 640), seed=3)
    features = features[[expected(scene, shape) is not None for shape in features.geometry]]
    whole = _labels(scene, features, tmp_path, name="whole.parquet")
    with rasterio.open(scene) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_2_24", "TIFF", bidx=1))
    state = scene.stat()
    scene.write_bytes(good[:offset] + bytes(50) + good[offset + 50 :])
    os.utime(scene, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.warns(UserWarning, match="cells could not be computed"):
        found = _labels(scene, features, tmp_path, max_failed=1.0).set_index("number")
    lost = found["ClassLabel"].isna()
    assert 0 < lost.sum() < len(found) / 2
    scene.write_bytes(good)
    os.utime(scene, ns=(state.st_atime_ns, state.st_mtime_ns))
    again = _labels(scene, features, tmp_path, max_failed=1.0, retry_failed=True)
    assert again.equals(whole)


@pytest.mark.filterwarnings(LOST)
def test_an_estimate_counts_and_writes_nothing(scene: Path, features: Any, tmp_path: Path) -> None:
    found = classify_objects(scene, shade_model(), None, features, estimate=True)
    assert isinstance(found, Estimate)
    chips = sum(expected(scene, shape) is not None for shape in features.geometry)
    assert (found.chips, found.batches, found.pixels) == (chips, 1, chips * 256)
    assert found.bytes_read == SHAPE[0] * SHAPE[1]
    assert found.seconds > 0
    assert not list(scene.parent.glob("*classified*"))


@pytest.mark.filterwarnings(LOST)
def test_a_job_runs_beside_the_caller(scene: Path, features: Any, tmp_path: Path) -> None:
    job = classify_objects(
        scene, shade_model(), None, features, output_name=tmp_path / "j.parquet", future=True
    )
    assert job.result(60) == str(tmp_path / "j.parquet")
    assert job.progress == 1


def test_what_cannot_work_is_refused_before_anything_is_computed(
    scene: Path, features: Any, tmp_path: Path
) -> None:
    features.to_parquet(tmp_path / "f.parquet")
    output = tmp_path / "o.parquet"

    def call(**changes: Any) -> None:
        given = {"input_features": features, "output_name": output, "model": shade_model()} | changes
        classify_objects(scene, progress=False, **given)

    with pytest.raises(ModelMismatchError, match=r"a model for pixels.*from_torch\(..., task='scenes'\)"):
        call(model=random_model())
    with pytest.raises(ModelMismatchError, match="trained on 3 bands"):
        call(model=shade_model(bands=3))
    with pytest.raises(SettingError, match="cannot be the name of the field"):
        call(class_label_field="Confidence")
    with pytest.raises(SettingError, match="is read by this call"):
        call(input_features=tmp_path / "f.parquet", output_name=tmp_path / "f.parquet", overwrite=True)
    with pytest.raises(SettingError, match="more than 10 bytes, which a Shapefile cuts"):
        call(output_name=tmp_path / "o.shp", class_label_field="a_longer_name")
    with pytest.raises(SettingError, match="gis must be None"):
        call(gis=1)
    with pytest.raises(SettingError, match="no key 'snapRaster'"):
        call(context={"snapRaster": scene})
    with pytest.raises(SettingError, match="cell_size=0 cannot work"):
        call(cell_size=0)
    with pytest.raises(LabelError, match="none of the 150 features"):
        call(input_features=features.translate(1e6).to_frame("geometry"))
    output.touch()
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        call()
    assert not (tmp_path / "_run").exists()
