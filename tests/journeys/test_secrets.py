"""Planted secrets are looked for wherever a run over a protected cluster leaves or shows anything.

An S3 secret stands in the environment and TLS keys in a folder, as in earnest; then everything that is sent,
written, printed, listed or served is searched for them. Each search is also made for something that has to be
there, so that a search in the wrong place does not pass.
"""

import json
import os
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.request import urlopen

import fsspec
import pandas as pd
import pytest
from distributed.comm.tcp import TCP
from distributed.protocol import dumps

from rasterloom.cluster.start import connect
from rasterloom.models.bring import from_torch
from rasterloom.models.errors import RasterloomError
from rasterloom.pipeline.inference.pixels import classify_pixels
from tests.support.keys import make_two_clusters
from tests.support.networks import TinyNet, seeded
from tests.support.rasters import write_raster

ARGUMENTS = {"tile_size": 64, "padding": 16, "batch_size": 3}

PAGES = ("info/main/workers.html", "info/main/logs.html", "json/identity.json", "json/counts.json", "metrics")
"""What the scheduler serves beside the dashboard, where it serves it."""


@dataclass(frozen=True)
class Found:
    """What was seen of the run, by the place where it was seen."""

    secrets: dict[str, bytes]
    places: dict[str, bytes]
    """Everything, joined."""
    bucket: str
    batches: int

    def leaks(self) -> list[str]:
        return [
            f"{name} in {place}"
            for place, content in self.places.items()
            for name, secret in self.secrets.items()
            if secret in content
        ]


@pytest.fixture
def secrets(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What nobody may see: credentials of the store in the environment, keys of the cluster in tmp_path."""
    planted = {name: f"planted{uuid.uuid4().hex}" for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
    for name, secret in planted.items():
        monkeypatch.setenv(name, secret)
    keys = make_two_clusters(tmp_path / "keys") / "ours" / "a" / "key.pem"
    planted |= {f"line {row} of the key": line for row, line in enumerate(keys.read_text().split("\n")[1:-2])}
    return {name: secret.encode() for name, secret in planted.items()}


@contextmanager
def overheard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """All that this process sends to the cluster: keys, graphs, functions, plugins."""
    sent: list[bytes] = []
    write = TCP.write

    async def spy(self: TCP, msg: Any, serializers: Any = None, on_error: str = "message") -> Any:
        context = {"sender": self.local_info, "recipient": self.remote_info, **self.handshake_options}
        frames = dumps(msg, serializers=serializers, on_error=on_error, context=context)
        sent.append(b"".join(bytes(frame) for frame in frames))
        return await write(self, msg, serializers, on_error)

    with monkeypatch.context() as patch:
        patch.setattr(TCP, "write", spy)
        yield sent


@contextmanager
def watched_processes() -> Iterator[set[bytes]]:
    """Every command line of this machine while the block lasts."""
    seen: set[bytes] = set()
    end = Event()

    def look() -> None:
        while not end.wait(0.2):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    seen.add((process / "cmdline").read_bytes())
                except OSError:  # it has ended
                    continue

    thread = Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        end.set()
        thread.join()


def stored(bucket: str) -> dict[str, bytes]:
    """Every object in the bucket. Tables are unpacked: they are compressed."""
    files, _ = fsspec.url_to_fs(bucket)
    objects = {path: bytes(files.cat_file(path)) for path in files.find(bucket)}
    for path, content in list(objects.items()):
        if path.endswith(".parquet"):
            with files.open(path) as table:
                objects[path] = content + pd.read_parquet(table).to_json().encode()
    return objects


def served(client: Any) -> bytes:
    """The pages that anyone who reaches the dashboard's port can read."""
    home = client.dashboard_link.removesuffix("status")
    told = []
    for page in PAGES:
        try:
            with urlopen(home + page, timeout=10) as answer:
                told.append(answer.read())
        except OSError:  # another release has other pages
            continue
    return b"".join(told)


def of_workers(client: Any) -> bytes:
    """What the processes of the cluster kept: logs, events, and files in the folders of the workers."""
    logs = [client.get_scheduler_logs(), client.get_worker_logs(), client.get_worker_logs(nanny=True)]
    events = client.run_on_scheduler(
        lambda dask_scheduler: repr((dask_scheduler.transition_log, dask_scheduler._broker._topics))
    )
    files = client.run(lambda dask_worker: _contents(dask_worker.local_directory))
    return repr((logs, events, client.scheduler_info(n_workers=-1))).encode() + b"".join(files.values())


def _contents(folder: str) -> bytes:
    return b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())


