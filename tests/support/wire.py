"""A wire between two network namespaces that takes its time: frames wait in this process."""

import ctypes
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from contextlib import suppress

_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of <sched.h>."""
_SET_INTERFACE = 0x400454CA
"""TUNSETIFF of <linux/if_tun.h>."""
_TAP, _PLAIN = 0x0002, 0x1000
_LONGEST = 65536


def open_end(namespace: str, device: str) -> int:
    """Make a network device in a namespace; what is sent to it can be read here, and the other way round."""
    with open(f"/run/netns/{namespace}") as place:  # noqa: PTH123 - only its number is of use
        if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), _NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns", namespace)
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, _SET_INTERFACE, struct.pack("16sH", device.encode(), _TAP | _PLAIN))
    return end


def carry(ends: tuple[int, int], seconds: float) -> None:
    """Bring every frame to the other end, so much later, until standard input ends."""
    waiting: deque[tuple[float, int, bytes]] = deque()
    while True:
        wait = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        ready = select.select([0, *ends], [], [], wait)[0]
        if 0 in ready:
            return
        for end in ready:
            with suppress(OSError):  # the device is down: a cut wire
                other = ends[end == ends[0]]
                waiting.append((time.monotonic() + seconds, other, os.read(end, _LONGEST)))
        while waiting and waiting[0][0] <= time.monotonic():
            _, end, frame = waiting.popleft()
            with suppress(OSError):
                os.write(end, frame)


if __name__ == "__main__":
    hub, island, wire, milliseconds = sys.argv[1:]
    made = open_end(hub, wire), open_end(island, "eth0")
    print("ready", flush=True)
    carry(made, float(milliseconds) / 1000)
