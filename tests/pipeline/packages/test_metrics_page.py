import math
import xml.etree.ElementTree as ElementTree

from rasterloom.models.contract import ClassInfo
from rasterloom.models.history import EpochRow, History
from rasterloom.pipeline.packages.metrics_page import loss_curve, metrics_page
from tests.support.models import pixel_spec

HISTORY = History(
    (EpochRow(1, 0.9, math.nan, {"miou": 0.4}, 2.0), EpochRow(2, 0.45, 0.6, {"miou": 0.61}, 2.0)), 0.001
)


def test_the_page_shows_training_and_judgement():
    facts = {"accuracy": 0.875, "per_class_metrics": {"f1": {"Field": 0.75, "Road": math.nan}}}
    page = metrics_page("fields", pixel_spec(), HISTORY, facts)
    for text in ("0.4500", "0.6100", "0.8750", "0.7500", "1.00e-03", "<td>-</td>", "<svg", "resnet18"):
        assert text in page


def test_without_training_or_figures_their_parts_are_left_out():
    page = metrics_page("fields", pixel_spec(), History(), {})
    assert "<svg" not in page
    assert "validation set" not in page


def test_names_cannot_bring_markup_into_the_page():
    evil = "<script>alert(1)</script>"
    spec = pixel_spec(classes=(ClassInfo(1, evil, (0, 0, 0)),))
    page = metrics_page(evil, spec, HISTORY, {"per_class_metrics": {evil: {evil: 1.0}}})
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_the_curve_has_a_point_for_each_loss_within_the_picture():
    root = ElementTree.fromstring(loss_curve(HISTORY))  # noqa: S314 our own text
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    assert len(circles) == 3
    _, _, width, height = (float(v) for v in root.attrib["viewBox"].split())
    assert all(0 <= float(c.attrib["cx"]) <= width and 0 <= float(c.attrib["cy"]) <= height for c in circles)


def test_a_single_epoch_and_losses_of_zero_are_drawn_too():
    ElementTree.fromstring(loss_curve(History((EpochRow(1, 0.0, 0.0),))))  # noqa: S314 our own text
