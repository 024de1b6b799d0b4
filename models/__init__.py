"""Models speak pixels: networks, losses, and the classes that people train."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rasterloom.models.bring import from_torch as from_torch
    from rasterloom.models.change.detector import ChangeDetector as ChangeDetector
    from rasterloom.models.change.foreign import TorchChangeDetector as TorchChangeDetector
    from rasterloom.models.contract import (
        ClassInfo as ClassInfo,
        ModelSpec as ModelSpec,
        Normalization as Normalization,
        Task as Task,
    )
    from rasterloom.models.edges.bdcn import BDCNEdgeDetector as BDCNEdgeDetector
    from rasterloom.models.edges.hed import HEDEdgeDetector as HEDEdgeDetector
    from rasterloom.models.errors import (
        ClusterError as ClusterError,
        CrsError as CrsError,
        LabelError as LabelError,
        MissingExtraError as MissingExtraError,
        MissingInputError as MissingInputError,
        ModelMismatchError as ModelMismatchError,
        OutputError as OutputError,
        OutputExistsError as OutputExistsError,
        PackageError as PackageError,
        PretrainedError as PretrainedError,
        RasterError as RasterError,
        RasterloomError as RasterloomError,
        ReadError as ReadError,
        RunInterrupted as RunInterrupted,
        SettingError as SettingError,
        StoreError as StoreError,
        TooManyFailures as TooManyFailures,
    )
    from rasterloom.models.extension.model import ModelExtension as ModelExtension
    from rasterloom.models.history import EpochRow as EpochRow, History as History
    from rasterloom.models.imagery import ImageryModel as ImageryModel
    from rasterloom.models.objects.detector import ObjectDetector as ObjectDetector
    from rasterloom.models.objects.faster_rcnn import FasterRCNN as FasterRCNN
    from rasterloom.models.objects.foreign import TorchDetector as TorchDetector
    from rasterloom.models.objects.mask_rcnn import MaskRCNN as MaskRCNN
    from rasterloom.models.objects.retina_net import RetinaNet as RetinaNet
    from rasterloom.models.objects.ssd import SingleShotDetector as SingleShotDetector
    from rasterloom.models.objects.yolo import YOLOv3 as YOLOv3
    from rasterloom.models.pixels.deeplab import DeepLab as DeepLab
    from rasterloom.models.pixels.foreign import TorchModel as TorchModel
    from rasterloom.models.pixels.pspnet import PSPNetClassifier as PSPNetClassifier
    from rasterloom.models.pixels.unet import UnetClassifier as UnetClassifier
    from rasterloom.models.roads.connect_net import ConnectNet as ConnectNet
    from rasterloom.models.roads.multi_task import MultiTaskRoadExtractor as MultiTaskRoadExtractor
    from rasterloom.models.scenes.classifier import FeatureClassifier as FeatureClassifier
    from rasterloom.models.scenes.foreign import TorchSceneClassifier as TorchSceneClassifier

_PUBLIC = {
    "UnetClassifier": "rasterloom.models.pixels.unet",
    "PSPNetClassifier": "rasterloom.models.pixels.pspnet",
    "DeepLab": "rasterloom.models.pixels.deeplab",
    "HEDEdgeDetector": "rasterloom.models.edges.hed",
    "BDCNEdgeDetector": "rasterloom.models.edges.bdcn",
    "FasterRCNN": "rasterloom.models.objects.faster_rcnn",
    "RetinaNet": "rasterloom.models.objects.retina_net",
    "MaskRCNN": "rasterloom.models.objects.mask_rcnn",
    "SingleShotDetector": "rasterloom.models.objects.ssd",
    "YOLOv3": "rasterloom.models.objects.yolo",
    "FeatureClassifier": "rasterloom.models.scenes.classifier",
    "ChangeDetector": "rasterloom.models.change.detector",
    "MultiTaskRoadExtractor": "rasterloom.models.roads.multi_task",
    "ConnectNet": "rasterloom.models.roads.connect_net",
    "ModelExtension": "rasterloom.models.extension.model",
    "from_torch": "rasterloom.models.bring",
    "TorchModel": "rasterloom.models.pixels.foreign",
    "TorchDetector": "rasterloom.models.objects.foreign",
    "TorchChangeDetector": "rasterloom.models.change.foreign",
    "TorchSceneClassifier": "rasterloom.models.scenes.foreign",
    "ImageryModel": "rasterloom.models.imagery",
    "ObjectDetector": "rasterloom.models.objects.detector",
    "ClassInfo": "rasterloom.models.contract",
    "ModelSpec": "rasterloom.models.contract",
    "Normalization": "rasterloom.models.contract",
    "Task": "rasterloom.models.contract",
    "History": "rasterloom.models.history",
    "EpochRow": "rasterloom.models.history",
    "RasterloomError": "rasterloom.models.errors",
    "SettingError": "rasterloom.models.errors",
    "MissingInputError": "rasterloom.models.errors",
    "RasterError": "rasterloom.models.errors",
    "CrsError": "rasterloom.models.errors",
    "ReadError": "rasterloom.models.errors",
    "LabelError": "rasterloom.models.errors",
    "StoreError": "rasterloom.models.errors",
    "PackageError": "rasterloom.models.errors",
    "ModelMismatchError": "rasterloom.models.errors",
    "OutputExistsError": "rasterloom.models.errors",
    "OutputError": "rasterloom.models.errors",
    "MissingExtraError": "rasterloom.models.errors",
    "PretrainedError": "rasterloom.models.errors",
    "ClusterError": "rasterloom.models.errors",
    "TooManyFailures": "rasterloom.models.errors",
    "RunInterrupted": "rasterloom.models.errors",
}
"""Every public name and the module that holds it. Modules load when a name is first used."""

__all__ = [
    "UnetClassifier",
    "PSPNetClassifier",
    "DeepLab",
    "HEDEdgeDetector",
    "BDCNEdgeDetector",
    "FasterRCNN",
    "RetinaNet",
    "MaskRCNN",
    "SingleShotDetector",
    "YOLOv3",
    "FeatureClassifier",
    "ChangeDetector",
    "MultiTaskRoadExtractor",
    "ConnectNet",
    "ModelExtension",
    "from_torch",
    "TorchModel",
    "TorchDetector",
    "TorchChangeDetector",
    "TorchSceneClassifier",
    "ImageryModel",
    "ObjectDetector",
    "ClassInfo",
    "ModelSpec",
    "Normalization",
    "Task",
    "History",
    "EpochRow",
    "RasterloomError",
    "SettingError",
    "MissingInputError",
    "RasterError",
    "CrsError",
    "ReadError",
    "LabelError",
    "StoreError",
    "PackageError",
    "ModelMismatchError",
    "OutputExistsError",
    "OutputError",
    "MissingExtraError",
    "PretrainedError",
    "ClusterError",
    "TooManyFailures",
    "RunInterrupted",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
