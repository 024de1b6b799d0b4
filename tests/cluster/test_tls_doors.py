"""A cluster with keys lets nobody in who has none of its authority: no client, no worker, at no door."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Security, Worker

from rasterloom.cluster import tls
from rasterloom.cluster.start import connect
from tests.support.keys import make_two_clusters


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys that nobody changes: ours/a, ours/b, theirs/a."""
    return make_two_clusters(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def fleet(made: Path) -> Iterator[Client]:
    """A client of a cluster of one worker process, over TLS."""
    with connect(n_workers=1, security=made / "ours" / "a", dashboard=False) as client:
        yield client


def clients_of(client: Client) -> set[str]:
    return set(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.clients)))


def ports_of(client: Client) -> set[int]:
    """Where the processes of the cluster speak Dask's protocol."""
    workers = client.scheduler_info()["workers"]
    addresses = [client.scheduler.address, *workers, *(worker["nanny"] for worker in workers.values())]
    return {int(address.rpartition(":")[2]) for address in addresses}


def knock(port: int, context: ssl.SSLContext | None) -> str:
    """What somebody at the door gets: words in Dask's protocol, or nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        try:
            if context is None:
                line.sendall(b"\0" * 64)
                return "answered" if line.recv(100) else "refused"
            with context.wrap_socket(line) as safe:
                # A caller learns only from the answer what became of its certificate.
                return "answered" if safe.recv(100) else "refused"
        except (ssl.SSLError, ConnectionError):
            return "refused"


def stranger(authority: Path, keys: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority / "ca.pem")
    context.check_hostname = False
    if keys is not None:
        context.load_cert_chain(keys / "cert.pem", keys / "key.pem")
    return context


def test_every_machine_with_a_certificate_works_over_tls(fleet: Client, made: Path) -> None:
    address = fleet.scheduler.address
    assert address.startswith("tls://127.0.0.1:")
    assert fleet.submit(sum, (1, 2)).result(30) == 3
    assert all(worker.startswith("tls://127.0.0.1:") for worker in fleet.scheduler_info()["workers"])
    with connect(address, security=made / "ours" / "b") as other:
        assert other.submit(sum, (3, 4)).result(30) == 7


def test_every_door_is_shut_to_strangers_and_open_to_the_owner(fleet: Client, made: Path) -> None:
    ours, theirs = made / "ours" / "a", made / "theirs" / "a"
    ports = ports_of(fleet)
    assert len(ports) == 3, "scheduler, nanny and worker"
    for port in ports:
        assert knock(port, stranger(ours, made / "ours" / "b")) == "answered"
        for context in (stranger(ours, None), stranger(ours, theirs), None):
            assert knock(port, context) == "refused"


def foreign_keys(made: Path) -> Security:
    return tls._of_folder(made / "theirs" / "a")


def foreign_keys_that_trust_us(made: Path) -> Security:
    ours, theirs = made / "ours" / "a", made / "theirs" / "a"
    return tls._security(ours / "ca.pem", theirs / "cert.pem", theirs / "key.pem")


class NoKeys(Security):
    """Encrypts, and shows no certificate."""

    def get_connection_args(self, role: str) -> dict[str, Any]:
        context = stranger(Path(self.tls_ca_file).parent, None)
        return {"ssl_context": context, "require_encryption": True, "extra_conn_args": {}}


def no_certificate(made: Path) -> Security:
    return NoKeys(require_encryption=True, tls_ca_file=str(made / "ours" / "a" / "ca.pem"))


@pytest.mark.parametrize(
    "security", [foreign_keys, foreign_keys_that_trust_us, no_certificate, lambda made: None]
)
def test_clients_of_others_cannot_connect(fleet: Client, made: Path, security: Callable) -> None:
    before = clients_of(fleet)
    given = security(made)
    door = fleet.scheduler.address if given else fleet.scheduler.address.replace("tls", "tcp")
    with pytest.raises(OSError, match=r"(?i)timed out|certificate|closed|handshake"):
        Client(door, security=given, timeout=1.5, set_as_default=False)
    assert fleet.id in clients_of(fleet) <= before
    assert fleet.submit(sum, (3, 4)).result(30) == 7


def test_a_worker_of_others_cannot_join(fleet: Client, made: Path) -> None:
    async def join() -> None:
        security = foreign_keys_that_trust_us(made)
        worker = Worker(
            fleet.scheduler.address, security=security, host="127.0.0.1", death_timeout=1, dashboard=False
        )
        try:
            with pytest.raises((OSError, TimeoutError)):
                await worker
        finally:
            await worker.close()

    asyncio.run(join())
    assert len(fleet.scheduler_info()["workers"]) == 1
