"""Where the work is done: this process, this machine, or a Dask cluster."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rasterloom.cluster.background import Job as Job
    from rasterloom.cluster.jobs import Progress as Progress, RunReport as RunReport
    from rasterloom.cluster.start import connect as connect

_PUBLIC = {
    "connect": "rasterloom.cluster.start",
    "Job": "rasterloom.cluster.background",
    "Progress": "rasterloom.cluster.jobs",
    "RunReport": "rasterloom.cluster.jobs",
}
"""Every public name and the module that holds it. Modules load when a name is first used."""

__all__ = [
    "connect",
    "Job",
    "Progress",
    "RunReport",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
