"""What a training run computes on where the caller has said it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from rasterloom.models.errors import SettingError

_on_cpu: ContextVar[bool] = ContextVar("on_cpu", default=False)


def cpu_is_wanted() -> bool:
    """Whether this thread is to leave GPUs alone."""
    return _on_cpu.get()


@contextmanager
def processor(kind: str | None) -> Iterator[None]:
    """Inside, this thread trains on the kind of device that is named.

    Parameters
    ----------
    kind
        ``CPU`` or ``GPU``. None takes a GPU if there is one.

    Raises
    ------
    SettingError
        If the word is not known, or there is no GPU.
    """
    wanted = (kind or "").strip().upper()
    if wanted not in ("", "CPU", "GPU"):
        raise SettingError(f"processorType={kind!r} is not known: use 'CPU' or 'GPU'.")
    if wanted == "GPU" and not torch.cuda.is_available():
        raise SettingError("processorType='GPU', and this process sees no GPU: use 'CPU', or leave it out.")
    token = _on_cpu.set(wanted == "CPU")
    try:
        yield
    finally:
        _on_cpu.reset(token)
