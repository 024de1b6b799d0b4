from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from distributed import Client, LocalCluster

from rasterloom.cluster.driver import execute
from rasterloom.cluster.jobs import BatchResult
from rasterloom.cluster.markers import RunFolder
from rasterloom.cluster.threads import batch_threads, share
from tests.cluster.plans import Span, SpanPlan


@dataclass(frozen=True)
class Told(SpanPlan):
    """A plan whose batches tell how many are computed beside them."""


def tell_threads(plan: Told, batch: Span) -> BatchResult:
    return BatchResult(batch.id, batch.cells, 1, 0.0, summary={"threads": batch_threads()})


def told(folder: RunFolder) -> set[int]:
    return {result.summary["threads"] for result in folder.results()}


def test_a_batch_knows_how_many_threads_compute_beside_it(tmp_path):
    for threads in (1, 3):
        folder = RunFolder(tmp_path / str(threads))
        execute(None, Told("", 12, 2), tell_threads, folder, threads=threads)
        assert told(folder) == {threads}
    assert batch_threads() == 1


def test_a_batch_knows_how_many_threads_its_worker_has(tmp_path):
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        execute(client, Told("", 12, 2), tell_threads, RunFolder(tmp_path))
    assert told(RunFolder(tmp_path)) == {2}


def test_other_threads_are_not_concerned():
    with ThreadPoolExecutor(1, initializer=share, initargs=(4,)) as pool:
        assert pool.submit(batch_threads).result() == 4
    assert batch_threads() == 1
