import inspect
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from distributed import Security

from rasterloom.cluster import targets
from rasterloom.cluster.targets import SCHEMES, is_target, open_target
from rasterloom.models.errors import ClusterError, MissingExtraError, SettingError

LIBRARIES = {
    "ssh": "asyncssh", "k8s": "kr8s", "slurm": "dask_jobqueue", "gateway": "dask_gateway", "coiled": "coiled",
}  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_library_that_is_missing_is_named_with_its_extra(scheme, monkeypatch):
    monkeypatch.setitem(sys.modules, LIBRARIES[scheme], None)
    rest = {"slurm": "x.toml", "ssh": "x.toml", "gateway": "https://example.org"}.get(scheme, "forest")
    brought = "pip install coiled" if scheme == "coiled" else rf"rasterloom\[{scheme}\]"
    with pytest.raises(MissingExtraError, match=rf"need the package {LIBRARIES[scheme]} .*{brought}"):
        open_target(f"{scheme}:{rest}")


def test_no_library_is_loaded_before_its_target_is_used():
    code = f"import sys, rasterloom.cluster.targets; print({set(LIBRARIES.values())!r} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"


@pytest.mark.parametrize(
    ("target", "keywords", "told"),
    [
        ("forest", {}, "is no cluster: use 'tcp://host:8786'"),
        ("ftp://host", {}, "'ssh:...', 'k8s:...'"),
        ("ssh:", {}, "names nothing: give the file that lists the machines"),
        ("k8s:a", {"n_workers": 0}, "n_workers=0 leaves nobody to work"),
        ("ssh:a", {"threads_per_worker": 0}, "threads_per_worker=0 leaves nothing"),
        ("gateway:https://me:hunter2@example.org", {}, "leave them out"),
        ("gateway:https://example.org/?token=hunter2", {}, "leave them out"),
        ("gateway:http://example.org", {}, "unencrypted: use https"),
        ("gateway:example.org", {}, "is no address of a gateway"),
        ("gateway:https://example.org", {"gpus": True}, "the gateway's to decide"),
        ("k8s:forest", {"threads_per_worker": 2}, "the manifest's to decide"),
        ("coiled:forest", {"security": "folder"}, "security is Coiled's"),
    ],
)
def test_what_cannot_work_is_refused_before_anyone_is_asked(target, keywords, told):
    with pytest.raises(SettingError, match=told) as caught:
        open_target(target, **keywords)
    assert "hunter2" not in str(caught.value)


def test_targets_are_told_from_addresses():
    assert [text for text in ("ssh:a", "tcp://a:1", "tls://a:1", "coiled:a", "C:/a") if is_target(text)] == [
        "ssh:a",
        "coiled:a",
    ]


class Imagined:
    """Coiled's cluster as far as we ask for it; parameters and their names are those of coiled 1.135."""

    asked: dict[str, Any]

    def __init__(
        self,
        name: str | None = None,
        *,
        n_workers: int | None = None,
        wait_for_workers: bool | None = None,
        worker_options: dict[str, Any] | None = None,
        worker_gpu: int | bool | None = None,
        shutdown_on_close: bool | None = None,
    ) -> None:
        type(self).asked = {
            key: value for key, value in locals().items() if key != "self" and value is not None
        }
        if name == "broken":
            raise RuntimeError("no quota")
        self.scheduler_address = "tls://10.0.0.1:8786"
        self.security = Security.temporary()
        self.closed = 0

    def close(self) -> None:
        self.closed += 1

    def scale(self, n: int) -> None:
        self.n = n


@pytest.fixture
def coiled(monkeypatch: pytest.MonkeyPatch) -> type[Imagined]:
    try:
        import coiled
    except ImportError:
        pass
    else:
        assert (
            inspect.signature(Imagined).parameters.keys()
            <= inspect.signature(coiled.Cluster).parameters.keys()
        )
    module = types.ModuleType("coiled")
    module.Cluster = Imagined
    monkeypatch.setitem(sys.modules, "coiled", module)
    return Imagined


@pytest.mark.parametrize(
    ("keywords", "asked"),
    [
        ({}, {}),
        ({"n_workers": 5, "gpus": False}, {"n_workers": 5}),
        ({"gpus": True}, {"worker_gpu": 1, "worker_options": {"nthreads": 3, "resources": {"GPU": 1}}}),
        ({"threads_per_worker": 2}, {"worker_options": {"nthreads": 2}}),
    ],
)
def test_coiled_is_asked_for_what_is_wanted_and_decides_what_ends(coiled, keywords, asked):
    opened = open_target("coiled:forest", **keywords)
    assert coiled.asked == {"name": "forest", "wait_for_workers": False, **asked}
    assert opened.address == "tls://10.0.0.1:8786"
    assert opened.security is not None
    assert "PRIVATE" not in repr(opened)


def test_what_coiled_refuses_is_shown(coiled):
    with pytest.raises(ClusterError, match=r"no cluster 'broken' .no quota.: check 'coiled login'"):
        open_target("coiled:broken")
    with pytest.raises(SettingError, match="a worker uses one GPU"):
        open_target("coiled:forest", gpus=4)


def test_every_scheme_has_a_module_that_opens_it():
    wanted = list(inspect.signature(open_target).parameters)[1:]
    for module in SCHEMES.values():
        opener: Callable[..., Any] = __import__(module, fromlist=["open_cluster"]).open_cluster
        assert list(inspect.signature(opener).parameters)[1:] == wanted
    assert set(targets.SCHEMES) == set(LIBRARIES)
