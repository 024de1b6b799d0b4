"""Everything in an object store: the raster, the model, the run's folder and the map."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest
import rasterio
from rio_cogeo import cog_validate

from rasterloom.cluster.places import Place
from rasterloom.cluster.start import connect
from rasterloom.models.bring import from_torch
from rasterloom.models.errors import MissingInputError, RasterloomError, RunInterrupted
from rasterloom.pipeline.inference import batch as batch_module
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.packages.save import save_package
from rasterloom.pipeline.rasters.gdal import reading
from tests.support.models import random_model
from tests.support.networks import TinyNet, seeded
from tests.support.object_store import ObjectStore
from tests.support.rasters import write_raster

ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 3}
CELL = 64
SHAPE = (230, 330)
CELLS = 4 * 6
LEFT = {"map.tif", "map.tif.aux.xml", "run.json", "failed.parquet"}
"""What a run leaves."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raster(
        tmp_path_factory.mktemp("scene") / "scene.tif", height=SHAPE[0], width=SHAPE[1], nodata=0
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_package(random_model(), tmp_path_factory.mktemp("model") / "unet", compute_metrics=False)


@pytest.fixture(scope="module")
def expected(scene: Path, package: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return classified(scene, package, tmp_path_factory.mktemp("local") / "map.tif").read_bytes()


@pytest.fixture
def place(bucket: str, scene: Path, package: Path) -> Place:
    """A folder in the store that holds scene.tif and unet.dlpk, and the way to a fresh folder beside it."""
    place = Place.of(bucket) / "project"
    place.upload("scene.tif", scene)
    place.upload("unet.dlpk", package)
    return place


def classified(source: Any, model: Any, output: Any, **settings: Any) -> Path:
    arguments = {"cell_size": CELL, "progress": False} | settings
    return Path(classify_pixels(source, model, ARGUMENTS, output, **arguments))


def left_in(place: Place) -> list[str]:
    """Names of all files in a folder of the store, those of folders in it too."""
    import s3fs

    files = s3fs.S3FileSystem(use_listings_cache=False)
    return sorted(name.rpartition("/")[2] for name in files.find(place.url))


def story(place: Place) -> dict[str, Any]:
    import s3fs

    (path,) = s3fs.S3FileSystem(use_listings_cache=False).glob(f"{place.url}/_run/*/run.json")
    read: dict[str, Any] = json.loads(s3fs.S3FileSystem().cat_file(path))
    return read


def check_cog(place: Place, name: str) -> None:
    with reading():
        good, errors, warnings = cog_validate(place.gdal(name), strict=True)
    assert good, (errors, warnings)


def test_raster_model_and_map_in_a_store_give_the_bytes_of_a_local_run(place: Place, expected: bytes) -> None:
    output = classify_pixels(
        f"{place}/scene.tif",
        f"{place}/unet.dlpk",
        ARGUMENTS,
        f"{place}/out/map.tif",
        cell_size=CELL,
        progress=False,
    )
    assert output == f"{place}/out/map.tif"
    out = place / "out"
    assert out.read("map.tif") == expected
    check_cog(out, "map.tif")
    assert set(left_in(out)) == LEFT
    assert story(out)["computed"] == CELLS


def test_workers_of_a_cluster_see_the_store_too(place: Place, expected: bytes) -> None:
    # its process sees this test's environment; two threads in it leave torch one core each on a small machine
    with connect(n_workers=1, threads_per_worker=2, dashboard=False) as client:
        for name, model in (("package", f"{place}/unet.dlpk"), ("model", random_model())):
            out = place / name
            classified(f"{place}/scene.tif", model, f"{out}/map.tif", client=client)
            assert out.read("map.tif") == expected
            assert set(left_in(out)) == LEFT


def test_a_network_of_ones_own_works_in_a_store(place: Place, scene: Path, tmp_path: Path) -> None:
    model = from_torch(
        seeded(TinyNet), classes=["a", "b", "c"], bands=3, tile_size=64, normalize=(120.0, 50.0)
    )
    here = classified(scene, model, tmp_path / "map.tif")
    classified(f"{place}/scene.tif", model, f"{place}/own/map.tif")
    assert (place / "own").read("map.tif") == here.read_bytes()


@contextmanager
def counted(stop_after: int | None = None) -> Iterator[list[str]]:
    """The batches that are computed; the caller presses Ctrl-C instead of computing one more."""
    computed: list[str] = []
    real = batch_module.run_batch

    def run(plan: Any, batch: Any) -> Any:
        if len(computed) == stop_after:
            raise KeyboardInterrupt
        computed.append(batch.id)
        return real(plan, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rasterloom.pipeline.inference.run.run_batch", run)
        yield computed


def test_an_interrupted_run_goes_on_in_the_store_and_repeats_nothing(place: Place, expected: bytes) -> None:
    what = (f"{place}/scene.tif", f"{place}/unet.dlpk", f"{place}/out/map.tif")
    out = place / "out"
    with counted(stop_after=7) as first, pytest.raises((KeyboardInterrupt, RunInterrupted)):
        classified(*what)
    left = left_in(out)
    assert "map.tif" not in left
    assert sum(name.removesuffix(".json") in first for name in left if name.endswith(".json")) == 7
    with counted() as second:
        classified(*what)
    assert len(second) == len(set(second)) == CELLS - 7
    assert not set(first) & set(second)
    assert out.read("map.tif") == expected
    assert set(left_in(out)) == LEFT
    assert (story(out)["resumed"], story(out)["computed"]) == (7, CELLS - 7)


def test_a_cancelled_job_is_taken_up_in_the_store(place: Place, expected: bytes) -> None:
    what = (f"{place}/scene.tif", f"{place}/unet.dlpk", ARGUMENTS, f"{place}/out/map.tif")
    job = classify_pixels(*what, cell_size=CELL, future=True)
    job.cancel()
    with pytest.raises(RunInterrupted, match="the same call goes on"):
        job.result(120)
    with counted() as rest:
        classify_pixels(*what, cell_size=CELL, progress=False)
    assert story(place / "out")["resumed"] == CELLS - len(rest) > 0
    assert (place / "out").read("map.tif") == expected


def test_a_grid_of_cogs_stands_in_the_store(bucket: str, tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "wide.tif", height=530, width=1100)
    model = from_torch(
        seeded(TinyNet), classes=["a", "b", "c"], bands=3, tile_size=64, normalize=(120.0, 50.0)
    )
    here = classified(scene, model, tmp_path / "map.tif", cell_size=512)
    out = Place.of(bucket) / "out"
    there = classify_pixels(
        scene, model, ARGUMENTS, f"{out}/map.tif", cell_size=256, max_cog_size=512, progress=False
    )
    assert there == f"{out}/map.vrt"
    with rasterio.open(here) as source:
        pixels = source.read(1)
    with reading(), rasterio.open(out.gdal("map.vrt")) as joined:
        np.testing.assert_array_equal(joined.read(1), pixels)
    parts = [name for name in (out / "map").names() if name.endswith(".tif")]
    assert len(parts) == 2 * 3
    for part in parts:
        check_cog(out / "map", part)
    assert left_in(out / "_run") == ["failed.parquet", "run.json"]


def said(error: BaseException) -> str:
    """An error and all that led to it, as a traceback shows them."""
    texts = []
    while True:
        texts.append(str(error))
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None:
            return "\n".join(texts)
        error = cause


@pytest.mark.parametrize("what", ["raster", "model", "output"])
def test_a_bucket_that_is_not_there_is_named(what: str, place: Place) -> None:
    gone = f"s3://gone-{uuid.uuid4().hex[:8]}"
    paths = {"raster": f"{place}/scene.tif", "model": f"{place}/unet.dlpk", "output": f"{place}/out/map.tif"}
    paths[what] = f"{gone}/{paths[what].rpartition('/')[2]}"
    with pytest.raises(RasterloomError, match=gone) as caught:
        classified(paths["raster"], paths["model"], paths["output"])
    assert "not-so-secret" not in said(caught.value)
    assert left_in(place / "out") == []


@contextmanager
def asking_who(store: ObjectStore) -> Iterator[None]:
    """The store refuses whoever it does not know, which is everybody, while the block lasts."""

    def after(requests: str) -> None:
        address, about = f"{store.endpoint}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        with urlopen(Request(address, data=requests.encode(), headers=about), timeout=30):
            pass

    after("0")
    try:
        yield
    finally:
        after("inf")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("raster", r"scene\.tif cannot be opened .*Access Key Id you provided does not exist"),
        ("model", r"unet\.dlpk cannot be read: Forbidden"),
        ("output", r"out cannot be written to: Forbidden"),
    ],
)
def test_wrong_credentials_are_explained_without_them(
    what: str,
    reason: str,
    place: Place,
    object_store: ObjectStore,
    scene: Path,
    package: Path,
    tmp_path: Path,
) -> None:
    paths = {"raster": str(scene), "model": str(package), "output": str(tmp_path / "map.tif")}
    paths[what] = {"raster": f"{place}/scene.tif", "model": f"{place}/unet.dlpk"}.get(
        what, f"{place}/out/m.tif"
    )
    with asking_who(object_store), pytest.raises(RasterloomError, match=reason) as caught:
        classified(paths["raster"], paths["model"], paths["output"])
    assert not isinstance(caught.value, MissingInputError), "it may well be there"
    assert "not-so-secret" not in said(caught.value)
    assert left_in(place / "out") == []
    assert not list(tmp_path.iterdir())