def environments(client: Any) -> bytes:
    """What ``ps e`` shows of the processes; the credentials of the store stand there on purpose."""

    def own() -> dict[str, str]:
        return {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}

    return repr((client.run(own), client.run(own, nanny=True), client.run_on_scheduler(own))).encode()


@pytest.fixture
def run(
    secrets: dict[str, bytes],
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Found:
    """A classification into the store, and another that fails, over a cluster that logs all it can."""
    monkeypatch.setenv("DASK_LOGGING__DISTRIBUTED", "debug")
    scene = write_raster(tmp_path / "scene.tif", height=100, width=130)
    model = from_torch(
        seeded(TinyNet), classes=["a", "b", "c"], bands=3, tile_size=64, normalize=(120.0, 50.0)
    )
    page = tmp_path / "report.html"
    classify: Callable[..., Any] = lambda output, **more: classify_pixels(  # noqa: E731  one call, made twice
        scene, model, ARGUMENTS, output, cell_size=64, progress=True, client=client, **more
    )
    with (
        watched_processes() as commands,
        overheard(monkeypatch) as sent,
        connect(n_workers=1, security=tmp_path / "keys" / "ours" / "a") as client,
    ):
        classify(f"{bucket}/out/map.tif", performance_report=page)
        with pytest.raises(RasterloomError) as failure:
            classify(f"{bucket}-gone/map.tif")
        shown = repr(client) + client._repr_html_() + repr(client.security)
        kept, pages, variables = of_workers(client), served(client), environments(client)
    printed = capfd.readouterr()
    objects = stored(bucket)
    report = next(content for path, content in objects.items() if path.endswith("run.json"))
    return Found(
        secrets=secrets,
        places={
            "messages": b"".join(sent),
            "command lines": b"".join(commands),
            "outputs and run folder": b"".join(objects.values()) + repr(list(objects)).encode(),
            "output": printed.out.encode() + printed.err.encode(),
            "logs": kept,
            "pages": pages,
            "performance report": page.read_bytes(),
            "environments": variables,
            "representations": shown.encode(),
            "errors": "".join(traceback.format_exception(failure.value)).encode(),
        },
        bucket=bucket,
        batches=json.loads(report)["batches"],
    )


def test_no_credential_is_sent_written_printed_listed_or_served(run: Found) -> None:
    assert run.leaks() == []
    expected = {
        "messages": (b"rasterloom-batch-", run.bucket.encode(), b"run_batch"),
        "command lines": (b"rasterloom.cluster.hub",),
        "outputs and run folder": (b'"batches"', b"GDAL_STRUCTURAL_METADATA"),
        "output": (b"distributed.scheduler", b"distributed.worker", b"distributed.nanny"),
        "logs": (b"distributed.", b"rasterloom-batch-", b"tls://127.0.0.1"),
        "pages": (b"tls://127.0.0.1",),
        "performance report": (b"rasterloom-batch", b"</html>"),
        "environments": (b"DASK_LOGGING__DISTRIBUTED",),
        "representations": (b"key.pem", b"tls://127.0.0.1"),
        "errors": (run.bucket.encode(),),
    }
    assert expected.keys() == run.places.keys()
    missed = {place: [t for t in told if t not in run.places[place]] for place, told in expected.items()}
    assert not any(missed.values()), missed
    assert run.batches > 2
