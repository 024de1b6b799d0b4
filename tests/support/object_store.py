"""A real S3 server of this machine, for tests of outputs that stand on object storage."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

_SECONDS = 60.0
"""How long the server may take to start on a busy machine."""


@dataclass(frozen=True)
class ObjectStore:
    """Where the server listens, and what its clients must say."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """Settings of a process that uses the server. It takes any credentials."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "not-so-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def serve() -> Iterator[ObjectStore]:
    """Run the server while the block lasts."""
    if not (importlib.util.find_spec("moto") and importlib.util.find_spec("s3fs")):
        pytest.skip("needs a local S3 server: install moto[server] and s3fs")
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/moto-api/", process)
        yield ObjectStore(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """One server for all tests of the session. Use ``bucket`` to write to it."""
    with serve() as store:
        yield store


@pytest.fixture
def bucket(object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh bucket, "s3://name", that this process and its children may use during the test."""
    import s3fs

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(address: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            pytest.fail(f"the S3 server ended with {process.returncode}")
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"the S3 server did not answer within {_SECONDS:.0f} s")
