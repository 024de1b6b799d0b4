"""A run that is killed, or meets a broken file, loses nothing and repeats nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import rasterio

from rasterloom.models.errors import OutputError, TooManyFailures
from rasterloom.pipeline.inference import batch as batch_module
from rasterloom.pipeline.inference.pixels import classify_pixels
from rasterloom.pipeline.packages.save import save_package
from tests.support.models import random_model
from tests.support.rasters import break_block, write_raster

ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 2}

_SLOW_RUN = """
import sys, time
from rasterloom.pipeline.inference import batch
from rasterloom.pipeline.inference.pixels import classify_pixels
write = batch.write_tile
def slowly(*args, **kwargs):
    time.sleep(0.05)
    write(*args, **kwargs)
batch.write_tile = slowly
classify_pixels(sys.argv[1], sys.argv[2], {"tile_size": 64, "padding": 16, "batch_size": 2}, sys.argv[3],
                cell_size=32, progress=False)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_package(random_model(), tmp_path_factory.mktemp("model") / "unet", compute_metrics=False)


def _markers(folder: Path) -> list[Path]:
    return list(folder.glob("_run/*/done/*.json"))


def _story(folder: Path) -> dict[str, int]:
    (path,) = folder.glob("_run/*/run.json")
    return json.loads(path.read_text())


def test_a_killed_run_goes_on_where_it_stopped_and_ends_the_same(package: Path, tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", height=200, width=330)
    cells = 7 * 11
    (tmp_path / "whole").mkdir()
    expected = Path(
        classify_pixels(
            scene, package, ARGUMENTS, tmp_path / "whole" / "out.tif", cell_size=32, progress=False
        )
    ).read_bytes()
    out = tmp_path / "cut"
    out.mkdir()
    run = subprocess.Popen([sys.executable, "-c", _SLOW_RUN, str(scene), str(package), str(out / "out.tif")])
    deadline = time.monotonic() + 60
    while len(_markers(out)) < 12 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    kept = len(_markers(out))
    assert 12 <= kept < cells
    assert not (out / "out.tif").exists()

    computed: list[str] = []
    real = batch_module.run_batch

    def counted(plan: object, batch: object) -> object:
        computed.append(batch.id)  # type: ignore[attr-defined] # it is a CellBlock
        return real(plan, batch)  # type: ignore[arg-type] # the plan and batch the driver hands on

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rasterloom.pipeline.inference.run.run_batch", counted)
        classify_pixels(scene, package, ARGUMENTS, out / "out.tif", cell_size=32, progress=False)
    assert len(computed) == len(set(computed)) == cells - kept
    assert (out / "out.tif").read_bytes() == expected
    story = _story(out)
    assert story["resumed"] == kept
    assert story["computed"] == cells - kept


def test_a_broken_block_costs_its_cell_alone(package: Path, tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", height=320, width=320)
    break_block(scene, row=4, col=4)
    with pytest.warns(UserWarning, match="could not be computed and are empty"):
        classify_pixels(
            scene, package, ARGUMENTS, tmp_path / "out.tif", cell_size=32, progress=False, max_failed=0.2
        )
    with rasterio.open(tmp_path / "out.tif") as source:
        lost = source.read(1) == 255
    # the block itself, and the cells whose halo reaches into it
    assert lost[256:320, 256:320].all()
    assert not lost[:224].any()
    assert not lost[:, :224].any()
    (failures,) = tmp_path.glob("_run/*/failed.parquet")
    table = pq.read_table(failures).to_pydict()
    assert "8_8" in table["cell"]
    assert all("could not be read" in reason for reason in table["reason"])


def test_too_many_broken_cells_end_in_an_error_and_keep_the_good_ones(package: Path, tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", height=320, width=320)
    break_block(scene, row=2, col=2)
    with pytest.raises(TooManyFailures, match="failed"):
        classify_pixels(scene, package, ARGUMENTS, tmp_path / "out.tif", cell_size=32, progress=False)
    assert not (tmp_path / "out.tif").exists()
    assert len(_markers(tmp_path)) > 80


def test_a_disk_that_fills_up_stops_the_run_and_says_so(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_raster(tmp_path / "scene.tif", height=200, width=200)
    written: list[Path] = []
    real = Path.write_bytes

    def fills_up(self: Path, data: bytes) -> int:
        if self.suffix == ".tmp" and ".tif." in self.name and len(written) > 5:
            raise OSError(28, "No space left on device")
        written.append(self)
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    with pytest.raises(OutputError, match=r"No space left on device"):
        classify_pixels(scene, package, ARGUMENTS, tmp_path / "out.tif", cell_size=32, progress=False)
    assert not (tmp_path / "out.tif").exists()
    assert not list(tmp_path.rglob("*.tmp"))
    monkeypatch.undo()
    classify_pixels(scene, package, ARGUMENTS, tmp_path / "out.tif", cell_size=32, progress=False)
    assert _story(tmp_path)["resumed"] > 0
