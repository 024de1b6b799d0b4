"""The demo from start to end, on a small scene."""

import json
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from rasterloom.pipeline.demo.result import DemoResult
from rasterloom.pipeline.demo.run import run_demo
from rasterloom.pipeline.packages.load import load_package
from rasterloom.pipeline.reports.accuracy import assess_pixels

SETTINGS: dict[str, Any] = {"size": 1024, "epochs": 4, "batch_size": 4, "progress": False}
FLOOR = 0.3
"""Mean IoU after so little training; one class everywhere has less than 0.1."""


class Sources(HTMLParser):
    """Addresses that a page's elements name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            value or "" for key, value in attrs if key in ("src", "href", "srcset", "data", "poster")
        ]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, client: Any) -> DemoResult:
    return run_demo(tmp_path_factory.mktemp("journey") / "demo", client=client, **SETTINGS)


def test_everything_it_promises_is_there(demo: DemoResult) -> None:
    made = {path.name for path in demo.folder.iterdir() if not path.name.startswith((".", "_"))}
    assert {"scene", "chips.zarr", "model.dlpk", "class_map.tif", "metrics.json", "report.html"} <= made
    assert load_package(demo.package).spec.model == "UnetClassifier"


def test_metrics_hold_what_a_script_would_look_for(demo: DemoResult) -> None:
    metrics = json.loads(demo.metrics.read_text())
    assert FLOOR < metrics["mean_iou"] <= 1
    assert metrics["chips"] == demo.chip_count > 100
    assert metrics["cog"]["valid"] is True
    assert {"Field", "Grassland", "Forest", "Water", "Road", "Building"} == set(metrics["per_class"])
    assert {"scene", "chips", "training", "map", "accuracy", "total"} <= set(metrics["seconds"])


def test_the_map_is_a_valid_cog_of_the_whole_scene(demo: DemoResult) -> None:
    valid, errors, warnings = cog_validate(demo.class_map, strict=True, quiet=True)
    assert valid, (errors, warnings)
    with rasterio.open(demo.class_map) as classes, rasterio.open(demo.raster) as scene:
        assert (classes.shape, classes.crs, classes.transform) == (scene.shape, scene.crs, scene.transform)
        assert set(np.unique(classes.read(1))) <= {1, 2, 3, 4, 5, 6}


def test_scores_stand_for_rows_that_no_chip_has_shown(demo: DemoResult) -> None:
    assert demo.accuracy.confusion.total == (256 - 128) * 1024
    with rasterio.open(demo.class_map) as classes:
        west, south, east, _ = classes.bounds
    again = assess_pixels(
        demo.class_map,
        demo.folder / "scene" / "truth.tif",
        extent=(west, south, east, south + 128),
        progress=False,
    )
    assert again.mean_iou == pytest.approx(demo.mean_iou)


def test_the_report_needs_nothing_else(demo: DemoResult) -> None:
    text = demo.report.read_text("utf-8")
    sources = Sources(text).found
    assert sum(source.startswith("data:image/png") for source in sources) == 8
    assert all(source.startswith("data:") for source in sources)
    assert "generated scene" in text
    assert str(demo.folder.parent) not in text, "a report can be shown to others"


def test_a_second_demo_replaces_the_first_and_keeps_its_scene(demo: DemoResult, client: Any) -> None:
    kept, mine = (demo.folder / "scene" / "scene.tif").stat().st_mtime_ns, demo.folder / "my notes.txt"
    mine.write_text("mine")
    again = run_demo(demo.folder, client=client, **{**SETTINGS, "epochs": 1})
    assert (demo.folder / "scene" / "scene.tif").stat().st_mtime_ns == kept
    assert mine.read_text() == "mine"
    assert len(again.history) == 1
    assert json.loads(demo.metrics.read_text())["mean_iou"] == pytest.approx(again.mean_iou, abs=1e-6)
