"""What is shipped for machines elsewhere calls commands that exist, safely."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from rasterloom.cluster.certificates import make_authority, make_node
from rasterloom.cluster.daemon_plan import NodeSettings, check_node, plan_workers
from rasterloom.pipeline.cli.main import app

DEPLOY = Path(__file__).parents[2] / "cluster/deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
COMPOSE = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
KUBERNETES = next(yaml.safe_load_all((DEPLOY / "kubernetes/dask-cluster.yaml").read_text()))
SLURM = (DEPLOY / "slurm/cluster.sh").read_text()
VALUES = {
    "RASTERLOOM_HOST": "10.0.0.5",
    "RASTERLOOM_SCHEDULER": "tls://10.0.0.5:8786",
    "RASTERLOOM_GPUS": "auto",
    "POD_IP": "10.0.0.5",
    "address": "tls://10.0.0.5:28786",
    "port": "28786",
    "keys": "/keys",
}
"""What variables of the files hold when they are used."""


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every call of ``rasterloom cluster start``, with its file."""
    for service, body in COMPOSE["services"].items():
        words = body["command"] if isinstance(body["command"], list) else shlex.split(body["command"])
        if words[0] == "cluster":
            yield f"compose {service}", words
    for role in ("scheduler", "worker"):
        yield f"kubernetes {role}", KUBERNETES["spec"][role]["spec"]["containers"][0]["args"]
    for unit in (DEPLOY / "systemd").iterdir():
        (line,) = re.findall(r"^ExecStart=\S+/rasterloom (.*)$", unit.read_text(), re.MULTILINE)
        yield unit.name, shlex.split(line.replace("%i", "0"))
    for call in re.findall(r"\brasterloom (cluster start .*?) &$", SLURM, re.MULTILINE | re.DOTALL):
        yield "slurm", shlex.split(call.replace("\\\n", " "))


CALLS = list(commands())


