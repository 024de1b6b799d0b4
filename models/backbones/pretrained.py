"""Trained weights of feature extractors: fetched, taken from the cache, or refused at once."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants

from rasterloom.models.errors import PretrainedError

PROBE_SECONDS = 4.0
"""How long the weights' host may take to answer before it counts as out of reach."""

_switch = threading.Lock()


@contextmanager
def fetching(name: str) -> Iterator[None]:
    """Run a block that fetches the weights of a backbone; a failure becomes one that says how to go on.

    The library below tries six times with growing pauses, 23 seconds for each file. So the host is
    asked once first, and when it does not answer only weights that are already on this machine are used.

    Raises
    ------
    PretrainedError
        If the weights are neither on this machine nor within reach.
    """
    online = not constants.HF_HUB_OFFLINE and _answers(constants.ENDPOINT)
    try:
        if online:
            yield
        else:
            with _offline():
                yield
    except OSError as error:  # every failure of the hub's client and of urllib is one
        reason = "the host refused or broke off" if online else f"{constants.ENDPOINT} cannot be reached"
        raise PretrainedError(
            f"the pretrained weights of {name} are not on this machine and could not be fetched: {reason}. "
            "Use pretrained=False to start from random weights, or run the same call once with a "
            "connection: the weights are kept."
        ) from error


@contextmanager
def _offline() -> Iterator[None]:
    # The client reads this switch at every request; there is no argument that reaches it through timm.
    with _switch:
        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before


def _answers(url: str) -> bool:
    """Whether a host answers within the time; name resolution included, which no socket timeout bounds."""
    answered = threading.Event()
    thread = threading.Thread(target=_ask, args=(url, answered), daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS)
    return answered.is_set()


def _ask(url: str, answered: threading.Event) -> None:
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
            answered.set()
    except urllib.error.HTTPError as error:
        error.close()
        answered.set()  # an error page is an answer
    except (OSError, ValueError):
        return
