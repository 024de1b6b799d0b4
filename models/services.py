"""The pipeline's work behind a model's verbs, found by name and imported when first used.

``models`` may not import ``pipeline``, yet ``UnetClassifier(data).fit()`` reads chips and writes files. Each
verb names the service it needs; the table says which function of the pipeline does it. Nothing is imported
before the verb is called, so a network can be built and run without the pipeline.
"""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from rasterloom.models.errors import SettingError

SERVICES: Mapping[str, str] = MappingProxyType(
    {
        "fit": "rasterloom.pipeline.training.fit:fit",
        "find_rate": "rasterloom.pipeline.training.rates:find_rate",
        "evaluate": "rasterloom.pipeline.training.evaluate:evaluate",
        "plot_losses": "rasterloom.pipeline.training.pictures:plot_losses",
        "plot_rates": "rasterloom.pipeline.training.pictures:plot_rates",
        "describe_data": "rasterloom.pipeline.datasets.facts:data_facts",
        "show_results": "rasterloom.pipeline.training.pictures:show_results",
        "judge_edges": "rasterloom.pipeline.training.edges:judge_edges",
        "show_edges": "rasterloom.pipeline.training.edges:show_edges",
        "save": "rasterloom.pipeline.packages.save:save_package",
        "load": "rasterloom.pipeline.packages.load:load_package",
        "build": "rasterloom.pipeline.packages.load:build_model",
        "find_all_ways": "rasterloom.pipeline.inference.objects.turned:find_all_ways",
        "predict_image": "rasterloom.pipeline.inference.objects.image:predict_image",
        "predict_video": "rasterloom.pipeline.inference.video.predict:predict_video",
        "describe_scenes": "rasterloom.pipeline.datasets.facts:scene_facts",
        "oversample": "rasterloom.pipeline.datasets.oversample:oversampled",
        "plot_confusion": "rasterloom.pipeline.training.scene_pictures:plot_confusion",
        "plot_hard": "rasterloom.pipeline.training.scene_pictures:plot_hard",
        "predict_scene": "rasterloom.pipeline.inference.photos.predict:predict_scene",
        "predict_folder": "rasterloom.pipeline.inference.photos.folder:predict_folder",
        "classify_features": "rasterloom.pipeline.inference.photos.features:classify_features",
        "categorize_features": "rasterloom.pipeline.inference.photos.features:categorize_features",
        "predict_change": "rasterloom.pipeline.inference.change.image:predict_change",
    }
)
"""Service name to ``module:function``.

========== ============================================================================================
fit        ``(model, data, *, epochs, lr, one_cycle, early_stopping, checkpoint, tensorboard, monitor,
           **kwargs) -> History``; leaves the trained weights in ``model.network``
find_rate  ``(model, data) -> RateCurve(rates, losses, best)``; leaves the weights as they were
evaluate   ``(model, data, show_progress=True, **settings)`` -> Confusion or, of objects, Matches, of
           change ChangeScores
describe.. ``describe_data(data) -> Mapping`` of figures about the training data
save       ``(model, name_or_path, *, working_dir, overwrite, compute_metrics, save_inference_file,
           save_optimizer, framework, publish, registry) -> Path``
load       ``(path, *, working_dir, trust) -> Package``
build      ``(package) -> ImageryModel``
plot_...   ``plot_losses(history)``, ``plot_rates(curve)``
show_...   ``show_results(model, data, rows, **kwargs)``
.._edges   ``judge_edges(model, data, *, thresholds, buffer, thinning, show_progress) -> EdgeCounts`` and
           ``show_edges(model, data, rows, *, thresh, thinning, **kwargs)``
find_all.. of detectors: ``find_all_ways(model, images, *, threshold, nms_overlap) -> list`` of objects
predict..  of detectors: ``predict_image(model, image_path, **settings) -> tuple`` and
           ``predict_video(model, input_video_path, metadata_file, **settings) -> VideoPredictions``; of
           models of change: ``predict_change(model, before_image, after_image, **settings) -> Tensor``
========== ============================================================================================
"""


def service(name: str) -> Callable[..., Any]:
    """The function behind a service name.

    Raises
    ------
    SettingError
        If the table has no such name.
    """
    if name not in SERVICES:
        raise SettingError(f"there is no service {name!r}: the table holds {', '.join(sorted(SERVICES))}.")
    module, _, function = SERVICES[name].partition(":")
    return getattr(importlib.import_module(module), function)
