"""What has changed is found on the grid of the first raster, the same however the work is cut."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
import torch
from affine import Affine
from hypothesis import given, settings, strategies as st
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rio_cogeo import cog_validate

from rasterloom.pipeline.rasters.open import open_raster
from tests.support.dates import (
    ARGUMENTS,
    HEIGHT,
    NOTHING,
    WIDTH,
    changed,
    detect,
    map_of,
    pixels_of,
    random_detector,
    rule_model,
    write_dates,
)
from tests.support.rasters import smooth_pixels, write_pixels, write_raster

SIDE = 110


@pytest.fixture(scope="module")
def rule() -> Any:
    return rule_model()


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_dates(tmp_path_factory.mktemp("dates"))


def test_the_map_is_what_the_network_says_of_both_dates(
    dates: tuple[Path, Path], rule: Any, tmp_path: Path
) -> None:
    output = detect(*dates, rule, tmp_path / "out.tif")
    expected = changed(*map(pixels_of, dates))
    assert 0.1 < expected.mean() < 0.9
    assert (map_of(output) == expected).all()
    assert cog_validate(str(output))[0]
    with rasterio.open(output) as found, rasterio.open(dates[0]) as before:
        assert (found.crs, found.transform, found.nodata) == (before.crs, before.transform, NOTHING)


@pytest.fixture(scope="module")
def detector() -> Any:
    model = random_detector()
    model.network.eval()
    return model


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The later date with other cells, in another CRS, on two thirds of the ground of the first."""
    folder = tmp_path_factory.mktemp("elsewhere")
    pixels = smooth_pixels(3, SIDE, SIDE, dtype="uint8", seed=3)
    path = folder / "after.tif"
    # cells of 1.1 m; the upper-left corner of the earlier date is 15 degrees east, 45.1535 north
    place = Affine(1.4e-5, 0, 15.0005, 0, -1e-5, 45.1533)
    profile = {"driver": "GTiff", "count": 3, "height": SIDE, "width": SIDE, "dtype": "uint8"}
    with rasterio.open(path, "w", crs="EPSG:4326", transform=place, **profile) as target:
        target.write(pixels)
    return path


@pytest.fixture(scope="module")
def references(
    dates: tuple[Path, Path], elsewhere: Path, detector: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, Path], Path]:
    """The maps by kind of blending and later date."""
    folder = tmp_path_factory.mktemp("references")
    return {
        (blend, after): detect(dates[0], after, detector, folder / f"{blend}{number}.tif", blend=blend)
        for blend in ("crop", "linear")
        for number, after in enumerate((dates[1], elsewhere))
    }


