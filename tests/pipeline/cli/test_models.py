"""``rasterloom models`` keeps a registry."""

import json
from pathlib import Path

import pytest

from rasterloom.pipeline.cli.main import run
from rasterloom.pipeline.packages.save import save_package
from tests.support.models import random_model

PARAMETERS = {
    "backbone": "timm:test_resnet",
    "pretrained": False,
    "encoder_depth": 3,
    "decoder_channels": [16, 16, 8],
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_package(random_model(parameters=PARAMETERS), tmp_path_factory.mktemp("package") / "fields")


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RASTERLOOM_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "registry"


def test_a_model_is_installed_listed_described_and_uninstalled(package, registry, capsys):
    assert run(["models", "install", str(package), "--name", "crops"]) == 0
    assert capsys.readouterr().out.strip() == str(registry / "crops.dlpk")
    assert run(["models", "list"]) == 0
    listed = capsys.readouterr().out
    for told in ("crops", "UnetClassifier", "Field, Water, Road", "64 px"):
        assert told in listed
    assert run(["models", "info", "crops"]) == 0
    described = capsys.readouterr().out
    assert "1 Field, 2 Water, 7 Road" in described
    assert "backbone=timm:test_resnet" in described
    assert run(["models", "uninstall", "crops"]) == 0
    assert run(["models", "list"]) == 0
    assert f"no model is installed in {registry}" in capsys.readouterr().out


def test_programs_get_json(package, capsys):
    run(["models", "install", str(package)])
    capsys.readouterr()
    assert run(["models", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["tile_size"]) == ("fields", 64)
    assert run(["models", "info", str(package), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["classes"][2]["name"] == "Road"


def test_another_registry_can_be_named(package, registry, tmp_path):
    assert run(["models", "install", str(package), "--registry", str(tmp_path / "team")]) == 0
    assert (tmp_path / "team" / "fields.dlpk").exists()
    assert not registry.exists()


def test_a_taken_name_says_which_option_replaces_it(package, capsys):
    run(["models", "install", str(package)])
    assert run(["models", "install", str(package)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run(["models", "install", str(package), "--overwrite"]) == 0


def test_a_damaged_package_does_not_hide_the_others(package, registry, capsys):
    run(["models", "install", str(package)])
    (registry / "broken.dlpk").write_bytes(b"no zip")
    capsys.readouterr()
    assert run(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert "UnetClassifier" in listed
    assert "cannot be read" in listed
    assert run(["models", "uninstall", "broken"]) == 0


def test_what_is_not_installed_lists_what_is(package, capsys):
    run(["models", "install", str(package)])
    assert run(["models", "uninstall", "roads"]) == 1
    assert "it holds fields" in " ".join(capsys.readouterr().err.split())
