"""The demo's calls as text."""

import ast
import importlib
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rasterloom.models.pixels.unet import UnetClassifier
from rasterloom.pipeline.demo.calls import write_calls
from rasterloom.pipeline.demo.settings import DemoSettings, choose_recipe, split_rows
from rasterloom.pipeline.demo.stages import Scene, Trained
from rasterloom.pipeline.rasters.open import describe
from tests.support.rasters import write_raster


def some_calls(folder: Path, **given: Any) -> str:
    settings = DemoSettings(**given)
    raster = describe(write_raster(folder / "my scene.tif", height=600, width=500))
    scene = Scene(raster.path, "labels.parquet", raster, split_rows(raster.grid, settings), None, False)
    trained = Trained(None, None, choose_recipe(60, settings))  # type: ignore[arg-type] # only the recipe is told
    result: Any = SimpleNamespace(folder=folder / "demo")
    return write_calls(result, scene, settings, trained, {"tile_size": 256, "padding": 32})


def own(folder: Path) -> dict[str, Any]:
    path = str(folder / "my scene.tif")
    return {"raster": path, "labels": Path("labels.parquet"), "class_field": "kind", "out_crs": "EPSG:32633"}


@pytest.mark.parametrize("generated", [True, False])
def test_the_calls_fit_the_functions_they_call(tmp_path: Path, generated: bool) -> None:
    tree = ast.parse(some_calls(tmp_path, **({} if generated else own(tmp_path))))
    known: dict[str, Any] = {"model.fit": UnetClassifier.fit, "model.save": UnetClassifier.save}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("rasterloom"):
            module = importlib.import_module(str(node.module))
            known |= {alias.name: getattr(module, alias.name) for alias in node.names}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [ast.unparse(call.func) for call in calls]
    assert {"export_training_data", "prepare_data", "UnetClassifier", "model.fit", "classify_pixels"} <= {
        *names
    }
    for call, name in zip(calls, names, strict=True):
        if name in known:
            itself = [None] if name.startswith("model.") else []
            arguments = {str(k.arg): None for k in call.keywords}
            inspect.signature(known[name]).bind(*itself, *call.args, **arguments)


def test_the_calls_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    text = some_calls(tmp_path, **own(tmp_path))
    assert str(tmp_path) not in text
    assert '"my scene.tif"' in text
    assert 'classvalue_field="kind"' in text
    assert '"outSR": "EPSG:32633"' in text
