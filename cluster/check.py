"""Makes sure that all machines of a cluster understand each other before work is sent to them."""

import asyncio
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distributed import Client
from distributed.comm import CommClosedError

from rasterloom.models.errors import ClusterError

ALIKE = ("python", "rasterloom", "dask", "distributed")
"""What has to be the same everywhere: bytecode, tasks and messages go back and forth. Of Python, x.y."""

CLOSE = (
    "torch",
    "torchvision",
    "timm",
    "segmentation-models-pytorch",
    "safetensors",
    "numpy",
    "scipy",
    "zarr",
    "numcodecs",
    "xarray",
    "rasterio",
    "pyproj",
    "shapely",
    "geopandas",
    "pandas",
    "pyarrow",
    "cloudpickle",
    "msgpack",
)
"""What should be: another release may compute other last digits, or not read what the first one wrote."""

ANSWER_SECONDS = 30.0
"""How long machines may take to answer. One that hangs shall not hold up those that work."""

_ENTRY = "rasterloom.cluster.workers"
"""What a worker imports first when work comes."""

_NAMED = 3
"""Workers that a message names one by one."""


class VersionWarning(UserWarning):
    """Packages of a cluster's machines differ, and nothing is known to fail for it."""


@dataclass(frozen=True)
class Versions:
    """Who has what; a package that is not installed, or not asked for, is missing."""

    here: Mapping[str, str]
    scheduler: Mapping[str, str]
    workers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By address."""

    def differences(self, package: str) -> dict[str, list[str]]:
        """The names of those who have each version; empty if all have the same, or it is missing here.

        A scheduler hands on bytes and needs the packages of ``ALIKE`` only; one without rasterloom will do.
        Where rasterloom has no version it may be a copy of its folders: whether it is there, importing tells.
        """
        if package not in self.here:
            return {}
        holders: dict[str, list[str]] = {_plain(self.here[package]): ["this process"]}
        if package in ALIKE and package in self.scheduler:
            holders.setdefault(_plain(self.scheduler[package]), []).append("the scheduler")
        for address, found in self.workers.items():
            if package in found or package not in ALIKE:
                holders.setdefault(_plain(found.get(package, "none")), []).append(address)
        return holders if len(holders) > 1 else {}


def check_workers(client: Client, *, seconds: float = ANSWER_SECONDS) -> None:
    """Return if this process, the scheduler and every worker fit together, and every worker finds rasterloom.

    Parameters
    ----------
    client
        Its cluster is asked once; workers that come later are not checked.
    seconds
        How long to wait for the answers. Where some are missing, that is a warning.

    Raises
    ------
    ClusterError
        If Python, rasterloom, dask or distributed differ, with a list of who has what; or if workers cannot
        import rasterloom, with the workers and why.

    Warns
    -----
    VersionWarning
        If other packages differ.
    """
    try:
        versions = _ask_versions(client, seconds)
        judge(versions)
        missing = _ask_imports(client, seconds)
    except TimeoutError:
        warnings.warn(
            f"not every machine of the cluster answered within {seconds:.0f} s, so their versions are not "
            "checked: one may hang, or be busy with work that never lets others run.",
            VersionWarning,
            stacklevel=2,
        )
        return
    if missing:
        raise ClusterError(
            f"{len(missing)} of {len(versions.workers)} workers cannot import rasterloom:\n"
            + _listing({why: _who(addresses) for why, addresses in missing.items()})
            + "\nInstall rasterloom in the environment that these workers run in, and start them again."
        )


def judge(versions: Versions) -> None:
    """Raise ClusterError where versions differ that must not; warn where others do."""
    wrong = {package: versions.differences(package) for package in ALIKE}
    if any(wrong.values()):
        raise ClusterError(
            "The cluster has other versions than this process, and neither would understand the other:\n"
            + _table(wrong)
            + "\nInstall the same on all machines, from one image or one list of requirements, and start the "
            "cluster again; or use an environment here that has what the cluster has."
        )
    odd = {package: versions.differences(package) for package in CLOSE}
    if any(odd.values()):
        warnings.warn(
            "The cluster has other versions of some packages than this process. Results may differ in their "
            "last digits, and files of one may not be readable for the other:\n" + _table(odd),
            VersionWarning,
            stacklevel=3,
        )


def _ask_versions(client: Client, seconds: float) -> Versions:
    # Answered by distributed itself: nothing that depends on the versions is sent.
    found = _within(client, seconds, lambda: client.get_versions(packages=[*ALIKE[1:], *CLOSE]))
    return Versions(
        here=_packages(found["client"]),
        scheduler=_packages(found["scheduler"]),
        workers={address: _packages(answer) for address, answer in found["workers"].items()},
    )


def _ask_imports(client: Client, seconds: float) -> dict[str, list[str]]:
    """Why workers cannot import rasterloom, and their addresses."""
    found = _within(client, seconds, lambda: client.run(_importing(_ENTRY), on_error="return"))
    missing: dict[str, list[str]] = {}
    for address, answer in found.items():
        # a worker that left meanwhile has nothing to answer for
        if isinstance(answer, BaseException) and not isinstance(answer, CommClosedError | TimeoutError):
            missing.setdefault(f"{type(answer).__name__}: {answer}", []).append(address)
    return missing


def _importing(module: str) -> Callable[[], None]:
    """A function that travels as its code, because where rasterloom is missing no name of it can be found."""

    def load() -> None:
        import importlib

        importlib.import_module(module)

    return load


def _within(client: Client, seconds: float, ask: Callable[[], Any]) -> Any:
    async def answered() -> Any:
        return await asyncio.wait_for(ask(), seconds)  # in the client's loop, where its calls are awaited

    return client.sync(answered)


def _packages(answer: Mapping[str, Any]) -> dict[str, str]:
    found = {name: version for name, version in answer["packages"].items() if version is not None}
    return found | {"python": ".".join(answer["host"]["python"].split(".")[:2])}


def _plain(version: str) -> str:
    """Without what a build adds: a laptop's torch for CPUs is the one of a worker with CUDA."""
    return version.partition("+")[0]


def _table(differences: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    rows = {
        package: "; ".join(f"{version}: {_who(names)}" for version, names in holders.items())
        for package, holders in differences.items()
        if holders
    }
    return _listing(rows)


def _listing(rows: Mapping[str, str]) -> str:
    return "\n".join(f"  {name} - {text}" for name, text in rows.items())


def _who(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
