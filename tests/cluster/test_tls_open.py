"""A cluster that others can use or look into is told of, and one that they cannot is not."""

import socket

import psutil
import pytest
from distributed import Security

from rasterloom.cluster import tls
from rasterloom.cluster.tls import OpenClusterWarning, is_loopback, warn_of_open


@pytest.mark.parametrize(
    ("address", "alone"),
    [
        ("tcp://127.0.0.1:8786", True),
        ("tls://127.8.9.1:1", True),
        ("tcp://[::1]:8786", True),
        ("http://localhost:8787/status", True),
        ("127.0.0.1:8786", True),
        ("inproc://10.0.0.5/1/2", True),
        ("tcp://a.localhost:1", True),
        ("tcp://10.0.0.5:8786", False),
        ("tcp://0.0.0.0:8786", False),
        ("tcp://[::]:8786", False),
        ("tcp://[fe80::1%eth0]:8786", False),
        ("tcp://localhost.example.org:8786", False),
        ("tcp://127.0.0.1.example.org:8786", False),
        ("tcp://:8786", False),
        ("", False),
    ],
)
def test_a_loopback_address_is_known_without_asking_anyone(address: str, alone: bool) -> None:
    assert is_loopback(address) is alone


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been warned of yet."""
    monkeypatch.setattr(tls, "_WARNED", set())


@pytest.fixture
def outside() -> str:
    """An address of this machine that others can reach."""
    found = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not is_loopback(address.address)
    ]
    if not found:
        pytest.skip("needs an address beside 127.0.0.1: this machine has no network")
    return found[0]


def test_an_open_scheduler_is_told_of_once(forgetful: None) -> None:
    with pytest.warns(
        OpenClusterWarning, match=r"at the lab is open\..*reaches 10\.0\.0\.5:8786 can run.*cluster certs"
    ):
        warn_of_open("the lab", "tcp://10.0.0.5:8786", None, None)
    warn_of_open("the lab", "tcp://10.0.0.5:8786", None, Security())  # warnings are errors here
    with pytest.warns(OpenClusterWarning, match="10.0.0.6"):
        warn_of_open("another", "tcp://10.0.0.6:8786", None, None)


@pytest.mark.parametrize("bound", ["0.0.0.0", "127.0.0.1"])
def test_pages_are_told_of_where_they_can_be_reached(bound: str, outside: str, forgetful: None) -> None:
    with socket.create_server((bound, 0)) as pages:
        port = pages.getsockname()[1]
        link = f"http://127.0.0.1:{port}/status"  # says nothing about where else they are
        scheduler = f"tls://{outside}:8786"
        if bound == "127.0.0.1":
            warn_of_open("the lab", scheduler, link, None)
            warn_of_open("the lab", scheduler, f"http://{outside}:{port}/status", None)
            return
        remedy = rf"{outside}:{port} shows tasks.*--dashboard-address 127\.0\.0\.1:{port}.*ssh -L {port}:"
        with pytest.warns(OpenClusterWarning, match=remedy):
            warn_of_open("the lab", scheduler, link, None)


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("tls://10.0.0.5:8786", None),
        ("tcp://127.0.0.1:8786", "http://127.0.0.1:8787/status"),
        ("inproc://10.0.0.5/1/1", None),
        ("gateway://example.org:8786/name", None),
        ("tcp://127.0.0.1:8786", "http://127.0.0.1/proxy/status"),
    ],
)
def test_what_only_its_owner_can_reach_is_no_matter(forgetful: None, address: str, link: str | None) -> None:
    warn_of_open("here", address, link, None)  # warnings are errors here