@settings(max_examples=5, deadline=None)
@given(cell_size=st.integers(1, 400), blend=st.sampled_from(["crop", "linear"]), warped=st.booleans())
def test_cells_of_any_size_give_the_same_bytes(
    cell_size: int,
    blend: str,
    warped: bool,
    dates: tuple[Path, Path],
    elsewhere: Path,
    detector: Any,
    references: dict[tuple[str, Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    after = elsewhere if warped else dates[1]
    output = tmp_path_factory.mktemp("cells") / "out.tif"
    found = detect(dates[0], after, detector, output, blend=blend, cell_size=cell_size)
    assert found.read_bytes() == references[blend, after].read_bytes()


def test_worker_processes_give_the_same_bytes(
    dates: tuple[Path, Path],
    elsewhere: Path,
    detector: Any,
    references: dict[tuple[str, Path], Path],
    tmp_path: Path,
    client: Any,
) -> None:
    assert len(client.scheduler_info()["workers"]) == 2
    found = detect(dates[0], elsewhere, detector, tmp_path / "warped.tif", client=client, cell_size=32)
    assert found.read_bytes() == references["crop", elsewhere].read_bytes()
    arrays = [open_raster(path, chunks=50) + 0 for path in dates]
    found = detect(*arrays, detector, tmp_path / "arrays.tif", client=client)
    assert (map_of(found) == map_of(references["crop", dates[1]])).all()


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic"])
def test_a_date_on_another_grid_is_warped_to_that_of_the_first(
    resampling: str, dates: tuple[Path, Path], elsewhere: Path, rule: Any, tmp_path: Path
) -> None:
    output = detect(dates[0], elsewhere, rule, tmp_path / "out.tif", resampling=resampling)
    with rasterio.open(dates[0]) as before, rasterio.open(elsewhere) as after, rasterio.open(output) as found:
        warped = np.zeros((4, HEIGHT, WIDTH), np.uint8)
        seen = np.concatenate([after.read(), np.full((1, SIDE, SIDE), 255, np.uint8)])
        reproject(
            seen, warped, src_transform=after.transform, src_crs=after.crs,
            dst_transform=before.transform, dst_crs=before.crs, src_alpha=4, dst_alpha=4,
            resampling=Resampling[resampling], tolerance=1e-12,
        )  # fmt: skip
        col, row = (round(value) for value in ~before.transform @ (found.transform.c, found.transform.f))
        expected = np.where(warped[3] > 0, changed(before.read(), warped[:3]), NOTHING)
        part = expected[row : row + found.height, col : col + found.width]
        outside = expected.copy()
        outside[row : row + found.height, col : col + found.width] = NOTHING
        # the two ways into GDAL's warper may round a value differently
        assert (found.read(1) != part).sum() <= 2
        assert (outside == NOTHING).all(), "what both cover lies in the result"
        assert set(np.unique(part)) >= {0, 1}
        assert found.height * found.width < HEIGHT * WIDTH


def test_the_result_is_what_both_rasters_cover(dates: tuple[Path, Path], rule: Any, tmp_path: Path) -> None:
    before = pixels_of(dates[0])
    moved = write_pixels(
        tmp_path / "moved.tif", smooth_pixels(3, 80, 300, dtype="uint8", seed=3), origin=(500040.0, 4999990.0)
    )
    output = detect(dates[0], moved, rule, tmp_path / "out.tif", resampling="cubic")
    with rasterio.open(output) as found:
        assert found.bounds == (500040.0, 4999910.0, 500151.0, 4999990.0)
        expected = changed(before[:, 10:90, 40:151], pixels_of(moved)[:, :, :111])
        assert (found.read(1) == expected).all(), "pixels that only lie elsewhere are not resampled"


def test_context_chooses_grid_and_part(dates: tuple[Path, Path], rule: Any, tmp_path: Path) -> None:
    part = (500020.0, 4999900.0, 500100.0, 4999960.0)
    context = {"cellSize": 2.0, "extent": part}
    output = detect(*dates, rule, tmp_path / "out.tif", context=context, resampling="nearest")
    with rasterio.open(output) as found:
        assert found.bounds == part
        assert found.transform.a == 2.0
        first, second = (pixels_of(path)[:, 41:100:2, 21:100:2] for path in dates)
        assert (found.read(1) == changed(first, second)).all(), "both dates are read by the same resampling"


def test_a_snap_raster_gives_the_cells_and_a_mask_what_is_wanted_of_them(
    dates: tuple[Path, Path], rule: Any, tmp_path: Path
) -> None:
    snap = write_raster(tmp_path / "snap.tif", height=20, width=20, origin=(499990.25, 5000003.5))
    mask = geopandas.GeoDataFrame(geometry=[shapely.box(500030, 4999920, 500090, 4999970)], crs="EPSG:32633")
    context = {"snapRaster": str(snap), "mask": mask}
    output = detect(*dates, rule, tmp_path / "out.tif", context=context, resampling="nearest")
    with rasterio.open(output) as found:
        assert ((found.transform.c - 499990.25) % 1, (found.transform.f - 5000003.5) % 1) == (0, 0)
        inside = rasterio.features.geometry_mask(
            mask.geometry, found.shape, found.transform, invert=True, all_touched=False
        )
        assert ((found.read(1) != NOTHING) == inside).all()


def test_what_either_date_lacks_is_nothing(rule: Any, tmp_path: Path) -> None:
    first = smooth_pixels(3, 90, 90, dtype="uint8")
    second = smooth_pixels(3, 90, 90, dtype="int16", seed=3)
    first[:, :20], second[:, :, 70:] = 0, -1
    before = write_pixels(tmp_path / "before.tif", first, nodata=0)
    after = write_pixels(tmp_path / "after.tif", second, nodata=-1)
    found = map_of(detect(before, after, rule, tmp_path / "out.tif"))
    expected = changed(first, second)
    expected[:20], expected[:, 70:] = NOTHING, NOTHING
    holds = (first != 0).any(axis=0)
    assert (found[holds] == expected[holds]).all()
    assert (found[~holds] == NOTHING).all()


def test_bands_are_taken_from_both_dates_alike(dates: tuple[Path, Path], tmp_path: Path) -> None:
    model = rule_model(bands=2, extract_bands=[2, 0])
    found = map_of(detect(*dates, model, tmp_path / "out.tif"))
    assert (found == changed(*(pixels_of(path)[[2, 0]] for path in dates))).all()


def test_a_network_that_sees_everything_at_once_is_asked_once(
    dates: tuple[Path, Path], detector: Any, tmp_path: Path
) -> None:
    context = {"extent": (500010.0, 4999890.0, 500105.0, 4999985.0)}
    output = detect(
        *dates, detector, tmp_path / "out.tif", model_arguments={"crop_predict": "false"}, context=context
    )
    before, after = (
        np.pad(
            (pixels_of(path)[:, 15:110, 10:105].astype(np.float32) - 120) / 50,
            ((0, 0), (0, 1), (0, 1)),
            mode="reflect",
        )
        for path in dates
    )
    with torch.inference_mode():
        logits = detector.change_logits(
            *(torch.from_numpy(date)[None].contiguous(memory_format=torch.channels_last)
              for date in (before, after))
        )  # fmt: skip
    expected = logits.argmax(1)[0, :95, :95].numpy()
    assert 0 < expected.mean() < 1
    assert (map_of(output) == expected).mean() > 0.999


def test_flips_do_not_change_what_a_rule_says(dates: tuple[Path, Path], rule: Any, tmp_path: Path) -> None:
    plain = detect(*dates, rule, tmp_path / "plain.tif")
    turned = ARGUMENTS | {"test_time_augmentation": True, "merge_policy": "min"}
    found = detect(*dates, rule, tmp_path / "turned.tif", model_arguments=turned)
    assert (map_of(plain) == map_of(found)).all()


def test_probabilities_and_threshold_belong_together(
    dates: tuple[Path, Path], rule: Any, tmp_path: Path
) -> None:
    given = ARGUMENTS | {"return_probability_raster": True}
    output = detect(*dates, rule, tmp_path / "shares.tif", model_arguments=given, probability_type="float32")
    with rasterio.open(output) as source:
        assert source.count == 2
        assert source.descriptions[1] == "Change"
        shares = source.read(2)
    found = map_of(detect(*dates, rule, tmp_path / "out.tif", model_arguments=ARGUMENTS | {"threshold": 0.9}))
    assert ((shares >= 0.9) == (found == 1)).all()


def test_changed_areas_come_out_as_polygons(dates: tuple[Path, Path], rule: Any, tmp_path: Path) -> None:
    layer = tmp_path / "changed.parquet"
    found = map_of(detect(*dates, rule, tmp_path / "out.tif", output_polygons=layer))
    areas = geopandas.read_parquet(layer)
    assert set(areas["Class"]) == {"Change"}
    assert areas.area.sum() == pytest.approx((found == 1).sum())


def test_where_nothing_has_changed_the_layer_is_empty(
    dates: tuple[Path, Path], rule: Any, tmp_path: Path
) -> None:
    layer = tmp_path / "changed.gpkg"
    found = map_of(detect(dates[0], dates[0], rule, tmp_path / "out.tif", output_polygons=layer))
    assert (found == 0).all()
    assert len(geopandas.read_file(layer)) == 0
