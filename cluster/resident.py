"""What stays in a worker between batches: models, and one lock per device."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")

_MOST = 2
"""Values kept: a run needs one model, and two runs may share a worker. More would break its memory bound."""


class _Slot:
    """One value, loaded under a lock of its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loaded = False
        self.value: Any = None


_slots: OrderedDict[str, _Slot] = OrderedDict()
_slots_lock = threading.Lock()
_device_locks: dict[str, threading.Lock] = {}


def resident(key: str, load: Callable[[], T]) -> T:
    """Return the value of ``key`` in this process, loaded at most once while it is among the two last used.

    Threads that ask for one key wait for a single ``load``; other keys are not held up. If ``load`` raises,
    its error goes to the caller and the next caller loads again.

    Parameters
    ----------
    key
        Stands for all that the value depends on, such as a content hash and a device.
    load
        Makes the value.
    """
    with _slots_lock:
        slot = _slots.setdefault(key, _Slot())
        _slots.move_to_end(key)
        while len(_slots) > _MOST:
            _slots.popitem(last=False)
    with slot.lock:
        if not slot.loaded:
            slot.value = load()
            slot.loaded = True
        return cast(T, slot.value)


def forget_residents() -> None:
    """Drop every value that stays in this process."""
    with _slots_lock:
        _slots.clear()


def forward_lock(device: str) -> threading.Lock:
    """Return the lock of ``device`` ("cpu", "cuda:0") that a forward pass holds in this process."""
    with _slots_lock:
        return _device_locks.setdefault(device, threading.Lock())
