import copy
from pathlib import Path

import dask
import distributed
import yaml
from dask.utils import parse_timedelta

from rasterloom.cluster.settings import dask_settings, local_settings
from rasterloom.cluster.workers import NO_WORKERS_SECONDS


def shipped_by_distributed():
    return yaml.safe_load(Path(distributed.__file__).with_name("distributed.yaml").read_text())


def flat(settings, head=""):
    if not isinstance(settings, dict):
        return {head: settings}
    return {
        name: value
        for key, inner in settings.items()
        for name, value in flat(inner, f"{head}.{key}" if head else key).items()
    }


def test_every_setting_is_one_that_distributed_knows():
    assert flat(dask_settings()).keys() <= flat(shipped_by_distributed()).keys()


def test_a_task_waits_for_workers_as_long_as_a_run_does():
    waits = dask_settings()["distributed"]["scheduler"]["no-workers-timeout"]
    assert parse_timedelta(waits) == NO_WORKERS_SECONDS


def test_a_users_own_configuration_stands():
    defaults = shipped_by_distributed()
    config = copy.deepcopy(defaults)
    config["distributed"]["scheduler"]["allowed-failures"] = 7
    dask.config.update_defaults(dask_settings(), config=config, defaults=[defaults])
    assert config["distributed"]["scheduler"]["allowed-failures"] == 7
    assert config["distributed"]["worker"]["daemon"] is False
    assert config["distributed"]["comm"]["timeouts"]["connect"] == "60s"


def test_a_local_cluster_differs_in_what_its_driver_sees_to():
    shipped, local = flat(dask_settings()), flat(local_settings())
    assert shipped.keys() == local.keys()
    assert {name.rpartition(".")[2] for name in shipped if shipped[name] != local[name]} == {
        "allowed-failures",
        "lost-worker-timeout",
        "connect",
        "tcp",
    }
    assert flat(dask_settings()) == shipped


def test_the_scheduler_and_the_workers_of_a_local_cluster_follow_them(pair):
    def read():
        return dask.config.get("distributed.worker.daemon"), dask.config.get(
            "distributed.scheduler.allowed-failures"
        )

    assert set(pair.run(read).values()) == {(False, 1)}
    assert pair.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures) == 1
