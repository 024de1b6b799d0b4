"""What a caller may ask of classify_pixels beyond the plain map."""

import json
import os
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rio_cogeo import cog_validate

from rasterloom.models.errors import CrsError, OutputExistsError, SettingError
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.packages.save import save_package
from tests.support.models import random_model
from tests.support.rasters import break_block, smooth_pixels, write_pixels, write_raster

ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 3}
NAMES = ("background", "Field", "Water", "Road")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_package(random_model(), tmp_path_factory.mktemp("model") / "unet", compute_metrics=False)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", height=150, width=201, nodata=0)


def _run(raster: Any, model: Path, output: Path, arguments: Any = None, **changes: Any) -> str:
    settings: dict[str, Any] = {"progress": False, "cell_size": 64} | changes
    return classify_pixels(raster, model, ARGUMENTS | (arguments or {}), output, **settings)


def _read(path: Any) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_probabilities_come_as_a_band_for_each_class(
    kind: str, scene: Path, package: Path, tmp_path: Path
) -> None:
    path = _run(
        scene,
        package,
        tmp_path / "out.tif",
        {"return_probability_raster": True},
        probability_type=kind,
    )
    assert cog_validate(path, quiet=True)[0]
    with rasterio.open(path) as source:
        found, mask = source.read(), source.dataset_mask() > 0
        assert source.descriptions == NAMES
        assert source.dtypes == (kind,) * 4
        assert source.scales == ((1 / 254,) * 4 if kind == "uint8" else (1,) * 4)
    with rasterio.open(scene) as source:
        assert np.array_equal(mask, source.dataset_mask() > 0)
    shares = found[:, mask] * (1 / 254 if kind == "uint8" else 1.0)
    assert shares.min() >= 0
    assert np.allclose(shares.sum(axis=0), 1, atol=4 / 254)
    classes = _read(_run(scene, package, tmp_path / "map.tif"))[0]
    values = np.array([0, 1, 2, 7])
    sure = np.sort(shares, axis=0)[-1] - np.sort(shares, axis=0)[-2] > 2 / 254
    assert np.array_equal(values[shares.argmax(axis=0)][sure], classes[mask][sure])


def test_statistics_of_probabilities_are_those_of_the_pixels(
    scene: Path, package: Path, tmp_path: Path
) -> None:
    path = _run(scene, package, tmp_path / "out.tif", {"return_probability_raster": True})
    with rasterio.open(path) as source:
        for band in range(1, 5):
            pixels, tags = source.read(band, masked=True).compressed(), source.tags(band)
            assert float(tags["STATISTICS_MEAN"]) == pytest.approx(pixels.mean())
            assert float(tags["STATISTICS_STDDEV"]) == pytest.approx(pixels.std())
            assert float(tags["STATISTICS_MAXIMUM"]) == pixels.max()


@pytest.mark.parametrize("blend", ["linear", "gaussian"])
@pytest.mark.parametrize("augment", [False, True])
def test_blended_and_augmented_maps_are_the_same_however_cut(
    blend: str, augment: bool, scene: Path, package: Path, tmp_path: Path, client: Any
) -> None:
    arguments = {"test_time_augmentation": augment, "merge_policy": "max"}
    cuts: list[dict[str, Any]] = [{"cell_size": 32}, {"cell_size": 500}, {"client": client}]
    found = [
        Path(_run(scene, package, tmp_path / f"{index}.tif", arguments, blend=blend, **cut)).read_bytes()
        for index, cut in enumerate(cuts)
    ]
    assert found[0] == found[1] == found[2]
    plain = Path(_run(scene, package, tmp_path / "plain.tif")).read_bytes()
    assert found[0] != plain


def test_nothing_is_written_outside_of_polygons(scene: Path, package: Path, tmp_path: Path) -> None:
    inside = shapely.Point(500_080, 4_999_920).buffer(45)
    mask = tmp_path / "mask.gpkg"
    geopandas.GeoDataFrame(geometry=[inside], crs="EPSG:32633").to_file(mask)
    whole = _read(_run(scene, package, tmp_path / "whole.tif"))[0]
    found = _read(_run(scene, package, tmp_path / "out.tif", context={"mask": str(mask)}))[0]
    y, x = np.mgrid[0:150, 0:201]
    wanted = shapely.contains_xy(inside, 500_000.5 + x, 4_999_999.5 - y)
    assert np.array_equal(found, np.where(wanted, whole, 255))


def test_a_mask_may_be_a_raster_on_another_grid(scene: Path, package: Path, tmp_path: Path) -> None:
    pixels = np.zeros((1, 80, 80), np.uint8)
    pixels[0, 10:30, 20:60] = 1
    mask = write_pixels(tmp_path / "mask.tif", pixels, cell=2.0)
    whole = _read(_run(scene, package, tmp_path / "whole.tif"))[0]
    found = _read(_run(scene, package, tmp_path / "out.tif", context={"mask": mask}))[0]
    wanted = np.zeros((150, 201), bool)
    wanted[20:60, 40:120] = True
    assert np.array_equal(found, np.where(wanted, whole, 255))


