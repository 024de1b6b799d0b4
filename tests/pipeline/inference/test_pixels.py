"""A class map is the network's answer, the same however the raster is cut."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rio_cogeo import cog_validate

from rasterloom.cluster.start import connect
from rasterloom.models.errors import (
    CrsError,
    MissingInputError,
    ModelMismatchError,
    OutputError,
    OutputExistsError,
    SettingError,
)
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.packages.save import save_package
from rasterloom.pipeline.rasters.open import open_raster
from rasterloom.pipeline.rasters.tiles import plan_tiles
from tests.support.models import random_model
from tests.support.rasters import write_pixels, write_raster, write_repeated

TILE, PADDING, BATCH = 64, 16, 3
ARGUMENTS = {"tile_size": TILE, "padding": PADDING, "batch_size": BATCH}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_package(random_model(), tmp_path_factory.mktemp("model") / "unet", compute_metrics=False)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", height=230, width=301)


def _classify(raster: Any, model: Any, output: Path, **changes: Any) -> bytes:
    settings = {"model_arguments": ARGUMENTS, "progress": False, "cell_size": 64} | changes
    return Path(classify_pixels(raster, model, output_name=output, **settings)).read_bytes()


def _whole(scene: Path) -> np.ndarray:
    """The same map by a plain loop: pad the whole raster, one chip after the other."""
    with rasterio.open(scene) as source:
        pixels = source.read().astype(np.float32)
    model = random_model()
    network = model.network.eval().to(memory_format=torch.channels_last)
    stride = TILE - 2 * PADDING
    padded = np.pad((pixels - 120) / 50, ((0, 0), (PADDING, TILE), (PADDING, TILE)), mode="reflect")
    found = np.zeros(pixels.shape[1:], np.uint8)
    values = np.array(model.spec.output_values, np.uint8)
    for tile in plan_tiles(found.shape, tile=TILE, padding=PADDING):
        row, col = tile.keep[0].start, tile.keep[1].start
        chips = torch.zeros(BATCH, 3, TILE, TILE)
        chips[0] = torch.from_numpy(padded[:, row : row + TILE, col : col + TILE].copy())
        with torch.inference_mode():
            logits = network(chips.contiguous(memory_format=torch.channels_last))
        kept = logits.softmax(1)[0].argmax(0).numpy()[PADDING : PADDING + stride, PADDING : PADDING + stride]
        place = found[tile.keep]
        place[...] = values[kept[: place.shape[0], : place.shape[1]]]
    return found


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read(1)


def test_the_map_is_what_a_plain_loop_over_the_whole_raster_gives(
    scene: Path, package: Path, tmp_path: Path
) -> None:
    _classify(scene, package, tmp_path / "out.tif")
    found, expected = _read(tmp_path / "out.tif"), _whole(scene)
    assert len(np.unique(expected)) > 2
    assert (found == expected).all()
    assert cog_validate(str(tmp_path / "out.tif"))[0]


@pytest.fixture(scope="module")
def reference(scene: Path, package: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return _classify(scene, package, tmp_path_factory.mktemp("reference") / "out.tif")


@pytest.mark.parametrize("cell_size", [32, 100, 1024])
def test_cells_of_any_size_give_the_same_bytes(
    cell_size: int, scene: Path, package: Path, reference: bytes, tmp_path: Path
) -> None:
    assert _classify(scene, package, tmp_path / "out.tif", cell_size=cell_size) == reference


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_bytes(
    workers: int, scene: Path, package: Path, reference: bytes, tmp_path: Path
) -> None:
    with connect(n_workers=workers, threads_per_worker=1, dashboard=False) as client:
        assert len(client.scheduler_info()["workers"]) == workers
        for cell_size in (64, 160):
            output = tmp_path / f"{cell_size}.tif"
            assert _classify(scene, package, output, client=client, cell_size=cell_size) == reference


def test_one_torch_thread_or_two_give_the_same_bytes(
    scene: Path, package: Path, reference: bytes, tmp_path: Path
) -> None:
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        try:
            assert _classify(scene, package, tmp_path / f"{count}.tif") == reference
        finally:
            torch.set_num_threads(threads)


def test_a_model_object_and_its_package_give_the_same_bytes(
    scene: Path, reference: bytes, tmp_path: Path
) -> None:
    assert _classify(scene, random_model(), tmp_path / "out.tif") == reference


def test_a_dask_array_gives_the_same_bytes_as_its_file(
    scene: Path, package: Path, reference: bytes, tmp_path: Path
) -> None:
    array = open_raster(scene, chunks=77)
    assert _classify(array, package, tmp_path / "file.tif") == reference
    assert _classify(array + np.uint8(0), package, tmp_path / "computed.tif") == reference


def test_a_part_of_the_raster_is_the_same_part_of_the_whole_map(
    scene: Path, package: Path, tmp_path: Path
) -> None:
    _classify(scene, package, tmp_path / "whole.tif")
    with rasterio.open(scene) as source:
        west, north = source.transform @ (40, 30)
        east, south = source.transform @ (200, 150)
    _classify(scene, package, tmp_path / "part.tif", context={"extent": (west, south, east, north)})
    assert (_read(tmp_path / "part.tif") == _read(tmp_path / "whole.tif")[30:150, 40:200]).all()


def test_pixels_without_data_stay_without_and_do_not_disturb_the_others(
    package: Path, tmp_path: Path
) -> None:
    raster = write_raster(tmp_path / "holes.tif", height=200, width=200, nodata=0)
    _classify(raster, package, tmp_path / "out.tif")
    found = _read(tmp_path / "out.tif")
    with rasterio.open(raster) as source:
        valid = (source.read() != 0).any(axis=0)
    assert ((found == 255) == ~valid).all()
    assert (~valid).sum() > 1000
    with rasterio.open(raster) as source:
        refilled = np.where(valid, source.read(), 255).astype(np.uint8)
    assert (refilled != 255).any(axis=0)[valid].all()
    other = write_pixels(tmp_path / "other.tif", refilled, nodata=255)
    _classify(other, package, tmp_path / "other_out.tif")
    assert (_read(tmp_path / "other_out.tif") == found).all()


def test_a_raster_smaller_than_a_tile_is_classified(package: Path, tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "small.tif", height=9, width=5)
    _classify(raster, package, tmp_path / "out.tif")
    assert _read(tmp_path / "out.tif").shape == (9, 5)


def test_without_background_every_pixel_gets_a_class(scene: Path, package: Path, tmp_path: Path) -> None:
    _classify(scene, package, tmp_path / "with.tif")
    assert (_read(tmp_path / "with.tif") == 0).any()
    _classify(
        scene, package, tmp_path / "out.tif", model_arguments={**ARGUMENTS, "predict_background": "false"}
    )
    assert set(np.unique(_read(tmp_path / "out.tif"))) <= {1, 2, 7}


def test_statistics_in_the_file_are_those_of_its_pixels(scene: Path, package: Path, tmp_path: Path) -> None:
    _classify(scene, package, tmp_path / "out.tif")
    with rasterio.open(tmp_path / "out.tif") as source:
        assert float(source.tags(1)["STATISTICS_MEAN"]) == pytest.approx(source.read(1).mean())


def test_a_coarser_cell_size_is_honoured(scene: Path, package: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"pass context=\{'cellSize': 1\}"):
        _classify(scene, package, tmp_path / "out.tif", context={"cellSize": 2})
    with rasterio.open(tmp_path / "out.tif") as source:
        assert source.shape == (115, 150)
        assert source.res == (pytest.approx(301 / 150, rel=0.01), pytest.approx(2))


def test_only_the_map_and_the_story_of_the_run_are_left(scene: Path, package: Path, tmp_path: Path) -> None:
    _classify(scene, package, tmp_path / "out.tif")
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert left[0].startswith("_run/")
    assert [Path(name).name for name in left] == ["failed.parquet", "run.json", "out.tif", "out.tif.aux.xml"]
    story = json.loads((tmp_path / left[1]).read_text())
    assert story["failed"] in (0, [])


def test_an_unnamed_output_lies_beside_the_input(package: Path, tmp_path: Path) -> None:
    raster = write_raster(tmp_path / "field.tif", height=70, width=70)
    assert classify_pixels(raster, package, ARGUMENTS, progress=False) == str(
        tmp_path / "field_classified.tif"
    )


def test_each_raster_of_a_folder_can_have_a_map_of_its_own(package: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(2):
        write_raster(tmp_path / "in" / f"{index}.tif", height=70, width=70, seed=index)
    paths = classify_pixels(
        tmp_path / "in", package, ARGUMENTS, tmp_path / "out", process_all_raster_items=True, progress=False
    )
    assert [Path(p).name for p in paths] == ["0_classified.tif", "1_classified.tif"]
    assert not (_read(Path(paths[0])) == _read(Path(paths[1]))).all()


def test_each_raster_of_a_folder_is_done_once_however_often_the_call_is_made(
    package: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_raster(tmp_path / f"{name}.tif", height=70, width=70)
    settings: dict[str, Any] = {"process_all_raster_items": True, "progress": False}
    first = classify_pixels(tmp_path, package, ARGUMENTS, **settings)
    times = [Path(path).stat().st_mtime_ns for path in first]
    assert classify_pixels(tmp_path, package, ARGUMENTS, **settings) == first
    assert [Path(path).stat().st_mtime_ns for path in first] == times
    assert classify_pixels(tmp_path, package, ARGUMENTS, overwrite=True, **settings) == first


@pytest.mark.parametrize("name", ["scene.tif", "./scene.tif", "mosaic.tif"])
def test_what_is_read_is_never_written_over(name: str, package: Path, tmp_path: Path) -> None:
    part = write_raster(tmp_path / "scene.tif", height=70, width=70)
    scene = write_repeated(tmp_path / "mosaic.vrt", part, 8)
    before = part.read_bytes(), scene.read_bytes()
    with pytest.raises(SettingError, match="is read by this call: choose another output_name"):
        # a grid of COGs would put a mosaic.vrt in the place of the source
        classify_pixels(
            scene,
            package,
            ARGUMENTS,
            f"{tmp_path}/{name}",
            overwrite=True,
            max_cog_size=512,
            progress=False,
        )
    assert (part.read_bytes(), scene.read_bytes()) == before


def test_a_map_may_bear_the_name_of_the_mosaic_it_is_made_of(package: Path, tmp_path: Path) -> None:
    part = write_raster(tmp_path / "scene.tif", height=70, width=70)
    scene = write_repeated(tmp_path / "mosaic.vrt", part, 2)
    assert _classify(scene, package, tmp_path / "mosaic.tif")


@pytest.mark.parametrize("name", ["map", "map.png", "out/", "", ".tif", "s3://bucket/map"])
def test_a_name_that_is_no_geotiffs_is_refused(
    name: str, scene: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=r"ends in \.tif"):
        classify_pixels(scene, package, ARGUMENTS, name, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_job_runs_behind_the_callers_back(
    scene: Path, package: Path, reference: bytes, tmp_path: Path
) -> None:
    job = classify_pixels(
        scene, package, ARGUMENTS, tmp_path / "out.tif", future=True, cell_size=64, progress=False
    )
    assert Path(job.result(60)).read_bytes() == reference
    assert job.done()
    assert job.progress == 1.0


def test_an_estimate_writes_nothing_and_counts_right(scene: Path, package: Path, tmp_path: Path) -> None:
    found = classify_pixels(scene, package, ARGUMENTS, tmp_path / "out.tif", estimate=True, cell_size=64)
    assert list(tmp_path.iterdir()) == []
    assert found.pixels == 230 * 301
    assert found.chips == len(plan_tiles((230, 301), tile=TILE, padding=PADDING))
    assert found.seconds > 0
    assert found.peak_memory > 100e6


@pytest.fixture
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def test_a_model_with_more_bands_than_the_raster_is_refused(scene: Path, tmp_path: Path, quiet: None) -> None:
    with pytest.raises(ModelMismatchError, match=r"trained on 4 bands .* has 3 \("):
        _classify(scene, random_model(bands=4), tmp_path / "out.tif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model_arguments": {"padding": 32}}, SettingError, "use 31 or less"),
        (
            {"context": {"cellsize": 2}},
            SettingError,
            "known are cellSize, extent, mask, outSR",
        ),
        ({"context": {"processorType": "TPU"}}, SettingError, "use 'CPU' or 'GPU'"),
        ({"gis": "portal"}, SettingError, "client="),
        ({"colour": 1}, SettingError, "no argument 'colour'"),
        ({"context": {"extent": (0, 0, 1, 1)}}, SettingError, "does not meet"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_any_work(
    changes: dict[str, Any], error: type[Exception], message: str, scene: Path, package: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        _classify(scene, package, tmp_path / "out.tif", **changes)
    assert list(tmp_path.iterdir()) == []


def test_inputs_that_are_not_there_or_have_no_place_are_refused(
    scene: Path, package: Path, tmp_path: Path
) -> None:
    with pytest.raises(MissingInputError, match=r"no raster at .*missing\.tif"):
        _classify(tmp_path / "missing.tif", package, tmp_path / "out.tif")
    with pytest.raises(MissingInputError):
        _classify(scene, tmp_path / "missing.dlpk", tmp_path / "out.tif")
    with pytest.raises(SettingError, match=r"give the path of a \.dlpk"):
        _classify(scene, 3, tmp_path / "out.tif")
    nowhere = write_raster(tmp_path / "nowhere.tif", height=9, width=9, crs=None)
    with pytest.raises(CrsError, match="no coordinate reference system"):
        _classify(nowhere, package, tmp_path / "out.tif")
    assert not (tmp_path / "out.tif").exists()


def test_an_existing_output_is_kept_unless_it_may_be_replaced(
    scene: Path, package: Path, reference: bytes, tmp_path: Path
) -> None:
    (tmp_path / "out.tif").write_bytes(b"mine")
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        _classify(scene, package, tmp_path / "out.tif")
    assert (tmp_path / "out.tif").read_bytes() == b"mine"
    assert _classify(scene, package, tmp_path / "out.tif", overwrite=True) == reference


def test_a_folder_that_cannot_be_written_is_named(scene: Path, package: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written to"):
        _classify(scene, package, tmp_path / "file" / "out.tif")
