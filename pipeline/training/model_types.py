"""The names that ``train_model`` knows model classes by."""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from rasterloom.models.catalog import CATALOG, AdapterRow, find_adapter
from rasterloom.models.errors import SettingError

MODEL_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "SSD": "SingleShotDetector",
        "UNET": "UnetClassifier",
        "FEATURE_CLASSIFIER": "FeatureClassifier",
        "PSPNET": "PSPNetClassifier",
        "RETINANET": "RetinaNet",
        "MASKRCNN": "MaskRCNN",
        "YOLOV3": "YOLOv3",
        "DEEPLABV3": "DeepLab",
        "FASTERRCNN": "FasterRCNN",
        "BDCN_EDGEDETECTOR": "BDCNEdgeDetector",
        "HED_EDGEDETECTOR": "HEDEdgeDetector",
        "MULTITASK_ROADEXTRACTOR": "MultiTaskRoadExtractor",
        "CONNECTNET": "ConnectNet",
        "PIX2PIX": "Pix2Pix",
        "CYCLEGAN": "CycleGAN",
        "SUPERRESOLUTION": "SuperResolution",
        "CHANGEDETECTOR": "ChangeDetector",
        "IMAGECAPTIONER": "ImageCaptioner",
        "SIAMMASK": "SiamMask",
        "MMDETECTION": "MMDetection",
        "MMSEGMENTATION": "MMSegmentation",
        "DEEPSORT": "DeepSort",
        "PIX2PIXHD": "Pix2PixHD",
        "MAXDEEPLAB": "MaXDeepLab",
    }
)
"""Model type to the class's name in the catalog, whether the class is there or not.

References
----------
"api-reference", train_model, model_type.
"""


def available_model_types() -> list[str]:
    """The model types whose class can be trained here."""
    here = {row.name for row in CATALOG if _is_ready(row)}
    return [name for name, model in MODEL_TYPES.items() if model in here]


def find_model_type(name: str, *, started: bool = False) -> AdapterRow:
    """The row of the catalog that a model type stands for.

    Parameters
    ----------
    name
        One of MODEL_TYPES, in letters of any case, or the name of the class itself.
    started
        Whether there is a trained model to go on from: then also a class that code of the user's completes,
        which that model brings along.

    Raises
    ------
    SettingError
        If it is not known, its class is not here yet, or it cannot be trained from chips alone; the message
        lists those that can.
    """
    given = str(name).strip()
    folded = {kind.casefold(): model for kind, model in MODEL_TYPES.items()}
    folded |= {row.name.casefold(): row.name for row in CATALOG}
    ready = ", ".join(available_model_types())
    if given.casefold() not in folded:
        close = difflib.get_close_matches(given.upper(), MODEL_TYPES, n=1)
        meant = f" Did you mean {close[0]}?" if close else ""
        raise SettingError(f"model_type={name!r} is not known.{meant} Those that can be trained are {ready}.")
    model = folded[given.casefold()]
    if model not in {row.name for row in CATALOG}:
        raise SettingError(f"model_type={name!r} is not here yet: those that can be trained are {ready}.")
    row = find_adapter(model)
    if not (_is_ready(row) or (started and row.trainable)):
        more = ", or give one to go on from as pretrained_model" if row.trainable else ""
        raise SettingError(
            f"a {model} cannot be trained from chips alone, it needs code of yours: build it in Python{more}."
            f" Those that can be trained are {ready}."
        )
    return row


def _is_ready(row: AdapterRow) -> bool:
    return row.trainable and not row.brings_code
