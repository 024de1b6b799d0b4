"""Networks of this machine that a test can cut and slow down: namespaces around one bridge. Needs root."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class NoIslands(Exception):
    """This machine cannot have them; the text says why."""


@dataclass(frozen=True)
class Islands:
    """Namespace 0 holds the bridge, and the others hang on it, each by one wire."""

    names: tuple[str, ...]

    def address(self, island: int) -> str:
        return f"10.77.0.{island + 1}"

    def inside(self, island: int) -> list[str]:
        """What a command begins with that is to run there."""
        return ["ip", "netns", "exec", self.names[island]]

    def cut(self, island: int) -> None:
        """Lose every packet to and from an island; nobody is told."""
        _ip("-n", self.names[0], "link", "set", f"wire{island}", "down")

    def heal(self, island: int) -> None:
        _ip("-n", self.names[0], "link", "set", f"wire{island}", "up")


@contextmanager
def islands(count: int, milliseconds: int = 0) -> Iterator[Islands]:
    """A namespace with the bridge and ``count`` others, whose packets take so long on their way each.

    Not every kernel can delay packets, so wires that do are processes.

    Raises
    ------
    NoIslands
        If this process may not make them, or the kernel or a command is missing.
    """
    if os.geteuid() != 0:
        raise NoIslands("network namespaces need root")
    if shutil.which("ip") is None:
        raise NoIslands("network namespaces need the command ip, of iproute2")
    found = Islands(tuple(f"rasterloom-{os.getpid()}-{number}" for number in range(count + 1)))
    wires: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(count + 1):
            _ip("netns", "add", found.names[number])
            if number and milliseconds:
                wires.append(_slow_wire(found, number, milliseconds))
            _add(found, number)
        yield found
    finally:
        for wire in wires:
            wire.communicate()
        for name in found.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _add(made: Islands, number: int) -> None:
    hub, name = made.names[0], made.names[number]
    device, wire = "eth0" if number else "bridge", f"wire{number}"
    _ip("-n", name, "link", "set", "lo", "up")
    if number == 0:
        _ip("-n", hub, "link", "add", device, "type", "bridge")
    elif not _has(hub, wire):
        _ip("-n", hub, "link", "add", wire, "type", "veth", "peer", "name", device, "netns", name)
    if number:
        _ip("-n", hub, "link", "set", wire, "master", "bridge", "up")
    _ip("-n", name, "address", "add", f"{made.address(number)}/24", "dev", device)
    _ip("-n", name, "link", "set", device, "up")


def _slow_wire(made: Islands, number: int, milliseconds: int) -> "subprocess.Popen[bytes]":
    if not Path("/dev/net/tun").exists():
        raise NoIslands("slow wires need the device /dev/net/tun")
    words = [made.names[0], made.names[number], f"wire{number}", str(milliseconds)]
    wire = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("wire.py")), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert wire.stdout is not None, "opened as a pipe"
    if wire.stdout.readline() != b"ready\n":
        raise NoIslands(f"a slow wire cannot be made: {wire.communicate()[1].decode().strip()}")
    return wire


def _has(namespace: str, device: str) -> bool:
    found = subprocess.run(["ip", "-n", namespace, "link", "show", device], check=False, capture_output=True)
    return found.returncode == 0


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str) -> None:
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NoIslands(f"this needs the command {error.filename}") from error
    if done.returncode:
        raise NoIslands(f"{' '.join(words)} failed: {done.stderr.strip()}")
