"""A scheduler and a run of their own in one network namespace, whose workers are in others.

``python -m tests.support.island_run FOLDER cut NAMES...`` writes whole.tif, which no cluster has seen, and
out.tif, for which the wires of both workers are cut and mended; with ``quiet`` for ``cut`` they stay whole.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from distributed import Client, LocalCluster

from rasterloom.cluster import workers
from rasterloom.cluster.settings import dask_settings
from rasterloom.pipeline.inference.pixels import classify_pixels
from tests.support.gates import WAIT_SECONDS, Events, Gate, happening
from tests.support.islands import Islands
from tests.support.networks import tiny_model
from tests.support.rasters import write_raster

ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 1}
CELLS = 64
PORT = 8786
SHORT_SECONDS = 2.0
"""A cut that no connection is lost by."""
WORKER = ("-m", "dask", "worker", "--nthreads", "1", "--no-dashboard", "--host")


def main(folder: Path, islands: Islands, *, cut: bool) -> None:
    """Run, and write what was seen of the workers to seen.json."""
    scene = write_raster(folder / "scene.tif", height=256, width=256)
    model = tiny_model()
    classify_pixels(scene, model, ARGUMENTS, folder / "whole.tif", cell_size=32, progress=False)
    dask.config.update_defaults(dask_settings())
    with (
        LocalCluster(
            n_workers=0,
            host=islands.address(0),
            protocol="tcp://",
            scheduler_port=PORT,
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
        _supervised(islands, folder),
    ):
        client.wait_for_workers(2, timeout=WAIT_SECONDS)
        gate = folder / "gate"
        gate.mkdir()
        client.register_plugin(Gate(gate))
        seen = {"before": sorted(client.nthreads())}
        with happening(folder / "out.tif", CELLS, gate, _cuts(client, islands, seen) if cut else []):
            classify_pixels(
                scene, model, ARGUMENTS, folder / "out.tif", cell_size=32, client=client, progress=False
            )
        seen["after"] = sorted(client.nthreads())
    (folder / "seen.json").write_text(json.dumps(seen))


@contextmanager
def _supervised(islands: Islands, folder: Path) -> Iterator[None]:
    """A worker on each of two islands, started again when it has ended: dask leaves that to others."""
    over = threading.Event()

    def supervise(island: int) -> None:
        words = [*WORKER, islands.address(island), f"tcp://{islands.address(0)}:{PORT}"]
        while not over.is_set():
            worker = subprocess.Popen([*islands.inside(island), sys.executable, *words], cwd=folder)
            while worker.poll() is None and not over.wait(0.1):
                pass
            worker.terminate()
            worker.wait()

    threads = [threading.Thread(target=supervise, args=(island,)) for island in (1, 2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _cuts(client: Client, islands: Islands, seen: dict[str, list[str]]) -> Events:
    def cut_for_a_moment() -> None:
        islands.cut(2)
        time.sleep(SHORT_SECONDS)
        islands.heal(2)

    def cut_for_long() -> None:
        seen["after a short cut"] = sorted(client.nthreads())
        islands.cut(1)
        _wait_for(lambda: len(client.nthreads()) == 1)
        seen["cut"] = sorted(client.nthreads())

    def heal() -> None:
        islands.heal(1)
        _wait_for(lambda: len(client.nthreads()) == 2)

    return [(0.1, cut_for_a_moment), (0.3, cut_for_long), (0.6, heal)]


def _wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


if __name__ == "__main__":
    place, kind, *names = sys.argv[1:]
    workers._LOOK_SECONDS = 0.1
    main(Path(place), Islands(tuple(names)), cut=kind == "cut")
