"""The process of a scheduler or of workers: Dask's own command, which ends with the process that started it.

``python -P -m rasterloom.cluster.daemon_child scheduler --port 8786`` is ``dask scheduler --port 8786``, and
``worker`` is ``dask worker``, with the settings that rasterloom ships as their defaults.
"""

import os
import sys

from rasterloom.cluster.child import PARENT, die_with_parent
from rasterloom.cluster.settings import dask_settings


def main(words: list[str]) -> None:
    """Run ``dask scheduler`` or ``dask worker`` with the rest of the words."""
    die_with_parent()
    os.environ.pop(PARENT, None)  # it is none of the processes' that this one starts
    import dask
    import distributed  # noqa: F401 - its own defaults come first

    dask.config.update_defaults(dask_settings())
    role, *rest = words
    if role == "scheduler":
        from distributed.cli.dask_scheduler import main as run
    else:
        from distributed.cli.dask_worker import main as run
    run(rest, prog_name=f"rasterloom {role}")


if __name__ == "__main__":
    main(sys.argv[1:])
