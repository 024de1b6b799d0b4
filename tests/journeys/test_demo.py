"""The demo from start to end, on a small scene."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from rasterloom.cluster.start import connect
from rasterloom.pipeline.demo.result import DemoResult
from rasterloom.pipeline.demo.run import run_demo
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.packages.load import load_package
from rasterloom.pipeline.reports.accuracy import assess_pixels
from tests.support.fleet import started_fleet

SETTINGS: dict[str, Any] = {"size": 1024, "epochs": 4, "batch_size": 4, "progress": False}
FLOOR = 0.3
"""Mean IoU after so little training; one class everywhere has less than 0.1."""


@contextmanager
def encrypted(_: Path) -> Iterator[Any]:
    """Two worker processes that talk TLS only."""
    with connect(n_workers=2, threads_per_worker=1, security=True) as client:
        assert client.scheduler.address.startswith("tls://")
        yield client


@contextmanager
def commanded(folder: Path) -> Iterator[Any]:
    """A scheduler and two workers that are commands of their own."""
    with started_fleet(folder) as fleet, connect(fleet.address, n_workers=2, security=fleet.keys) as client:
        yield client


@contextmanager
def reached_by_ssh(folder: Path) -> Iterator[Any]:
    """A scheduler and two workers that an SSH server starts."""
    pytest.importorskip("asyncssh", reason="SSH clusters need the package asyncssh")
    from tests.support.ssh_server import SshServer

    server = SshServer(folder)
    try:
        hosts = server.hosts_file(*2 * ["gpus = false\nprocesses = 1"])
        with connect(f"ssh:{hosts}", n_workers=2) as client:
            yield client
    finally:
        server.close()


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


@pytest.mark.parametrize("cluster", [encrypted, commanded, reached_by_ssh])
def test_every_cluster_draws_the_same_map(
    demo: DemoResult, cluster: Callable[[Path], AbstractContextManager[Any]], tmp_path: Path
) -> None:
    output = tmp_path / "class_map.tif"
    with cluster(tmp_path) as client:
        assert len(client.scheduler_info(n_workers=-1)["workers"]) == 2
        classify_pixels(
            demo.raster, demo.package, demo.model_arguments, output, client=client, progress=False
        )
    assert output.read_bytes() == demo.class_map.read_bytes()


def test_a_second_demo_replaces_the_first_and_keeps_its_scene(demo: DemoResult, client: Any) -> None:
    kept, mine = (demo.folder / "scene" / "scene.tif").stat().st_mtime_ns, demo.folder / "my notes.txt"
    mine.write_text("mine")
    again = run_demo(demo.folder, client=client, **{**SETTINGS, "epochs": 1})
    assert (demo.folder / "scene" / "scene.tif").stat().st_mtime_ns == kept
    assert mine.read_text() == "mine"
    assert len(again.history) == 1
    assert json.loads(demo.metrics.read_text())["mean_iou"] == pytest.approx(again.mean_iou, abs=1e-6)
