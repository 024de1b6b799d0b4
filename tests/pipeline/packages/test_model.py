"""Model and list_models: packages by path, by name and as JSON."""

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from rasterloom.models.errors import (
    MissingInputError,
    ModelMismatchError,
    OutputExistsError,
    PackageError,
    SettingError,
)
from rasterloom.models.pixels.unet import UnetClassifier
from rasterloom.pipeline import Model, classify_pixels, list_models, load_package
from rasterloom.pipeline.inference.models import staged_model
from rasterloom.pipeline.packages.archive import Archive, write_archive
from tests.support.models import random_model
from tests.support.rasters import write_raster

THIRD_PARTY = {
    "Framework": "TensorFlow",
    "ModelType": "ImageClassification",
    "ModelName": "Foreign",
    "InferenceFunction": "[Functions]System\\DeepLearning\\ImageClassifier.py",
    "ModelFile": ".\\frozen.pb",
    "ExtractBands": [0, 1, 2],
    "ImageHeight": 513,
    "ImageWidth": 513,
    "Classes": [{"Value": 0, "Name": "Forest", "Color": [0, 51, 0]}, {"ClassValue": 1, "ClassName": "Water"}],
}


@pytest.fixture(autouse=True)
def registry(tmp_path, monkeypatch):
    """The usual registry of each test."""
    monkeypatch.setenv("RASTERLOOM_REGISTRY", str(tmp_path / "registry"))
    return tmp_path / "registry"