def filled(word: str) -> str:
    """A word of a command with its variables as they are when it runs."""
    word = re.sub(r"\$[{(]?(\w+)(:-\w+)?[)}]?", lambda found: VALUES[found[1]], word)
    assert "$" not in word
    return word


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[NodeSettings]:
    """What would be served, for commands that stay in the foreground."""
    kept: list[NodeSettings] = []
    monkeypatch.delenv("RASTERLOOM_TLS", raising=False)
    monkeypatch.setattr(
        "rasterloom.cluster.daemon_node.serve", lambda settings, **_: kept.append(settings), raising=True
    )
    return kept


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of a cluster, as ``rasterloom cluster certs`` makes them."""
    folder = tmp_path_factory.mktemp("keys")
    make_authority(folder)
    for node in ("scheduler", "worker", "client"):
        make_node(folder, node)
    return folder


def test_there_is_a_call_for_each_role_of_every_way() -> None:
    found = [where for where, _ in CALLS]
    assert len(found) == 3 + 2 + 2 + 2, found


@pytest.mark.parametrize(("where", "words"), CALLS, ids=[where for where, _ in CALLS])
def test_the_command_exists_with_these_options_and_is_not_refused(
    where: str, words: list[str], served: list[NodeSettings], keys: Path
) -> None:
    done = CliRunner().invoke(app, [filled(word) for word in words])
    assert done.exit_code == 0, done.output
    (settings,) = served
    assert settings.role in ("scheduler", "worker")
    assert settings.tls is not None, "no TLS"
    assert not settings.insecure
    settings = replace(settings, tls=str(keys / settings.role))
    check_node(settings)
    if settings.role == "worker":
        assert settings.join is not None
        assert settings.join.startswith("tls://")
        assert plan_workers(replace(settings, gpus="none", n_workers=1), "tls://127.0.0.1:1", "test")


@pytest.mark.parametrize(
    "words", [["doctor", "--help"], ["cluster", "certs", "--help"], ["classify-pixels", "--help"]]
)
def test_the_other_commands_that_the_files_name_exist(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 0
    named = {
        found
        for path in FILES
        for found in re.findall(r"\brasterloom ([a-z]+(?:-[a-z]+)*)\b", path.read_text())
    }
    assert words[0] in named


def test_what_ends_a_worker_waits_longer_than_the_worker_does() -> None:
    graces = {where: float(words[words.index("--grace") + 1]) for where, words in CALLS if "--grace" in words}
    patience = {
        "compose worker": seconds(COMPOSE["services"]["worker"]["stop_grace_period"]),
        "compose gpu-worker": seconds(COMPOSE["services"]["gpu-worker"]["stop_grace_period"]),
        "kubernetes worker": KUBERNETES["spec"]["worker"]["spec"]["terminationGracePeriodSeconds"],
        "rasterloom-worker@.service": seconds(unit("rasterloom-worker@.service")["TimeoutStopSec"]),
    }
    assert set(patience) == set(graces) - {"slurm"}
    assert [where for where in patience if patience[where] < graces[where] + 30] == []


# Who they run as


def test_nothing_runs_as_root() -> None:
    users = re.findall(r"^USER (.+)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    assert users[-1] == "1000:1000"
    for name, service in COMPOSE["services"].items():
        assert re.fullmatch(r"\$\{\w+:-[1-9]\d*\}:\$\{\w+:-[1-9]\d*\}", service["user"]), name
    for path in (DEPLOY / "systemd").iterdir():
        assert unit(path.name)["User"] == "rasterloom"
    for role in ("scheduler", "worker"):
        pod = KUBERNETES["spec"][role]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert not pod["automountServiceAccountToken"]


def test_nobody_gains_rights_after_the_start() -> None:
    for service in COMPOSE["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["read_only"] is True
    for role in ("scheduler", "worker"):
        for container in KUBERNETES["spec"][role]["spec"]["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
    for path in (DEPLOY / "systemd").iterdir():
        assert unit(path.name)["NoNewPrivileges"] == "yes"


# What they open


def test_no_dashboard_is_opened() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert published == ["127.0.0.1:8786:8786"]
    containers = [
        c for role in ("scheduler", "worker") for c in KUBERNETES["spec"][role]["spec"]["containers"]
    ]
    opened = {port["name"]: port["containerPort"] for container in containers for port in container["ports"]}
    assert 8787 not in opened.values()
    targets = {p["port"]: p["targetPort"] for p in KUBERNETES["spec"]["scheduler"]["service"]["ports"]}
    assert targets[8787] == "no-pages"
    rules = re.findall(r"(?:from|to)_port\s*= (\d+)", (DEPLOY / "terraform/main.tf").read_text())
    assert set(rules) == {"8786", "9000", "9063"}
    assert re.findall(r"^EXPOSE (.*)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE) == ["8786"]
    assert [path for path in FILES if "dashboard-address" in path.read_text()] == []


def test_only_named_networks_come_in() -> None:
    blocks = re.split(r"^resource ", (DEPLOY / "terraform/main.tf").read_text(), flags=re.MULTILINE)
    doors = [block for block in blocks if "ingress_rule" in block.splitlines()[0]]
    assert len(doors) == 3
    assert [door for door in doors if "0.0.0.0/0" in door or "::/0" in door] == []
    (policy,) = list(yaml.safe_load_all((DEPLOY / "kubernetes/dask-cluster.yaml").read_text()))[1:]
    assert all(rule["from"] and rule["ports"] for rule in policy["spec"]["ingress"])


def test_no_address_does_without_encryption_and_no_secret_is_written_down() -> None:
    for path in FILES:
        text = path.read_text()
        assert "tcp://" not in text, path
        assert "--insecure" not in text, path
        assert "-----BEGIN" not in text, path
        assert not re.search(r"(?i)(password|secret_access_key|\btoken)\s*[:=]\s*[\"']?\w", text), path


def test_keys_are_mounted_for_reading_only_and_by_their_owner() -> None:
    for service in COMPOSE["services"].values():
        assert [
            volume for volume in service["volumes"] if "/keys" in volume and not volume.endswith(":ro")
        ] == []
    for role in ("scheduler", "worker"):
        pod = KUBERNETES["spec"][role]["spec"]
        (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
        assert secret == {"secretName": f"rasterloom-{role}", "defaultMode": 0o400}
        (mount,) = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "keys"]
        assert mount["readOnly"] is True


# Files that connect() reads


def test_the_list_of_machines_is_what_ssh_targets_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rasterloom.cluster.targets_hosts import read_hosts

    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/known_hosts").touch()
    monkeypatch.setenv("HOME", str(home))
    hosts = read_hosts(DEPLOY / "ssh/hosts.toml")
    assert len(hosts.workers) == len(tomllib.loads((DEPLOY / "ssh/hosts.toml").read_text())["workers"])


def test_the_job_is_what_slurm_targets_read() -> None:
    from rasterloom.cluster.targets_slurm import plan_jobs

    plan = plan_jobs(DEPLOY / "slurm/cluster.toml", threads_per_worker=None, gpus="auto")
    assert plan.workers == tomllib.loads((DEPLOY / "slurm/cluster.toml").read_text())["cluster"]["jobs"]


def test_the_manifest_is_what_kubernetes_targets_read() -> None:
    from rasterloom.cluster.targets_k8s import is_encrypted, read_wanted

    wanted = read_wanted(str(DEPLOY / "kubernetes/dask-cluster.yaml"))
    assert wanted.name == "rasterloom"
    assert wanted.manifest is not None
    assert is_encrypted(wanted.manifest)


# The script for SLURM, run for real


MAIN = "from rasterloom.pipeline.cli.main import main; main()"
STEP = """
import os, sys
from rasterloom.cluster.start import connect
assert sys.argv[1:] == ["--cluster", os.environ["RASTERLOOM_CLUSTER"]], sys.argv
with connect(os.environ["RASTERLOOM_CLUSTER"], n_workers=1) as client:
    print("the sum is", client.submit(sum, [1, 2, 3]).result(timeout=30))
