"""A model of outlines, trained, judged and shown by the pipeline."""

import pytest
import torch

from rasterloom.models.errors import SettingError
from rasterloom.models.objects.mask_rcnn import MaskRCNN
from rasterloom.pipeline.inference.objects.turned import find_all_ways
from rasterloom.pipeline.training.evaluate import evaluate
from tests.support.adapters import PARAMETERS


@pytest.fixture
def model(outline_data):
    torch.manual_seed(0)
    changes = {"backbone": "timm:test_resnet", "box_detections_per_img": 10}
    return MaskRCNN(outline_data, **{**PARAMETERS["MaskRCNN"], **changes})


class Knowing:
    """Finds what is true, with outlines that are a pixel too small."""

    def __init__(self, model, data):
        self.spec, self.network, self.data = model.spec, model.network, data
        self.answers = [chip for _, targets in data.valid_loader() for chip in targets]
        self.at = 0

    def detect(self, images, *, threshold=0.5, nms_overlap=0.1):
        chips = self.answers[self.at : self.at + len(images)]
        self.at += len(images)
        found = []
        for chip in chips:
            inner = -torch.nn.functional.max_pool2d(-chip["masks"].float(), 3, 1, 1)
            found.append({**chip, "masks": inner > 0, "scores": torch.full((len(chip["labels"]),), 0.9)})
        return found


def test_outlines_are_compared_where_that_is_asked_for(model, outline_data):
    wholly = evaluate(Knowing(model, outline_data), outline_data, show_progress=False, iou=0.95)
    outlines = evaluate(Knowing(model, outline_data), outline_data, show_progress=False, iou=0.95, masks=True)
    assert wholly.right.all()
    assert not outlines.right.any()


def test_a_fit_has_average_precision_and_the_class_its_score_by_outlines(model, outline_data):
    model.fit(1, lr=1e-3, checkpoint=False)
    assert {"valid_loss", "average_precision"} <= set(model.available_metrics)
    assert torch.isfinite(torch.tensor(model.history.rows[0].valid_loss))
    for tta in (False, True):
        scores = model.average_precision_score(show_progress=False, tta_prediction=tta)
        assert set(scores) == {info.name for info in outline_data.classes}
    assert isinstance(model.average_precision_score(mean=True, show_progress=False), float)


def test_eight_looks_find_what_one_finds_where_the_model_sees_no_direction():
    def seen(images):
        found = []
        for image in images:
            rows, cols = torch.nonzero(image[0] > 0.5, as_tuple=True)
            box = torch.stack([cols.min(), rows.min(), cols.max() + 1, rows.max() + 1])[None].float()
            mask = image[:1] > 0.5
            found.append(
                {"boxes": box, "labels": torch.tensor([2]), "scores": torch.tensor([0.75]), "masks": mask}
            )
        return found

    class Seeing:
        def detect(self, images, *, nms_overlap, threshold):
            assert (nms_overlap, threshold) == (0.3, 0.4)
            return seen(images)

    images = torch.zeros(2, 1, 16, 16)
    images[0, 0, 2:7, 3:11] = 1
    images[1, 0, 9:15, 1:4] = 1
    once, eight = seen(images), find_all_ways(Seeing(), images, nms_overlap=0.3, threshold=0.4)
    for first, second in zip(once, eight, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert all(first[name].dtype == second[name].dtype for name in first)


@pytest.mark.parametrize(
    ("mode", "layers", "frames"), [("mask", 1, False), ("bbox", 0, True), ("bbox_mask", 1, True)]
)
def test_pictures_show_outlines_boxes_or_both(model, mode, layers, frames):
    figure = model.show_results(rows=2, mode=mode, imsize=2)
    truth = figure.axes[0]
    assert len(truth.images) == 1 + layers
    assert bool(truth.patches) == frames
    assert figure.get_size_inches()[0] == 4


def test_pictures_begin_where_they_are_told_and_show_more_with_less_certainty(model, outline_data):
    first, second = (model.show_results(rows=1, index=n).axes[0].images[0].get_array() for n in (0, 1))
    assert not (first == second).all()
    few, many = (
        len(model.show_results(rows=2, mode="bbox", box_threshold=t).axes[1].patches) for t in (0.99, 0.0)
    )
    assert few < many
    count = len(outline_data.valid)
    with pytest.raises(SettingError, match=f"index={count} is no chip: .* from 0 to {count - 1}"):
        model.show_results(index=count)
    with pytest.raises(SettingError, match="cmap='rainbowish' is no colour map"):
        model.show_results(cmap="rainbowish")