def test_neighbours_with_one_snap_raster_meet_without_a_seam(package: Path, tmp_path: Path) -> None:
    pixels = smooth_pixels(3, 160, 256, dtype="uint8", seed=3)
    whole = write_pixels(tmp_path / "whole.tif", pixels)
    # chips at the cut see past it only where both halves hold the pixels around it
    west = write_pixels(tmp_path / "west.tif", pixels[:, :, :150])
    east = write_pixels(tmp_path / "east.tif", pixels[:, :, 90:], origin=(500_090.0, 5_000_000.0))
    context = {"snapRaster": whole}
    alone = _read(_run(whole, package, tmp_path / "0.tif"))[0]
    left = _read(_run(west, package, tmp_path / "1.tif", context=context))[0]
    right = _read(_run(east, package, tmp_path / "2.tif", context=context))[0]
    assert np.array_equal(left[:, :100], alone[:, :100])
    assert np.array_equal(right[:, 70:], alone[:, 160:])


def test_an_output_shares_the_cell_edges_of_its_snap_raster(
    scene: Path, package: Path, tmp_path: Path
) -> None:
    snap = write_raster(tmp_path / "snap.tif", height=10, width=10, origin=(499_990.25, 5_000_010.75))
    with rasterio.open(_run(scene, package, tmp_path / "out.tif", context={"snapRaster": snap})) as source:
        assert (source.transform.c - 499_990.25) % 1 == 0
        assert (5_000_010.75 - source.transform.f) % 1 == 0
        assert source.bounds.left <= 500_000
        assert source.bounds.right >= 500_201


def test_a_snap_raster_in_another_crs_is_refused(scene: Path, package: Path, tmp_path: Path) -> None:
    snap = write_raster(tmp_path / "snap.tif", height=10, width=10, crs="EPSG:32634")
    with pytest.raises(CrsError, match="outSR"):
        _run(scene, package, tmp_path / "out.tif", context={"snapRaster": snap})


def test_a_large_output_is_a_grid_of_cogs(scene: Path, package: Path, tmp_path: Path, client: Any) -> None:
    scene = write_raster(tmp_path / "large.tif", height=600, width=1100)
    one = _run(scene, package, tmp_path / "one.tif", cell_size=300)
    many = _run(scene, package, tmp_path / "many.tif", cell_size=300, max_cog_size=512, client=client)
    assert many == str(tmp_path / "many.vrt")
    assert np.array_equal(_read(one), _read(many))
    parts = sorted((tmp_path / "many").glob("*.tif"))
    assert len(parts) == 6
    assert all(cog_validate(str(part), quiet=True)[0] for part in parts)
    with pytest.raises(OutputExistsError):
        _run(scene, package, tmp_path / "many.tif", cell_size=300, max_cog_size=512)


@pytest.mark.parametrize("factor", ["50%", 1, "1", "100%"])
def test_the_share_of_cores_does_not_change_the_map(
    factor: Any, scene: Path, package: Path, tmp_path: Path
) -> None:
    plain = Path(_run(scene, package, tmp_path / "0.tif")).read_bytes()
    shared = _run(scene, package, tmp_path / "1.tif", context={"parallelProcessingFactor": factor})
    assert Path(shared).read_bytes() == plain


def test_a_report_of_dask_is_written_when_asked_for(
    scene: Path, package: Path, tmp_path: Path, client: Any
) -> None:
    _run(scene, package, tmp_path / "out.tif", client=client, performance_report=tmp_path / "report.html")
    assert "bokeh" in (tmp_path / "report.html").read_text().lower()


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ({"merge_policy": "median"}, {}, "use mean, max, min"),
        ({"threshold": 1.5}, {}, "give 0 to 1"),
        ({"threshold": 0.5, "predict_background": False}, {}, "give one of the two"),
        ({"threshold": 0.5, "return_probability_raster": True}, {}, "give one of the two"),
        ({"thinning": True}, {}, "for models with one class"),
        ({"direction": "AtoB"}, {}, "'direction' is not known"),
        ({}, {"blend": "feather"}, "use crop, linear, gaussian"),
        ({"return_probability_raster": True}, {"probability_type": "int16"}, "use uint8, float32"),
        ({}, {"precision": "int8"}, "use float32, bfloat16, float16"),
        ({}, {"context": {"parallelProcessingFactor": "all"}}, "such as '80%'"),
        ({}, {"max_cog_size": 100}, "use 512 or more"),
        ({}, {"performance_report": "r.html"}, "client"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused_with_what_would_work(
    arguments: dict[str, Any],
    settings: dict[str, Any],
    message: str,
    scene: Path,
    package: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(SettingError, match=message):
        _run(scene, package, tmp_path / "out.tif", arguments, **settings)
    assert not (tmp_path / "out.tif").exists()


def test_failed_cells_alone_are_computed_again_when_asked_for(package: Path, tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", height=256, width=256)
    good = scene.read_bytes()
    whole = _read(_run(scene, package, tmp_path / "whole.tif", cell_size=64))
    status = scene.stat()
    break_block(scene, row=2, col=2)
    os.utime(scene, ns=(status.st_atime_ns, status.st_mtime_ns))  # the source was unreadable, not changed
    output = tmp_path / "out.tif"
    with pytest.warns(UserWarning, match=r"of 16 cells could not be computed .* retry_failed=True"):
        _run(scene, package, output, cell_size=64, max_failed=1.0)
    with_holes = _read(output)
    assert (with_holes == 255).any()
    assert not (with_holes == 255).all()
    scene.write_bytes(good)
    os.utime(scene, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _run(scene, package, output, cell_size=64, retry_failed=True) == str(output)
    assert np.array_equal(_read(output), whole)
    report = json.loads(next((tmp_path / "_run").glob("*/run.json")).read_text())
    assert 0 < report["computed"] < report["batches"]
    before = output.stat().st_mtime_ns
    assert _run(scene, package, output, cell_size=64, retry_failed=True) == str(output)
    assert output.stat().st_mtime_ns == before
