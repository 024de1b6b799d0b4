import base64
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from rasterloom.models.contract import ClassInfo
from rasterloom.models.history import EpochRow, History
from rasterloom.pipeline.metrics.pixels import Confusion
from rasterloom.pipeline.packages.findings import RESULTS, Findings
from rasterloom.pipeline.packages.metrics_page import loss_curve, metrics_page
from tests.support.models import pixel_spec

HISTORY = History(
    (EpochRow(1, 0.9, math.nan, {"miou": 0.4}, 2.0), EpochRow(2, 0.45, 0.6, {"miou": 0.61}, 2.0)), 0.001
)
# truth 1 (Field): 60 right, 20 as 7 (Road); truth 7: 5 right, 15 as 1; nothing is 0 or 2
COUNTS = np.array([[0, 0, 0, 0], [0, 60, 0, 20], [0, 0, 0, 0], [0, 15, 0, 5]])
DATA = {
    "format": "Classified_Tiles",
    "train_chips": 1200,
    "valid_chips": 300,
    "chip_size": 64,
    "dtype": "uint8",
    "bands": [{"name": "Red", "minimum": 3.0, "maximum": 251.0, "mean": 104.15, "std": 46.357}],
    "cell_size": [0.5, 0.5],
    "crs": "EPSG:32633",
    "batch_size": 16,
    "class_pixels": {"0": 250, "1": 500, "7": 250},
}


def _page(**findings):
    return metrics_page("fields", pixel_spec(), HISTORY, Findings(**findings))


def _rows(page, heading):
    """Cells of the first table after a heading, as text."""
    part = page[page.index(f"<h2>{heading}</h2>") :]
    part = part[: part.index("</table>")].replace("<small>", " ")
    rows = re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL)
    return [[re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def test_the_page_shows_training_and_judgement():
    facts = {"accuracy": 0.875, "per_class_metrics": {"f1": {"Field": 0.75, "Road": math.nan}}}
    page = _page(facts=facts)
    for text in ("0.8750", "1.00e-03", "<svg", "resnet18"):
        assert text in page
    assert _rows(page, "Training")[1:] == [
        ["1", "0.9000", "-", "0.4000", "2.0"],
        ["2", "0.4500", "0.6000", "0.6100", "2.0"],
    ]
    assert _rows(page, "On the validation set") == [["Class", "f1"], ["Field", "0.7500"], ["Road", "-"]]


def test_the_confusion_matrix_has_counts_shares_and_colours_of_the_classes_that_occur():
    confusion = Confusion((0, 1, 2, 7), COUNTS)
    page = _page(confusion=confusion, facts={"per_class_metrics": {"recall": {"Field": 0.75, "Road": 0.25}}})
    assert _rows(page, "Confusion matrix") == [
        ["truth", "Field", "Road"],
        ["Field", "60 75.0%", "20 25.0%"],
        ["Road", "15 75.0%", "5 25.0%"],
    ]
    assert _rows(page, "On the validation set") == [
        ["Class", "recall", "IoU"],
        ["Field", "0.7500", "0.6316"],  # 60 / 95
        ["Road", "0.2500", "0.1250"],  # 5 / 40
    ]
    colors = re.findall(r"background:rgb\((\d+), (\d+), (\d+)\);color:(#\w+)", page)
    shades = [sum(map(int, color[:3])) for color in colors]
    assert shades[0] == shades[2] < shades[1] == shades[3]
    assert [color[3] for color in colors] == ["#fff", "#222", "#fff", "#222"]


def test_the_training_data_is_told_in_figures():
    page = _page(data=DATA)
    assert ["Chips to train", "1,200"] in _rows(page, "Training data")
    assert ["Cell size", "0.5 x 0.5"] in _rows(page, "Training data")
    for text in ("<td>104.15</td>", "<td>background</td><td>250</td><td>25.00%</td>", "<td>50.00%</td>"):
        assert text in page


def test_average_precision_has_a_column():
    page = _page(facts={"average_precision_score": {"Field": 0.5, "Road": None}})
    assert _rows(page, "On the validation set")[1:] == [["Field", "0.5000"], ["Road", "-"]]


def test_sample_results_are_in_the_page_itself():
    page = _page(pictures={RESULTS: b"PNG of results"})
    assert base64.b64encode(b"PNG of results").decode() in page
    assert not re.search(r"(src|href)=(?!'data:)", page)
    assert "url(" not in page


def test_without_training_or_figures_their_parts_are_left_out():
    page = metrics_page("fields", pixel_spec(), History(), Findings())
    for text in ("<svg", "validation set", "Confusion", "Training", "<img"):
        assert text not in page


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "'><img src=x onerror=alert(1)>"])
def test_names_cannot_bring_markup_into_the_page(evil):
    spec = pixel_spec(
        classes=(ClassInfo(1, evil, (0, 0, 0)),), bands=3, parameters={evil: evil, "nested": [evil]}
    )
    band = {"name": evil, "minimum": 0.0, "maximum": 1.0, "mean": 0.5, "std": 0.1}
    history = History((EpochRow(1, 0.9, 0.8, {evil: 0.5}),), 0.1)
    findings = Findings(
        {"per_class_metrics": {evil: {evil: 1.0}}, "average_precision_score": {evil: 1.0}},
        confusion=Confusion((0, 1), np.array([[1, 0], [0, 1]])),
        data={**DATA, "format": evil, "bands": [band], "class_pixels": {"1": 5}},
    )
    page = metrics_page(evil, spec, history, findings)
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;") > 10


def test_the_curve_has_a_point_for_each_loss_within_the_picture():
    root = ElementTree.fromstring(loss_curve(HISTORY))  # noqa: S314 our own text
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    assert len(circles) == 3
    _, _, width, height = (float(v) for v in root.attrib["viewBox"].split())
    assert all(0 <= float(c.attrib["cx"]) <= width and 0 <= float(c.attrib["cy"]) <= height for c in circles)


def test_a_single_epoch_and_losses_of_zero_are_drawn_too():
    ElementTree.fromstring(loss_curve(History((EpochRow(1, 0.0, 0.0),))))  # noqa: S314 our own text
