"""The pipeline speaks coordinates: rasters in, chips, training, inference, rasters out."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rasterloom.pipeline.chips.convert import convert as convert
    from rasterloom.pipeline.chips.export import export_training_data as export_training_data
    from rasterloom.pipeline.datasets.data import ImageryData as ImageryData
    from rasterloom.pipeline.datasets.prepare import prepare_data as prepare_data
    from rasterloom.pipeline.demo.run import run_demo as run_demo
    from rasterloom.pipeline.inference.change.detect import (
        detect_change_using_deep_learning as detect_change_using_deep_learning,
    )
    from rasterloom.pipeline.inference.estimate import Estimate as Estimate
    from rasterloom.pipeline.inference.lazy import predict_xarray as predict_xarray
    from rasterloom.pipeline.inference.lines import extract_lines as extract_lines
    from rasterloom.pipeline.inference.objects.detect import detect_objects as detect_objects
    from rasterloom.pipeline.inference.pixels import classify_pixels as classify_pixels
    from rasterloom.pipeline.inference.polygonize import polygonize as polygonize
    from rasterloom.pipeline.inference.scenes.classify import classify_objects as classify_objects
    from rasterloom.pipeline.inference.suppress import non_maximum_suppression as non_maximum_suppression
    from rasterloom.pipeline.landscape.change import generate_change as generate_change
    from rasterloom.pipeline.landscape.write import generate_landscape as generate_landscape
    from rasterloom.pipeline.metrics.pixels import Confusion as Confusion
    from rasterloom.pipeline.metrics.roads import apls as apls, line_quality as line_quality
    from rasterloom.pipeline.packages.load import build_model as build_model, load_package as load_package
    from rasterloom.pipeline.packages.model import Model as Model, list_models as list_models
    from rasterloom.pipeline.packages.save import save_package as save_package
    from rasterloom.pipeline.rasters.open import open_raster as open_raster
    from rasterloom.pipeline.reports.accuracy import assess_pixels as assess_pixels
    from rasterloom.pipeline.reports.detection import (
        compute_accuracy_for_object_detection as compute_accuracy_for_object_detection,
    )
    from rasterloom.pipeline.training.batch_size import estimate_batch_size as estimate_batch_size
    from rasterloom.pipeline.training.train_model import train_model as train_model

_PUBLIC = {
    "open_raster": "rasterloom.pipeline.rasters.open",
    "export_training_data": "rasterloom.pipeline.chips.export",
    "convert": "rasterloom.pipeline.chips.convert",
    "prepare_data": "rasterloom.pipeline.datasets.prepare",
    "ImageryData": "rasterloom.pipeline.datasets.data",
    "estimate_batch_size": "rasterloom.pipeline.training.batch_size",
    "train_model": "rasterloom.pipeline.training.train_model",
    "classify_pixels": "rasterloom.pipeline.inference.pixels",
    "detect_objects": "rasterloom.pipeline.inference.objects.detect",
    "classify_objects": "rasterloom.pipeline.inference.scenes.classify",
    "detect_change_using_deep_learning": "rasterloom.pipeline.inference.change.detect",
    "polygonize": "rasterloom.pipeline.inference.polygonize",
    "non_maximum_suppression": "rasterloom.pipeline.inference.suppress",
    "predict_xarray": "rasterloom.pipeline.inference.lazy",
    "extract_lines": "rasterloom.pipeline.inference.lines",
    "Estimate": "rasterloom.pipeline.inference.estimate",
    "assess_pixels": "rasterloom.pipeline.reports.accuracy",
    "compute_accuracy_for_object_detection": "rasterloom.pipeline.reports.detection",
    "Confusion": "rasterloom.pipeline.metrics.pixels",
    "apls": "rasterloom.pipeline.metrics.roads",
    "line_quality": "rasterloom.pipeline.metrics.roads",
    "save_package": "rasterloom.pipeline.packages.save",
    "load_package": "rasterloom.pipeline.packages.load",
    "build_model": "rasterloom.pipeline.packages.load",
    "Model": "rasterloom.pipeline.packages.model",
    "list_models": "rasterloom.pipeline.packages.model",
    "generate_landscape": "rasterloom.pipeline.landscape.write",
    "generate_change": "rasterloom.pipeline.landscape.change",
    "run_demo": "rasterloom.pipeline.demo.run",
}
"""Every public name and the module that holds it. Modules load when a name is first used."""

__all__ = [
    "open_raster",
    "export_training_data",
    "convert",
    "prepare_data",
    "ImageryData",
    "estimate_batch_size",
    "train_model",
    "classify_pixels",
    "detect_objects",
    "classify_objects",
    "detect_change_using_deep_learning",
    "polygonize",
    "non_maximum_suppression",
    "predict_xarray",
    "extract_lines",
    "Estimate",
    "assess_pixels",
    "compute_accuracy_for_object_detection",
    "Confusion",
    "apls",
    "line_quality",
    "save_package",
    "load_package",
    "build_model",
    "Model",
    "list_models",
    "generate_landscape",
    "generate_change",
    "run_demo",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
