"""An inference function gives the map that it gives for the whole raster at once, however it is cut."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from geopandas import GeoDataFrame

from rasterloom.models.errors import ModelMismatchError, PackageError, SettingError, TooManyFailures
from rasterloom.pipeline import classify_pixels
from rasterloom.pipeline.packages.archive import write_archive
from rasterloom.pipeline.packages.save import save_package
from tests.support.functions import BOXES, MEAN, PLACES, SMOOTHING, THRESHOLD, pack, write_function
from tests.support.models import random_model
from tests.support.rasters import write_raster

HEIGHT, WIDTH = 150, 201


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    return write_raster(path, height=HEIGHT, width=WIDTH, nodata=0)


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("functions")
    return {
        "threshold": write_function(folder / "a", "Threshold", THRESHOLD, Classes=[]),
        "mean": pack(write_function(folder / "b", "Mean", MEAN, beside={"smoothing.py": SMOOTHING})),
        "places": pack(write_function(folder / "c", "Places", PLACES)),
    }


def _run(scene: Any, model: Path, output: Path, **changes: Any) -> bytes:
    settings: dict[str, Any] = {"progress": False, "trust": True, "cell_size": 64} | changes
    return Path(classify_pixels(scene, model, output_name=output, **settings)).read_bytes()


def _read(path: Path) -> tuple[np.ndarray, float]:
    with rasterio.open(path) as source:
        return source.read(), source.nodata


def _pixels(scene: Path) -> np.ndarray:
    with rasterio.open(scene) as source:
        return source.read()


def _valid(pixels: np.ndarray) -> np.ndarray:
    return (pixels != 0).all(axis=0)


def _whole_mean(pixels: np.ndarray, radius: int) -> np.ndarray:
    """The function itself on the whole raster at once, mirrored at its edges as it is when it is cut."""
    spec = importlib.util.spec_from_loader("smoothing_alone", loader=None)
    module = importlib.util.module_from_spec(spec)
    exec(SMOOTHING, module.__dict__)  # noqa: S102 - our own text
    padded = np.pad(pixels, ((0, 0), (radius, radius), (radius, radius)), mode="reflect")
    return module.mean_around(padded, radius)


def test_a_threshold_is_the_threshold_of_the_whole_raster(scene, functions, tmp_path):
    _run(scene, functions["threshold"], tmp_path / "out.tif")
    pixels = _pixels(scene)
    wanted = np.where(pixels[1] > 120, 1, 2)
    found, nodata = _read(tmp_path / "out.tif")
    np.testing.assert_array_equal(found[0], np.where(_valid(pixels), wanted, nodata))
    with rasterio.open(tmp_path / "out.tif") as source:
        assert source.colormap(1)[1] == (250, 1, 2, 255)
        assert '"high"' in source.tags()["CLASSES"]


def test_parameters_reach_the_function_as_it_names_them(scene, functions, tmp_path):
    given = {"limit": 90, "side": "Below"}
    _run(scene, functions["threshold"], tmp_path / "out.tif", model_arguments=given)
    pixels = _pixels(scene)
    wanted = np.where(pixels[1] > 90, 2, 1)
    found, nodata = _read(tmp_path / "out.tif")
    np.testing.assert_array_equal(found[0], np.where(_valid(pixels), wanted, nodata))


def test_a_neighbourhood_has_no_seams(scene, functions, tmp_path):
    _run(scene, functions["mean"], tmp_path / "out.tif", model_arguments={"radius": "4"})
    pixels = _pixels(scene)
    found, nodata = _read(tmp_path / "out.tif")
    assert np.isnan(nodata)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.where(_valid(pixels), _whole_mean(pixels, 4), np.nan))


def test_a_function_that_changes_what_it_gets_and_asks_where_it_is_gets_it_right(scene, functions, tmp_path):
    _run(scene, functions["places"], tmp_path / "out.tif")
    pixels = _pixels(scene)
    rows, cols = np.mgrid[0.5:HEIGHT, 0.5:WIDTH]
    wanted = np.stack([rows, cols, pixels[0]]).astype("i4")
    found, nodata = _read(tmp_path / "out.tif")
    kept = _valid(pixels) & (pixels[0] > 60)
    assert 0 < kept.mean() < 1
    np.testing.assert_array_equal(found, np.where(kept, wanted, int(nodata)))


@pytest.mark.parametrize("name", ["threshold", "mean", "places"])
def test_the_map_does_not_depend_on_how_the_work_is_cut(name, scene, functions, tmp_path, client):
    first = _run(scene, functions[name], tmp_path / "a.tif")
    assert _run(scene, functions[name], tmp_path / "b.tif", cell_size=100) == first
    assert _run(scene, functions[name], tmp_path / "c.tif", cell_size=None) == first
    assert _run(scene, functions[name], tmp_path / "d.tif", client=client) == first


def test_a_part_of_the_raster_holds_what_the_whole_holds_there(scene, functions, tmp_path):
    left, top = 500000.0, 5000000.0
    extent = (left + 37, top - 131, left + 160, top - 11)
    _run(scene, functions["mean"], tmp_path / "whole.tif")
    _run(scene, functions["mean"], tmp_path / "part.tif", context={"extent": extent})
    whole, part = _read(tmp_path / "whole.tif")[0], _read(tmp_path / "part.tif")[0]
    np.testing.assert_array_equal(part, whole[:, 11:131, 37:160])


def test_outside_of_a_mask_nothing_is_written(scene, functions, tmp_path):
    box = shapely.box(500020, 4999900, 500090, 4999960)
    outline = GeoDataFrame(geometry=[box], crs="EPSG:32633")
    _run(scene, functions["threshold"], tmp_path / "out.tif", context={"mask": outline})
    found, nodata = _read(tmp_path / "out.tif")
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[40:100, 20:90] = True
    np.testing.assert_array_equal(found[0] != nodata, inside & _valid(_pixels(scene)))


def test_nothing_of_a_script_is_left_behind(scene, functions, tmp_path):
    path, modules = list(sys.path), set(sys.modules)
    _run(scene, functions["mean"], tmp_path / "a.tif")
    _run(scene, functions["places"], tmp_path / "b.tif")
    assert sys.path == path
    assert not {"arcpy", "smoothing"} & (set(sys.modules) - modules)


def test_two_packages_may_bring_modules_of_one_name(scene, functions, tmp_path):
    other = SMOOTHING.replace('.astype("f4")', '.astype("f4") * 0 + 7')
    twin = write_function(tmp_path / "twin", "Mean", MEAN, beside={"smoothing.py": other})
    _run(scene, functions["mean"], tmp_path / "a.tif")
    _run(scene, twin, tmp_path / "b.tif")
    found = _read(tmp_path / "b.tif")[0]
    assert set(np.unique(found[np.isfinite(found)])) == {7}
    _run(scene, functions["mean"], tmp_path / "c.tif", cell_size=50)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "c.tif").read_bytes()


def test_without_trust_the_script_is_named_and_does_not_run(scene, tmp_path):
    trap = write_function(tmp_path / "p", "Trap", f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Trap: pass\n")
    for model in (trap, pack(trap)):
        with pytest.raises(PackageError, match=r"Trap\.py.*trust=True"):
            _run(scene, model, tmp_path / "out.tif", trust=False)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out.tif").exists()


def test_an_unknown_parameter_lists_the_known_ones(scene, functions, tmp_path):
    with pytest.raises(SettingError, match="takes limit, side"):
        _run(scene, functions["threshold"], tmp_path / "out.tif", model_arguments={"padding": 3})
    with pytest.raises(SettingError, match="use above, below"):
        _run(scene, functions["threshold"], tmp_path / "out.tif", model_arguments={"side": "left"})


@pytest.mark.parametrize(
    "wish",
    [{"blend": "linear"}, {"precision": "bfloat16"}, {"compiled": True}, {"probability_type": "float32"}],
)
def test_what_is_about_networks_is_refused(wish, scene, functions, tmp_path):
    with pytest.raises(SettingError, match=f"leave {next(iter(wish))} out"):
        _run(scene, functions["mean"], tmp_path / "out.tif", **wish)


def test_a_function_that_makes_features_is_for_another_tool(scene, tmp_path):
    boxes = write_function(tmp_path / "p", "Boxes", BOXES)
    with pytest.raises(ModelMismatchError, match="makes features"):
        _run(scene, boxes, tmp_path / "out.tif")


def test_a_band_that_is_not_there_is_refused(scene, tmp_path):
    text = THRESHOLD.replace('"extractBands": (1,)', '"extractBands": (6,)')
    with pytest.raises(ModelMismatchError, match=r"asks for band 7.*has 3"):
        _run(scene, write_function(tmp_path / "p", "Threshold", text), tmp_path / "out.tif")


def test_a_failure_says_at_which_tile_and_in_whose_words(scene, tmp_path):
    text = THRESHOLD.replace("        above =", "        assert tlc[1] < 64, 'no more'\n        above =")
    model = write_function(tmp_path / "p", "Threshold", text)
    words = r"tile at row 64, column \d+: .*Threshold\.py: updatePixels ended with AssertionError: no more"
    with pytest.raises(PackageError, match=words):
        _run(scene, model, tmp_path / "out.tif")


def test_a_lack_of_memory_is_no_mistake_of_the_script(scene, tmp_path):
    text = THRESHOLD.replace(
        "        above =", "        if tlc[1] >= 96: raise MemoryError('full')\n        above ="
    )
    model = write_function(tmp_path / "p", "Threshold", text)
    with pytest.raises(TooManyFailures, match="full"):
        _run(scene, model, tmp_path / "out.tif")


def test_a_configuration_that_changes_on_the_worker_is_refused(scene, tmp_path, client):
    text = THRESHOLD.replace(
        '"ty": 32', f'"ty": 32 if __import__("os").getpid() == {__import__("os").getpid()} else 16'
    )
    model = write_function(tmp_path / "p", "Threshold", text)
    with pytest.raises(PackageError, match="must not depend on the machine"):
        _run(scene, model, tmp_path / "out.tif", client=client)


def test_our_own_script_in_a_strangers_package_gives_the_map_of_our_engine(tmp_path):
    """The script that we write for other software, run as other software runs it."""
    scene = write_raster(tmp_path / "scene.tif", height=90, width=110)
    package = save_package(random_model(), tmp_path / "unet", compute_metrics=False)
    script = (
        "from pathlib import Path\n"
        "from rasterloom.pipeline.packages.esri import PixelFunction\n"
        "class Wrapped(PixelFunction):\n"
        "    def initialize(self, **kwargs):\n"
        "        inner = Path(kwargs['model']).with_name('unet.dlpk')\n"
        "        super().initialize(**{**kwargs, 'model': str(inner)})\n"
    )
    emd = write_function(tmp_path / "wrapped", "Wrapped", script)
    members = {file.name: file for file in emd.parent.iterdir()}
    write_archive(tmp_path / "wrapped.dlpk", {**members, "unet.dlpk": package})
    given = {"padding": 16}
    _run(scene, tmp_path / "wrapped.dlpk", tmp_path / "theirs.tif", model_arguments=given)
    _run(scene, package, tmp_path / "ours.tif", model_arguments=given | {"tile_size": 64})
    theirs, ours = _read(tmp_path / "theirs.tif")[0], _read(tmp_path / "ours.tif")[0]
    assert len(np.unique(ours)) > 2
    assert (theirs == ours).mean() > 0.999
