"""The settings of distributed that rasterloom ships, as data; ``dask.yaml`` says why each is as it is."""

from pathlib import Path
from typing import Any

import yaml

_LOCAL = {
    # A task that was on two dying workers goes back to the driver, which cuts it; handing the whole on to
    # more workers of the same machine would only kill them too.
    "distributed.scheduler.allowed-failures": 1,
    # A worker that dies is started again, which takes its time on a busy machine. After a while dask would
    # take it for gone and end the process that starts it, until none is left.
    "distributed.deploy.lost-worker-timeout": "1 hour",
    # On one machine a connection that is refused is a process that died: waiting longer brings nothing.
    "distributed.comm.timeouts.connect": "30s",
    "distributed.comm.timeouts.tcp": "30s",
}


def dask_settings() -> dict[str, Any]:
    """Settings for the scheduler and the workers of any cluster, nested as in ``dask.config.config``.

    They are defaults, for ``dask.config.update_defaults``: what a user's own configuration says stands.
    """
    text = Path(__file__).with_name("dask.yaml").read_text(encoding="utf-8")
    settings: dict[str, Any] = yaml.safe_load(text)
    return settings


def local_settings() -> dict[str, Any]:
    """The same for a cluster of one machine, whose driver sees to tasks that kill workers."""
    settings = dask_settings()
    for name, value in _LOCAL.items():
        *parents, last = name.split(".")
        place = settings
        for parent in parents:
            place = place[parent]
        place[last] = value
    return settings
