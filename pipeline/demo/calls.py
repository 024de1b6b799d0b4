"""The demo's calls as Python text that can be pasted and run."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

from rasterloom.pipeline.demo.result import DemoResult
from rasterloom.pipeline.demo.settings import DemoSettings, choose_stride
from rasterloom.pipeline.demo.stages import Scene, Trained
from rasterloom.pipeline.rasters.grid import Bounds

_WIDTH = 96


class Verbatim(str):
    """Text that stands in a call as it is: the name of a variable."""


def write_calls(
    result: DemoResult,
    scene: Scene,
    settings: DemoSettings,
    trained: Trained,
    arguments: Mapping[str, Any],
) -> str:
    """Python that does what the demo did; files are named relative to where the demo was started."""
    folder = result.folder.name if result.folder.is_absolute() else result.folder.as_posix()
    work = [
        _export(scene, settings, folder),
        *_training(scene, settings, trained, folder),
        _classify(settings, arguments, folder),
        _assess(scene, settings),
        "print(accuracy.mean_iou)",
    ]
    parts = [
        _imports(settings),
        _inputs(settings, folder),
        "with connect() as client:",
        indent("\n".join(work), "    "),
    ]
    return "\n".join(parts) + "\n"


def _imports(settings: DemoSettings) -> str:
    names = ["assess_pixels", "classify_pixels", "export_training_data", "generate_landscape", "prepare_data"]
    lines = [
        "from rasterloom.cluster import connect",
        "from rasterloom.models import UnetClassifier",
        "from rasterloom.pipeline import (",
        *(f"    {name}," for name in names if settings.generated or name != "generate_landscape"),
        ")",
    ]
    return "\n".join((["from dataclasses import replace", ""] if settings.generated else []) + lines)


def _inputs(settings: DemoSettings, folder: str) -> str:
    if not settings.generated:
        return f"\nraster, labels = {_named(settings.raster)}, {_named(settings.labels)}\n"
    made = _call("scene", "generate_landscape", f"{folder}/scene", size=settings.size, seed=settings.seed)
    return f"\n{made}\nraster, labels = scene.raster, scene.labels\n"


def _named(source: Any) -> str:
    """The last part of a path: the report is for others too, and their folders differ."""
    if isinstance(source, str | Path):
        return _text(Path(source).name)
    if isinstance(source, list | tuple):
        return _text([Path(str(item)).name for item in source])
    return "..."


def _export(scene: Scene, settings: DemoSettings, folder: str) -> str:
    field = {} if settings.class_field is None else {"classvalue_field": settings.class_field}
    context = {**settings.grid_context, "extent": _rounded(scene.train_extent), "exportAllTiles": True}
    return _call(
        "chips",
        "export_training_data",
        Verbatim("raster"),
        Verbatim("labels"),
        tile_size=settings.tile_size,
        stride_size=choose_stride(scene.parts.train, settings),
        **field,
        output_location=f"{folder}/chips.zarr",
        context=context,
        client=Verbatim("client"),
    )


def _training(scene: Scene, settings: DemoSettings, trained: Trained, folder: str) -> list[str]:
    recipe = trained.recipe
    prepared = _call(
        "data",
        "prepare_data",
        Verbatim("chips"),
        chip_size=settings.tile_size,
        val_split_pct=round(recipe.validation, 6),
        batch_size=recipe.batch_size,
        seed=settings.seed,
    )
    fitted = _call(
        "",
        "model.fit",
        recipe.epochs,
        lr=recipe.learning_rate,
        checkpoint=False,
        iters_per_epoch=recipe.iterations,
        seed=settings.seed,
    )
    own_colours = ["data = replace(data, classes=scene.classes)  # the scene's own colours"]
    return [
        prepared,
        *(own_colours if settings.generated else []),
        _call("model", "UnetClassifier", Verbatim("data"), **recipe.model),
        fitted,
        _call("package", "model.save", f"{folder}/model"),
    ]


def _classify(settings: DemoSettings, arguments: Mapping[str, Any], folder: str) -> str:
    context = {"context": settings.grid_context} if settings.grid_context else {}
    return _call(
        "class_map",
        "classify_pixels",
        Verbatim("raster"),
        Verbatim("package"),
        dict(arguments),
        f"{folder}/class_map.tif",
        **context,
        client=Verbatim("client"),
    )


def _assess(scene: Scene, settings: DemoSettings) -> str:
    field = {} if settings.class_field is None else {"class_field": settings.class_field}
    return _call(
        "accuracy",
        "assess_pixels",
        Verbatim("class_map"),
        Verbatim("labels"),
        **field,
        extent=_rounded(scene.test_extent),
    )


def _call(target: str, function: str, *values: Any, **named: Any) -> str:
    """An assignment of a call, on one line where it fits, else one argument to a line."""
    texts = [_text(value) for value in values] + [f"{name}={_text(value)}" for name, value in named.items()]
    head = f"{target} = {function}(" if target else f"{function}("
    line = f"{head}{', '.join(texts)})"
    if len(line) <= _WIDTH - 4:
        return line
    return "\n".join([head, *(f"    {text}," for text in texts), ")"])


def _text(value: Any) -> str:
    if isinstance(value, Verbatim):
        return str(value)
    text = repr(value)
    return text if '"' in text else text.replace("'", '"')


def _rounded(bounds: Bounds) -> tuple[float, ...]:
    return tuple(round(side, 9) for side in bounds)
