"""The table of model classes: one row for each adapter, read without importing any of them."""

import difflib
import importlib
from dataclasses import dataclass
from typing import Any

from rasterloom.models.contract import Task
from rasterloom.models.errors import MissingExtraError, SettingError


@dataclass(frozen=True, kw_only=True)
class AdapterRow:
    """One model class."""

    name: str
    """Name of the class, which users, specs and packages call it by."""
    task: Task
    module: str
    """Where the class stands."""
    model_type: str
    """``ModelType`` of its packages."""
    configuration: str
    """``ModelConfiguration`` of its packages."""
    inference_function: str
    """``InferenceFunction`` of packages that hold an inference script; empty where none is known for it."""
    trainable: bool = True
    """Whether it is built from its settings and trained. If not, its package holds the network itself."""
    also: tuple[Task, ...] = ()
    """Further tasks that the class can be for; which one a model has is in its description."""
    extra: str = ""
    """What ``pip install rasterloom[...]`` needs beyond the core for this class."""
    networks: tuple[str, ...] = ()
    """Networks that the class chooses from by name, where it is a family of many."""
    lines: bool = False
    """Whether what it finds is thinned to lines one pixel wide unless the caller says otherwise."""
    brings_code: bool = False
    """Whether a class of the user's completes it, so that a description alone does not build it."""

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Everything the class can be for, the usual task first."""
        return (self.task, *self.also)

    def load(self) -> type[Any]:
        """The class itself; imports torch.

        Raises
        ------
        MissingExtraError
            If a package is not installed that comes with :attr:`extra`.
        """
        try:
            found: type[Any] = getattr(importlib.import_module(self.module), self.name)
        except ModuleNotFoundError as error:
            if not self.extra or str(error.name).startswith("rasterloom"):
                raise
            raise MissingExtraError(
                f"{self.name} needs the package {error.name}, which is not installed: "
                f"pip install 'rasterloom[{self.extra}]'."
            ) from error
        return found


CATALOG = (
    AdapterRow(
        name="UnetClassifier",
        task=Task.PIXELS,
        module="rasterloom.models.pixels.unet",
        model_type="ImageClassification",
        configuration="_unet",
        inference_function="ArcGISImageClassifier.py",
    ),
    AdapterRow(
        name="PSPNetClassifier",
        task=Task.PIXELS,
        module="rasterloom.models.pixels.pspnet",
        model_type="ImageClassification",
        configuration="_psp",
        inference_function="ArcGISImageClassifier.py",
    ),
    AdapterRow(
        name="DeepLab",
        task=Task.PIXELS,
        module="rasterloom.models.pixels.deeplab",
        model_type="ImageClassification",
        configuration="_deeplab_infrencing",
        inference_function="ArcGISImageClassifier.py",
    ),
    AdapterRow(
        name="HEDEdgeDetector",
        task=Task.PIXELS,
        module="rasterloom.models.edges.hed",
        model_type="ImageClassification",
        configuration="_rasterloom_hed",
        inference_function="ArcGISImageClassifier.py",
        lines=True,
    ),
    AdapterRow(
        name="BDCNEdgeDetector",
        task=Task.PIXELS,
        module="rasterloom.models.edges.bdcn",
        model_type="ImageClassification",
        configuration="_rasterloom_bdcn",
        inference_function="ArcGISImageClassifier.py",
        lines=True,
    ),
    AdapterRow(
        name="FasterRCNN",
        task=Task.OBJECTS,
        module="rasterloom.models.objects.faster_rcnn",
        model_type="ObjectDetection",
        configuration="_rasterloom_faster_rcnn",
        inference_function="ArcGISObjectDetector.py",
    ),
    AdapterRow(
        name="RetinaNet",
        task=Task.OBJECTS,
        module="rasterloom.models.objects.retina_net",
        model_type="ObjectDetection",
        configuration="_RetinaNet_Inference",
        inference_function="ArcGISObjectDetector.py",
    ),
    AdapterRow(
        name="MaskRCNN",
        task=Task.OBJECTS,
        module="rasterloom.models.objects.mask_rcnn",
        model_type="InstanceDetection",
        configuration="_maskrcnn_inferencing",
        inference_function="ArcGISInstanceDetector.py",
    ),
    AdapterRow(
        name="SingleShotDetector",
        task=Task.OBJECTS,
        module="rasterloom.models.objects.ssd",
        model_type="ObjectDetection",
        configuration="_DynamicSSD",
        inference_function="ArcGISObjectDetector.py",
    ),
    AdapterRow(
        name="YOLOv3",
        task=Task.OBJECTS,
        module="rasterloom.models.objects.yolo",
        model_type="ObjectDetection",
        configuration="_YOLOv3_inference",
        inference_function="ArcGISObjectDetector.py",
    ),
    AdapterRow(
        name="ChangeDetector",
        task=Task.CHANGE,
        module="rasterloom.models.change.detector",
        model_type="ChangeDetection",
        configuration="_rasterloom_change_detector",
        inference_function="",
    ),
    AdapterRow(
        name="FeatureClassifier",
        task=Task.SCENES,
        module="rasterloom.models.scenes.classifier",
        model_type="ObjectClassification",
        configuration="_FeatureClassifier",
        inference_function="ArcGISObjectClassifier.py",
    ),
    AdapterRow(
        name="MultiTaskRoadExtractor",
        task=Task.PIXELS,
        module="rasterloom.models.roads.multi_task",
        model_type="ImageClassification",
        configuration="_rasterloom_multi_task_road_extractor",
        inference_function="ArcGISImageClassifier.py",
    ),
    AdapterRow(
        name="ConnectNet",
        task=Task.PIXELS,
        module="rasterloom.models.roads.connect_net",
        model_type="ImageClassification",
        configuration="_rasterloom_connect_net",
        inference_function="ArcGISImageClassifier.py",
    ),
    AdapterRow(
        name="ModelExtension",
        task=Task.PIXELS,
        also=(Task.OBJECTS,),
        module="rasterloom.models.extension.model",
        model_type="ImageClassification",
        configuration="_model_extension_inferencing",
        inference_function="ArcGISImageClassifier.py",
        brings_code=True,
    ),
    AdapterRow(
        name="TorchModel",
        task=Task.PIXELS,
        module="rasterloom.models.pixels.foreign",
        model_type="ImageClassification",
        configuration="_rasterloom_torch",
        inference_function="ArcGISImageClassifier.py",
        trainable=False,
    ),
    AdapterRow(
        name="TorchSceneClassifier",
        task=Task.SCENES,
        module="rasterloom.models.scenes.foreign",
        model_type="ObjectClassification",
        configuration="_rasterloom_torch",
        inference_function="ArcGISObjectClassifier.py",
        trainable=False,
    ),
    AdapterRow(
        name="TorchDetector",
        task=Task.OBJECTS,
        module="rasterloom.models.objects.foreign",
        model_type="ObjectDetection",
        configuration="_rasterloom_torch",
        inference_function="ArcGISObjectDetector.py",
        trainable=False,
    ),
    AdapterRow(
        name="TorchChangeDetector",
        task=Task.CHANGE,
        module="rasterloom.models.change.foreign",
        model_type="ChangeDetection",
        configuration="_rasterloom_torch",
        inference_function="",
        trainable=False,
    ),
)
"""In the order the documentation shows them."""


def model_names(task: Task | None = None) -> list[str]:
    """Names of all model classes, or of those that can be for one task."""
    return [row.name for row in CATALOG if task is None or task in row.tasks]


def find_adapter(name: str) -> AdapterRow:
    """The row of a model class.

    Raises
    ------
    SettingError
        If there is none; the message lists the known names.
    """
    rows = {row.name: row for row in CATALOG}
    if name not in rows:
        close = difflib.get_close_matches(str(name), rows, n=1)
        meant = f"Did you mean {close[0]}? " if close else ""
        raise SettingError(f"model {name!r} is not known. {meant}Known are {', '.join(rows)}.")
    return rows[name]
