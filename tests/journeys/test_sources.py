"""Rasters as they come, through one call: awkward files, STAC items, mosaics, Zarr and computed arrays."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import torch
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform
from rasterio.windows import Window as GdalWindow
from rio_cogeo import cog_validate
from torch import nn

from rasterloom.models.bring import from_torch
from rasterloom.models.errors import CrsError
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import smooth_pixels, write_raster
from tests.support.web import serve_folder

ARGUMENTS = {"tile_size": 128, "padding": 8, "batch_size": 4}
EMPTY = 255
REACH = 2
"""Pixels that the network looks around itself."""


def network(bands: int) -> nn.Module:
    """Two convolutions whose classes differ from place to place."""
    state = torch.random.get_rng_state()
    torch.manual_seed(bands)
    layers = nn.Sequential(
        nn.Conv2d(bands, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 3, 3, padding=1, bias=False)
    )
    torch.random.set_rng_state(state)
    return layers.eval()


def model(bands: int, scale: tuple[float, float]) -> Any:
    """The network as a user brings it: three classes, and pixels brought to about -1..1."""
    return from_torch(
        network(bands), classes=["dark", "middle", "bright"], bands=bands, tile_size=128, normalize=scale
    )


def whole(pixels: np.ndarray, valid: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    """The map of a raster held in memory, by plain torch. A frame of REACH pixels is not to be relied on."""
    mean, std = (np.float32(value) for value in scale)
    normal = (np.where(valid, pixels.astype(np.float32), mean) - mean) / std
    with torch.inference_mode():
        scores = network(len(pixels))(torch.from_numpy(normal)[None])[0]
    return np.where(valid, scores.argmax(0).numpy() + 1, EMPTY).astype(np.uint8)


def check_map(path: str, expected: np.ndarray) -> None:
    """It is a COG that holds nothing exactly where nothing is expected, and the right classes elsewhere."""
    good, errors, warnings = cog_validate(path, strict=True)
    assert good, (errors, warnings)
    with rasterio.open(path) as made:
        found = made.read(1)
        assert made.nodata == EMPTY
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found == EMPTY, expected == EMPTY)
    inner = (slice(REACH, -REACH), slice(REACH, -REACH))
    # two scores may be so near to each other that the order of a sum decides
    assert (found[inner] != expected[inner]).mean() < 1e-4
    assert len(np.unique(found[found != EMPTY])) > 1, "a map of one class would prove nothing"


@dataclass(frozen=True)
class Zoo:
    """A file, the part of it that is classified, and what is expected of it."""

    name: str
    scale: tuple[float, float]
    kept: float
    """Share of pixels with a class."""
    bands: int = 1
    part: tuple[int, int, int, int] | None = None
    """Row, column, height and width; None for all of it."""


ZOO = [
    Zoo("cog_cmap.tif", (3, 1), 0.662, part=(3000, 2200, 700, 700)),
    Zoo("cog_dateline.tif", (22000, 8000), 1.0, part=(1000, 600, 800, 800)),
    Zoo("cog_nodata_nan.tif", (0.17, 0.08), 0.489),
    Zoo("cog_nonearth.tif", (0.22, 0.05), 0.098),
    Zoo("cog_rgb_mask.tif", (90, 60), 0.969, bands=3),
    Zoo("cog_rgba.tif", (90, 60), 0.887, bands=3),
    Zoo("cog_scale.tif", (5000, 4000), 1.0, bands=2),
    Zoo("cog_world.tif", (0, 1), 0.491, part=(3000, 17000, 2000, 2000)),
    Zoo("nocog.tif", (3500, 2500), 1.0, part=(1000, 1000, 600, 600)),
]


def bounds(source: Any, window: GdalWindow) -> tuple[float, float, float, float]:
    """West, south, east and north of a window."""
    found: tuple[float, float, float, float] = rasterio.windows.bounds(window, source.transform)
    return found


@pytest.mark.parametrize("kind", ZOO, ids=lambda kind: kind.name)
def test_an_awkward_file_becomes_a_map_on_its_own_grid(kind: Zoo, data_folder: Path, tmp_path: Path) -> None:
    path = data_folder / "raster_zoo" / kind.name
    with rasterio.open(path) as source:
        row, col, height, width = kind.part or (0, 0, *source.shape)
        window = GdalWindow(col, row, width, height)
        pixels = source.read(list(range(1, kind.bands + 1)), window=window)
        valid = (source.dataset_mask(window=window) > 0) & np.isfinite(pixels).all(0)
        crs, affine, extent = source.crs, source.window_transform(window), bounds(source, window)
    assert valid.mean() == pytest.approx(kind.kept, abs=0.001)
    output = classify_pixels(
        path,
        model(kind.bands, kind.scale),
        ARGUMENTS,
        tmp_path / "map.tif",
        {"extent": extent} if kind.part else None,
        progress=False,
    )
    with rasterio.open(output) as made:
        assert made.crs == crs
        assert made.transform.almost_equals(affine, precision=1e-6)
    check_map(output, whole(pixels, valid, kind.scale))


def test_every_file_of_the_zoo_is_expected_of(data_folder: Path) -> None:
    files = {path.name for path in (data_folder / "raster_zoo").glob("*.tif")}
    assert files == {kind.name for kind in ZOO} | {"cog_gcps.tif"}


def test_control_points_are_refused_and_the_advice_leads_to_a_map(data_folder: Path, tmp_path: Path) -> None:
    path, scale = data_folder / "raster_zoo" / "cog_gcps.tif", (110, 40)
    with pytest.raises(CrsError, match=r"cog_gcps\.tif is placed by ground control points only: warp it"):
        classify_pixels(path, model(1, scale), ARGUMENTS, tmp_path / "map.tif", progress=False)
    assert not list(tmp_path.iterdir())
    warped = tmp_path / "warped.tif"
    with rasterio.open(path) as source, WarpedVRT(source, src_crs=source.gcps[1], nodata=0) as grid:
        rasterio.shutil.copy(grid, warped, driver="GTiff")
    output = classify_pixels(warped, model(1, scale), ARGUMENTS, tmp_path / "map.tif", progress=False)
    with rasterio.open(warped) as source, rasterio.open(output) as made:
        assert (made.crs, made.transform) == (source.crs, source.transform)
        pixels, valid = source.read(), source.read_masks(1) > 0
    assert 0.3 < valid.mean() < 1
    check_map(output, whole(pixels, valid, scale))


def stac_item(folder: Path, data: Path) -> Path:
    """The Landsat item of the sample data beside its files, as a download leaves it."""
    source = data / "stac_landsat8"
    (path,) = source.glob("*_stac.json")
    item = json.loads(path.read_text())
    for asset in item["assets"].values():
        asset["href"] = "./" + asset["href"].rpartition("/")[2]
    for file in source.glob("*.TIF"):
        (folder / file.name).symlink_to(file)
    (folder / "item.json").write_text(json.dumps(item))
    return folder / "item.json"


ASSETS = ["SR_B5.TIF", "SR_B4.TIF", "SR_B3.TIF"]
REFLECTANCE = (12000.0, 6000.0)


def landsat(folder: Path, data: Path) -> tuple[Any, int, tuple[float, float]]:
    return open_raster(stac_item(folder, data), assets=ASSETS), 3, REFLECTANCE


def ndvi(folder: Path, data: Path) -> tuple[Any, int, tuple[float, float]]:
    near, red = open_raster(stac_item(folder, data), assets=ASSETS[:2], chunks=128).astype("float32")
    total = near + red
    return (near - red) / total.where(total > 0), 1, (0.3, 0.3)  # NaN, so nothing, where nothing was seen


def mixed_mosaic(folder: Path, data: Path) -> tuple[Any, int, tuple[float, float]]:
    first = write_raster(folder / "a.tif", height=300, width=260, nodata=0)
    east, north = transform("EPSG:32633", "EPSG:3857", [500240.0], [4999980.0])
    second = write_raster(
        folder / "b.tif",
        height=150,
        width=130,
        crs="EPSG:3857",
        cell=2.5,
        nodata=0,
        seed=1,
        origin=(east[0], north[0]),
    )
    return [str(first), str(second)], 3, (128.0, 60.0)


def zarr_store(folder: Path, data: Path) -> tuple[Any, int, tuple[float, float]]:
    import rioxarray  # noqa: F401  gives arrays their .rio
    import xarray

    pixels = smooth_pixels(2, 250, 330, dtype="int16")
    pixels[:, 40:90, 60:170] = -1
    array = xarray.DataArray(
        pixels,
        dims=("band", "y", "x"),
        coords={"y": 5e6 - 5 - 10.0 * np.arange(250), "x": 5e5 + 5 + 10.0 * np.arange(330)},
    )
    array = array.rio.write_crs("EPSG:32633").rio.write_nodata(-1)
    xarray.Dataset({"bands": array}).to_zarr(
        folder / "cube.zarr", encoding={"bands": {"chunks": (2, 64, 64)}}, consolidated=False
    )
    return str(folder / "cube.zarr"), 2, (5000.0, 2500.0)


Build = Callable[[Path, Path], tuple[Any, int, tuple[float, float]]]


@pytest.mark.parametrize("build", [landsat, ndvi, mixed_mosaic, zarr_store])
def test_a_source_gives_the_same_bytes_with_and_without_a_cluster(
    build: Build, data_folder: Path, client: Any, tmp_path: Path
) -> None:
    (tmp_path / "source").mkdir()
    source, bands, scale = build(tmp_path / "source", data_folder)
    raster = describe(source)
    pixels, valid = read_window(raster, Window(0, 0, *raster.grid.shape))
    assert 0 < valid.mean() < 1, "each of them has places without data"
    for name, worker in (("alone", None), ("together", client)):
        output = classify_pixels(
            source,
            model(bands, scale),
            ARGUMENTS,
            tmp_path / name / "map.tif",
            client=worker,
            cell_size=128,
            progress=False,
        )
        check_map(output, whole(pixels, valid, scale))
        left = {path.name for path in (tmp_path / name).rglob("*") if path.is_file()}
        assert left == {"map.tif", "map.tif.aux.xml", "run.json", "failed.parquet"}
    alone, together = ((tmp_path / name / "map.tif").read_bytes() for name in ("alone", "together"))
    assert alone == together


def test_an_item_behind_a_web_address_gives_the_bytes_of_the_local_one(
    data_folder: Path, client: Any, tmp_path: Path
) -> None:
    (tmp_path / "served").mkdir()
    local = stac_item(tmp_path / "served", data_folder)
    with serve_folder(local.parent) as web:
        sources = {"local": (local, None), "web": (f"{web.url}/item.json", None)}
        sources["web_cluster"] = (f"{web.url}/item.json", client)
        made = []
        for name, (source, worker) in sources.items():
            raster = describe(source, assets=ASSETS)
            output = tmp_path / name / "map.tif"
            classify_pixels(
                raster,
                model(3, REFLECTANCE),
                ARGUMENTS,
                output,
                client=worker,
                cell_size=256,
                progress=False,
            )
            made.append(output.read_bytes())
        assert web.sent > 1_000_000
    assert made[0] == made[1] == made[2]
