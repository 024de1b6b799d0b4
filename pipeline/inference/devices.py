"""Choose the device that a run computes on: one kind for the whole run."""

from typing import Any

from rasterloom.models.errors import SettingError


def choose_device(processor: str | None, client: Any) -> str:
    """``cuda`` where every worker has a GPU, else ``cpu``; or what the caller asks for.

    Parameters
    ----------
    processor
        The context's ``processorType``: "CPU", "GPU" or None.
    client
        Dask client, or None for this process.

    Raises
    ------
    SettingError
        If a GPU is asked for and a worker has none, or the word is not known.
    """
    wanted = (processor or "").upper()
    if wanted not in ("", "CPU", "GPU"):
        raise SettingError(f"processorType={processor!r} is not known: use 'CPU' or 'GPU'.")
    if wanted == "CPU":
        return "cpu"
    found = [has_gpu()] if client is None else list(client.run(has_gpu).values())
    if found and all(found):
        return "cuda"
    if wanted == "GPU":
        raise SettingError(
            f"processorType='GPU', but {found.count(False)} of {len(found)} workers see no GPU: "
            "use 'CPU', or start workers where nvidia-smi lists one."
        )
    return "cpu"


def has_gpu() -> bool:
    """Whether this process can compute on a CUDA device."""
    import torch

    return torch.cuda.is_available()
