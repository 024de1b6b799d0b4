"""Where temporary files go that are too large for memory."""

import sys


def scratch_folder() -> str | None:
    """The folder that a worker of a cluster keeps for itself; None elsewhere, which means the system's."""
    # a process that never imported this is no worker
    module = sys.modules.get("distributed.worker")
    if module is None:
        return None
    try:
        return str(module.get_worker().local_directory)
    except ValueError:
        return None
