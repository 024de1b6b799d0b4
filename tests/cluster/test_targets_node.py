from distributed.system import MEMORY_LIMIT

from rasterloom.cluster.targets_node import plan_workers

SETTINGS = {"name": "1-here", "processes": None, "threads": None, "memory_limit": "auto"}


def test_two_gpus_are_two_processes_that_each_see_one():
    plan = plan_workers(SETTINGS, ["0", "GPU-22222222"])
    assert [worker["env"] for worker in plan] == [
        {"CUDA_VISIBLE_DEVICES": "0"},
        {"CUDA_VISIBLE_DEVICES": "GPU-22222222"},
    ]
    assert {worker["nthreads"] for worker in plan} == {3}
    assert all(worker["resources"] == {"GPU": 1} for worker in plan)
    assert [worker["name"] for worker in plan] == ["1-here-0", "1-here-1"]


def test_processes_share_the_memory_and_have_the_threads_that_are_asked_for():
    plan = plan_workers(SETTINGS | {"processes": 3, "threads": 2}, [])
    assert [(worker["nthreads"], worker["memory_limit"]) for worker in plan] == [
        (2, int(MEMORY_LIMIT // 3))
    ] * 3
    (one,) = plan_workers(SETTINGS | {"processes": 1, "memory_limit": "4 GB"}, [])
    assert one == {"name": "1-here-0", "nthreads": 1, "memory_limit": 4 * 10**9}
