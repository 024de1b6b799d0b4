import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rasterloom.cluster.resident import forget_residents, forward_lock, resident


@pytest.fixture(autouse=True)
def _no_residents():
    forget_residents()
    yield
    forget_residents()


def test_a_value_is_loaded_once_for_all_threads():
    loads = []

    def load():
        time.sleep(0.05)
        loads.append(1)
        return object()

    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: resident("model", load), range(16)))
    assert len(loads) == 1
    assert len(set(map(id, values))) == 1


def test_two_values_stay_and_the_least_used_one_goes():
    loads = []

    def ask(key):
        return resident(key, lambda: loads.append(key) or key)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert ask(key) == key
    assert loads == ["a", "b", "c", "b"]


def test_another_key_is_not_held_up():
    began, free = threading.Event(), threading.Event()

    def slow():
        began.set()
        return free.wait(5)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(resident, "slow", slow)
        began.wait(5)
        assert resident("fast", lambda: 1) == 1
        assert not waiting.done()
        free.set()


def test_a_failed_load_is_tried_again():
    def fail():
        raise MemoryError

    with pytest.raises(MemoryError):
        resident("model", fail)
    assert resident("model", lambda: 3) == 3


def test_none_is_a_value():
    loads = []
    for _ in range(2):
        assert resident("nothing", lambda: loads.append(1)) is None
    assert loads == [1]


def test_each_device_has_one_lock():
    assert forward_lock("cpu") is forward_lock("cpu")
    assert forward_lock("cpu") is not forward_lock("cuda:0")
    with forward_lock("cpu"):
        assert not forward_lock("cpu").acquire(blocking=False)