sys.exit(7)
"""


@pytest.mark.timeout(600)  # six processes start: seconds here, minutes where others want the cores
def test_the_slurm_script_runs_a_command_on_a_cluster_and_ends_both(tmp_path: Path, keys: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in {
        "python": f'exec {sys.executable} "$@"',
        "scontrol": "echo 127.0.0.1",
        "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@" --n-workers 1',
        "rasterloom": f'exec {sys.executable} -c "{MAIN}" "$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    (tmp_path / "step.py").write_text(STEP)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "RASTERLOOM_KEYS": str(keys),
        "RASTERLOOM_GPUS": "none",
        "SLURM_JOB_ID": str(os.getpid()),  # the port comes of it
        "SLURM_JOB_NODELIST": "machine",
        "SLURM_JOB_NUM_NODES": "1",
        "DASK_TEMPORARY_DIRECTORY": str(tmp_path),
    }
    with subprocess.Popen(
        [DEPLOY / "slurm/cluster.sh", sys.executable, tmp_path / "step.py"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as job:
        try:
            out, err = job.communicate(timeout=540)
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
    assert job.returncode == 7, err
    assert "the sum is 6" in out
    port = 20000 + os.getpid() % 20000
    assert f"tls://127.0.0.1:{port}" in out + err


def test_the_slurm_script_without_keys_says_how_to_make_them(tmp_path: Path) -> None:
    environment = os.environ | {"RASTERLOOM_KEYS": str(tmp_path)}
    done = subprocess.run(
        [DEPLOY / "slurm/cluster.sh", "true"], env=environment, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert f"run 'rasterloom cluster certs {tmp_path}'" in done.stderr


def unit(name: str) -> dict[str, str]:
    """The settings of a systemd unit; of those that stand twice, the last."""
    return dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "systemd" / name).read_text(), re.MULTILINE))


def seconds(text: Any) -> float:
    return float(str(text).removesuffix("s"))
