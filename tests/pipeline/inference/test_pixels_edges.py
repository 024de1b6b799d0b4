"""Edges of whole rasters: thin unless told otherwise, and the same however the raster is cut."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from skimage.morphology import thin

from rasterloom.models.build import build
from rasterloom.models.contract import ClassInfo
from rasterloom.models.errors import SettingError
from rasterloom.pipeline.inference.arguments import pixel_arguments
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.inference.thin import ROUNDS
from rasterloom.pipeline.packages.save import save_package
from tests.support.models import pixel_spec
from tests.support.rasters import smooth_pixels, write_pixels

SPEC = pixel_spec(
    bands=2,
    model="HEDEdgeDetector",
    classes=(ClassInfo(3, "Edge", (250, 220, 20)),),
    parameters={"backbone": "timm:test_resnet", "encoder_depth": 2, "pretrained": False},
)
ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 3}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that finds about half of all pixels, in bodies that hang together over the whole raster."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(SPEC)
    model.network.fuse.sum.weight.data.fill_(400.0)
    return save_package(model, tmp_path_factory.mktemp("model") / "edges", compute_metrics=False)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = smooth_pixels(2, 330, 290)
    pixels[:, 100:140, 60:90] = 0
    return write_pixels(tmp_path_factory.mktemp("scene") / "scene.tif", pixels, nodata=0)


def _read(path: Any) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


def _run(scene: Path, package: Path, output: Path, **arguments: Any) -> np.ndarray:
    cell_size = arguments.pop("cell_size", 96)
    client = arguments.pop("client", None)
    extent = arguments.pop("extent", None)
    context = None if extent is None else {"extent": extent}
    settings = {"progress": False, "cell_size": cell_size, "client": client, "context": context}
    return _read(classify_pixels(scene, package, ARGUMENTS | arguments, output, **settings))


def test_edges_are_thinned_as_those_of_the_whole_raster_at_once(
    scene: Path, package: Path, tmp_path: Path
) -> None:
    thick = _run(scene, package, tmp_path / "thick.tif", thinning=False)[0]
    assert 0.1 < (thick == 3).mean() < 0.9
    expected = np.where((thick == 3) & ~thin(thick == 3, max_num_iter=ROUNDS), 0, thick)
    assert (expected == 3).sum() < (thick == 3).sum() / 3
    for cell_size in (64, 96, 400):
        found = _run(scene, package, tmp_path / f"{cell_size}.tif", cell_size=cell_size)[0]
        assert np.array_equal(found, expected), cell_size
    told = _run(scene, package, tmp_path / "told.tif", thinning=True)[0]
    assert np.array_equal(told, expected)


def test_thin_edges_of_a_part_are_those_of_the_whole(scene: Path, package: Path, tmp_path: Path) -> None:
    whole = _run(scene, package, tmp_path / "whole.tif")[0]
    rows, columns = slice(90, 250), slice(70, 201)
    with rasterio.open(scene) as source:
        (west, north), (east, south) = source.xy(90, 70), source.xy(249, 200)  # centres of its corners
    part = _run(scene, package, tmp_path / "part.tif", extent=(west, south, east, north))[0]
    assert np.array_equal(part, whole[rows, columns])


def test_processes_write_the_same_bytes(scene: Path, package: Path, tmp_path: Path, client: Any) -> None:
    alone, together = tmp_path / "alone.tif", tmp_path / "together.tif"
    _run(scene, package, alone, cell_size=400)
    _run(scene, package, together, cell_size=160, client=client)
    assert alone.read_bytes() == together.read_bytes()


def test_probabilities_of_edges_are_not_thinned(scene: Path, package: Path, tmp_path: Path) -> None:
    found = _run(scene, package, tmp_path / "chances.tif", return_probability_raster=True)
    thick = _run(scene, package, tmp_path / "thick.tif", thinning=False)[0]
    told = (found[1] != 255) & (found[1] != 127)  # 127 of 254 is half, on either side of it
    assert np.array_equal((found[1] > 127)[told], (thick == 3)[told])


def test_a_higher_threshold_leaves_fewer_edges(scene: Path, package: Path, tmp_path: Path) -> None:
    counts = [
        (_run(scene, package, tmp_path / f"{value}.tif", threshold=value, thinning=False) == 3).sum()
        for value in (0.3, 0.5, 0.9)
    ]
    assert counts[0] > counts[1] > counts[2] > 0


@pytest.mark.parametrize(
    ("given", "thinning"),
    [({}, True), ({"thinning": "false"}, False), ({"return_probability_raster": "true"}, False)],
)
def test_models_for_edges_thin_unless_told_not_to(given: dict[str, Any], thinning: bool) -> None:
    assert pixel_arguments(given, SPEC, tile_multiple=4, device="cpu").thinning is thinning


def test_other_models_with_one_class_thin_only_when_told_to() -> None:
    spec = pixel_spec(classes=SPEC.classes)
    assert not pixel_arguments({}, spec, tile_multiple=4, device="cpu").thinning
    assert pixel_arguments({"thinning": True}, spec, tile_multiple=4, device="cpu").thinning


def test_thin_probabilities_are_refused() -> None:
    given = {"thinning": True, "return_probability_raster": True}
    with pytest.raises(SettingError, match="thinning decides on classes"):
        pixel_arguments(given, SPEC, tile_multiple=4, device="cpu")