@pytest.fixture
def foreign(tmp_path):
    """A package of other software, unpacked."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "foreign.emd").write_text(json.dumps(THIRD_PARTY))
    (folder / "frozen.pb").write_bytes(b"network")
    (folder / "private.txt").write_text("no part of it")
    return folder


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (Model.__init__, ["model"]),
        (Model.install, ["gis", "future"]),
        (Model.query_info, ["gis", "future"]),
        (Model.uninstall, ["gis", "future"]),
        (list_models, ["gis", "future"]),
    ],
)
def test_arguments_are_those_of_the_reference(method, names):
    parameters = inspect.signature(method).parameters
    assert set(names) <= set(parameters)
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in names if name != "model")


def test_a_model_is_installed_listed_used_by_name_and_uninstalled(saved, model):
    found = Model(saved)
    address = found.install()
    assert Path(address).read_bytes() == saved.read_bytes()
    assert [(m.name, m.path) for m in list_models()] == [("fields", address)]
    assert load_package("fields").digest == load_package(saved).digest
    assert UnetClassifier.from_model("fields").spec == model.spec
    assert Model("fields").uninstall() == address
    assert list_models() == []
    assert saved.exists()


@pytest.mark.parametrize("form", ["dlpk", "folder", "emd", "text", "dict", "Model"])
def test_every_form_of_a_package_is_installed_as_the_same_model(saved, form, tmp_path):
    folder = saved.with_suffix("")
    emd = json.loads((folder / "fields.emd").read_text())
    emd["ModelFile"] = str(folder / "fields.safetensors")
    given = {"dlpk": saved, "folder": folder, "emd": str(folder / "fields.emd"), "dict": emd}
    found = Model(given[form]) if form in given else Model()
    if form == "text":
        found.from_json(json.dumps(emd))
    if form == "Model":
        found.from_model_path(str(saved))
    found.install(name="copy")
    assert load_package("copy").digest == load_package(saved).digest
    with Archive(Path(load_package("copy").source)) as archive:
        assert "model_metrics.html" in archive.names
        assert "ArcGISImageClassifier.py" in archive.names


def test_installing_over_a_model_needs_overwrite_and_a_name_can_be_chosen(saved, tmp_path):
    Model(saved).install()
    with pytest.raises(OutputExistsError, match=r"'fields' is installed"):
        Model(saved).install()
    Model(saved).install(overwrite=True)
    Model(saved).install(name="other", registry=tmp_path / "team")
    assert [m.name for m in list_models(registry=tmp_path / "team")] == ["other"]
    with pytest.raises(SettingError, match="can be no model's name"):
        Model(saved).install(name="../up")


def test_saving_publishes_under_the_name_of_the_package(model, tmp_path, registry):
    path = model.save(tmp_path / "roofs", publish=True)
    assert [m.name for m in list_models()] == ["roofs"]
    assert (registry / "roofs.dlpk").read_bytes() == path.read_bytes()
    with pytest.raises(OutputExistsError, match="is installed in"):
        model.save(tmp_path / "again" / "roofs", publish=True)
    assert not (tmp_path / "again").exists()
    model.save(tmp_path / "again" / "roofs", publish=True, overwrite=True)
    model.save(tmp_path / "third" / "roofs", publish=True, registry=tmp_path / "team")
    assert [m.path for m in list_models(registry=tmp_path / "team")] == [
        str(tmp_path / "team" / "roofs.dlpk")
    ]


def test_the_info_of_a_model_is_its_essential_settings(saved, model):
    told = json.loads(json.dumps(Model(saved).query_info()))
    spec = model.spec
    assert told["classes"][0] == {"value": 1, "name": "Field", "color": [200, 180, 90]}
    assert (told["name"], told["model"], told["task"]) == ("fields", "UnetClassifier", "pixels")
    assert (told["bands"], told["tile_size"], told["dtype"]) == (list(spec.bands), 64, "uint8")
    assert told["trained"] == {"epochs": 2, "learning_rate": 0.003}
    assert (told["needs_trust"], told["by_rasterloom"]) == (False, True)


def test_packages_of_other_software_are_installed_and_asked_but_not_loaded(foreign, registry):
    found = Model(foreign / "foreign.emd")
    told = found.query_info()
    assert (told["model"], told["framework"], told["tile_size"]) == ("Foreign", "TensorFlow", 513)
    assert [row["name"] for row in told["classes"]] == ["Forest", "Water"]
    assert told["needs_trust"]
    assert not told["by_rasterloom"]
    found.install()
    with Archive(registry / "foreign.dlpk") as archive:
        assert archive.names == ["foreign.emd", "frozen.pb"]
    with pytest.raises(PackageError, match="not written by rasterloom"):
        found.package()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ModelFile": "../secret.pb"}, "no path inside the package"),
        ({"ModelFile": "/etc/passwd"}, "no path inside the package"),
        ({"ModelFile": "missing.pb"}, r"lacks missing\.pb"),
        ({"InferenceFunction": "C:\\run.py"}, "no path inside the package"),
        ({"ModelFile": None}, "names no ModelFile"),
    ],
)
def test_a_package_whose_files_are_elsewhere_is_not_installed(foreign, registry, changes, message):
    (foreign / "foreign.emd").write_text(json.dumps({**THIRD_PARTY, **changes}))
    with pytest.raises(PackageError, match=message):
        Model(foreign).install()
    assert not registry.exists()


def test_uninstalling_takes_away_no_other_model_of_the_same_name(saved, foreign, registry, tmp_path):
    Model(foreign).install(name="fields")
    with pytest.raises(ModelMismatchError, match="another model of the same name"):
        Model(saved).uninstall()
    assert (registry / "fields.dlpk").exists()
    Model.installed("fields").uninstall()
    with pytest.raises(MissingInputError, match="no model 'fields' is installed"):
        Model(saved).uninstall()


def test_a_file_that_is_here_goes_before_an_installed_model_of_that_name(saved, tmp_path, monkeypatch):
    other = random_model(seed=3, parameters=load_package(saved).spec.parameters)
    here = other.save(tmp_path / "here" / "fields", compute_metrics=False)
    Model(saved).install()
    assert load_package("fields").digest == load_package(saved).digest
    monkeypatch.chdir(here.parent)
    assert load_package("fields").digest == load_package(here).digest
    with staged_model("fields") as staged:
        assert staged.digest == load_package(here).digest


def test_work_in_the_background_gives_the_same(saved):
    assert Path(Model(saved).install(future=True).result(60)).exists()
    assert [m.name for m in list_models(future=True).result(60)] == ["fields"]
    assert Model("fields").query_info(future=True).result(60)["model"] == "UnetClassifier"
    Model("fields").uninstall(future=True).result(60)
    with pytest.raises(MissingInputError):
        Model("nowhere").query_info(future=True).result(60)


def test_what_is_no_model_is_told(tmp_path):
    with pytest.raises(SettingError, match="cannot be made of int"):
        Model(3)
    with pytest.raises(SettingError, match="from_model_path or from_json first"):
        Model().query_info()
    with pytest.raises(SettingError, match="is no JSON"):
        Model().from_json("model.emd")
    with pytest.raises(SettingError, match="JSON object, not list"):
        Model().from_json("[]")
    with pytest.raises(MissingInputError, match="name of a model that is installed in"):
        Model().from_model_path("nothing")
    with pytest.raises(SettingError, match="registry= names a folder"):
        Model("nothing").install(gis=object())
    assert repr(Model()) == "<Model of nothing yet>"


def test_a_damaged_package_is_listed_and_can_be_uninstalled(registry):
    registry.mkdir()
    (registry / "broken.dlpk").write_bytes(b"no zip")
    (found,) = list_models()
    assert "broken" in repr(found)
    with pytest.raises(PackageError, match="no whole zip"):
        found.query_info()
    found.uninstall()
    assert list_models() == []


def test_a_map_is_made_by_model_by_name_and_by_description(saved, tmp_path):
    scene = write_raster(tmp_path / "scene.tif", height=70, width=90)
    folder = shutil.copytree(saved.with_suffix(""), tmp_path / "fields")
    emd = json.loads((folder / "fields.emd").read_text())
    described = Model()
    described.from_json(emd, folder=folder)
    Model(saved).install(name="crops")
    forms = {
        "path": saved,
        "name": "crops",
        "model": Model("crops"),
        "json": described,
        "dict": {**emd, "ModelFile": str(folder / "fields.safetensors")},
    }
    maps = {}
    for form, given in forms.items():
        output = tmp_path / f"{form}.tif"
        classify_pixels(scene, given, {"padding": 8}, output, progress=False)
        with rasterio.open(output) as source:
            maps[form] = source.read(1)
    assert len(np.unique(maps["path"])) > 1
    assert all(np.array_equal(found, maps["path"]) for found in maps.values())


def test_an_installed_archive_is_checked_before_it_is_copied(registry, tmp_path):
    evil = tmp_path / "evil.dlpk"
    write_archive(evil, {"m.emd": b"{}", "../up.py": b"import os"})
    with pytest.raises(PackageError, match=r"\.\./up\.py"):
        Model(evil).install()
    assert not registry.exists()
