import inspect
import subprocess
import sys

import pytest

from rasterloom.models.objects import predicting
from rasterloom.models.objects.detector import ObjectDetector
from rasterloom.models.objects.faster_rcnn import FasterRCNN
from rasterloom.models.objects.foreign import TorchDetector
from rasterloom.models.objects.mask_rcnn import MaskRCNN
from rasterloom.models.objects.predicting import TRACKER_OPTIONS, VISUAL_OPTIONS, predict_image, predict_video
from rasterloom.models.objects.retina_net import RetinaNet
from rasterloom.models.objects.ssd import SingleShotDetector
from rasterloom.models.objects.yolo import YOLOv3


@pytest.fixture
def asked(monkeypatch):
    """What the pipeline is asked for: the service and its arguments."""
    calls = []
    monkeypatch.setattr(
        predicting,
        "service",
        lambda name: lambda *given, **settings: calls.append((name, given, settings)) or (),
    )
    return calls


def test_every_argument_of_an_image_reaches_the_pipeline(asked):
    predict_image("model", "a.png", 0.1, 0.2, True, "b.png", True, 4, tta_prediction=True, return_masks=True)
    assert asked == [
        (
            "predict_image",
            ("model", "a.png"),
            {
                "threshold": 0.1,
                "nms_overlap": 0.2,
                "return_scores": True,
                "visualize": "b.png",
                "resize": True,
                "batch_size": 4,
                "tta_prediction": True,
                "return_masks": True,
            },
        )
    ]


def test_every_argument_of_a_video_reaches_the_pipeline(asked):
    given = ("a.mp4", "m.csv", 0.1, 0.2, True, True, "b.mp4", True, "c.mov", {"x": 1}, {"y": 2}, True)
    predict_video("model", *given, overwrite=True)
    names = list(inspect.signature(predict_video).parameters)[1:-1]
    ((name, places, settings),) = asked
    assert (name, places) == ("predict_video", ("model", "a.mp4", "m.csv"))
    assert settings == dict(zip(names[2:], given[2:], strict=True)) | {"overwrite": True}


@pytest.mark.parametrize(
    ("model", "threshold", "scores"),
    [
        (FasterRCNN, 0.5, False),
        (RetinaNet, 0.5, True),
        (YOLOv3, 0.1, True),
        (SingleShotDetector, 0.5, False),
        (MaskRCNN, 0.5, True),
    ],
)
def test_each_model_has_its_own_defaults(asked, model, threshold, scores):
    detector = model.__new__(model)
    detector.predict("a.png")
    detector.predict_video("a.mp4", "m.csv")
    (_, (seen, *_), image), (_, _, video) = asked
    assert seen is detector
    assert (image["threshold"], image["return_scores"], image["nms_overlap"]) == (threshold, scores, 0.1)
    assert (image["resize"], image["visualize"], image["batch_size"]) == (False, False, 1)
    assert video["threshold"] == threshold
    assert video["tracker_options"] == {"assignment_iou_thrd": 0.3, "detect_frames": 10, "vanish_frames": 40}
    assert video["visual_options"] == {
        "color": (255, 255, 255),
        "fontface": 0,
        "show_labels": True,
        "show_scores": True,
        "thickness": 2,
    }


def test_a_brought_detector_predicts_too(asked):
    detector = TorchDetector.__new__(TorchDetector)
    detector.predict("a.png", 0.3)
    detector.predict_video("a.mp4", "m.csv", track=True)
    assert [(name, seen) for name, (seen, *_), _ in asked] == [
        ("predict_image", detector),
        ("predict_video", detector),
    ]
    assert (asked[0][2]["threshold"], asked[1][2]["track"]) == (0.3, True)


def test_a_mask_model_looks_eight_times_on_request(asked):
    detector = MaskRCNN.__new__(MaskRCNN)
    detector.predict("a.png", tta_prediction=True, min_obj_size=7)
    assert (asked[0][2]["tta_prediction"], asked[0][2]["min_obj_size"]) == (True, 7)


@pytest.mark.parametrize(
    ("method", "function"), [("predict", predict_image), ("predict_video", predict_video)]
)
def test_methods_have_the_arguments_and_defaults_of_the_functions(method, function):
    first, *wanted = inspect.signature(function).parameters.values()
    me, *found = inspect.signature(getattr(ObjectDetector, method)).parameters.values()
    assert (first.name, me.name) == ("model", "self")
    assert [(p.name, p.default) for p in found] == [(p.name, p.default) for p in wanted]


def test_options_are_those_that_the_pipeline_knows():
    from rasterloom.pipeline.inference.video.draw import VisualOptions
    from rasterloom.pipeline.inference.video.tracks import TrackerOptions

    assert TrackerOptions.read(TRACKER_OPTIONS) == TrackerOptions()
    assert VisualOptions.read(VISUAL_OPTIONS) == VisualOptions()


def test_a_model_is_imported_without_what_videos_need():
    code = "import sys, rasterloom.models.objects.detector; assert 'cv2' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
