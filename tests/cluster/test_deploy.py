"""What is shipped for machines elsewhere fits the schemas and linters of those who read it."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hcl2
import jsonschema
import kubernetes_validate
import pytest
import yaml
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "cluster/deploy"
SCRIPTS = sorted(DEPLOY.rglob("*.sh"))
UNITS = sorted((DEPLOY / "systemd").iterdir())
TERRAFORM = sorted((DEPLOY / "terraform").glob("*.tf"))
KUBERNETES = "1.30"


def run(*words: str | Path, cwd: Path | None = None) -> str:
    """What a linter prints; the test fails where it finds something."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def tool(name: str) -> str:
    """A program that need not be there; the test is skipped without it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def kubernetes() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The DaskCluster, and what else stands in its file."""
    first, *others = yaml.safe_load_all((DEPLOY / "kubernetes/dask-cluster.yaml").read_text())
    return first, others


def cloud_init(role: str) -> dict[str, Any]:
    text = (DEPLOY / f"cloud-init/{role}.yaml").read_text()
    assert text.startswith("#cloud-config\n"), "cloud-init would take it for something else"
    found: dict[str, Any] = yaml.safe_load(text)
    return found


# Kubernetes


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_the_pods_fit_the_schema_of_kubernetes(role: str) -> None:
    cluster, _ = kubernetes()
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": role},
        "spec": cluster["spec"][role]["spec"],
    }
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_service_and_the_policy_fit_the_schema_of_kubernetes() -> None:
    cluster, others = kubernetes()
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "scheduler"}}
    for resource in (service | {"spec": cluster["spec"]["scheduler"]["service"]}, *others):
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    assert [resource["kind"] for resource in others] == ["NetworkPolicy"]


def test_a_misspelt_field_does_not_fit_the_schema_of_kubernetes() -> None:
    cluster, _ = kubernetes()
    spec = cluster["spec"]["worker"]["spec"] | {"securityContexts": {}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "worker"}, "spec": spec}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_cluster_fits_the_schema_of_the_operator() -> None:
    found = find_spec("dask_kubernetes")
    if found is None or found.origin is None:
        pytest.skip("needs dask-kubernetes, whose chart holds the schema")
    chart = (
        Path(found.origin).parent / "operator/deployment/helm/dask-kubernetes-operator/crds/daskcluster.yaml"
    )
    (version,) = yaml.safe_load(chart.read_text())["spec"]["versions"]
    cluster, _ = kubernetes()
    assert cluster["apiVersion"].endswith(f"/{version['name']}")
    jsonschema.validate(cluster, version["schema"]["openAPIV3Schema"])


def test_the_service_leads_to_the_ports_that_the_pods_name() -> None:
    cluster, _ = kubernetes()
    scheduler = cluster["spec"]["scheduler"]
    named = {port["name"] for pod in scheduler["spec"]["containers"] for port in pod["ports"]}
    assert {port["targetPort"] for port in scheduler["service"]["ports"]} <= named
    assert scheduler["service"]["selector"]["dask.org/cluster-name"] == cluster["metadata"]["name"]


# Containers


def test_the_compose_file_fits_its_schema() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    run(checker, "--builtin-schema", "vendor.compose-spec", DEPLOY / "docker-compose.yml")


def test_the_containerfile_follows_the_rules_of_small_and_safe_images(tmp_path: Path) -> None:
    parser = DockerfileParser(str(tmp_path))  # it writes into its folder
    parser.content = (DEPLOY / "Containerfile").read_text()
    steps = [
        (step["instruction"], step["value"]) for step in parser.structure if step["instruction"] != "COMMENT"
    ]
    last = max(index for index, (name, _) in enumerate(steps) if name == "FROM")
    assert all(":" in value for name, value in steps if name == "FROM"), "a base without a version"
    assert not [name for name, _ in steps if name in ("ADD", "MAINTAINER")]
    assert all(json.loads(value) for name, value in steps if name in ("ENTRYPOINT", "CMD")), (
        "no shell between"
    )
    for name, value in steps:
        if name == "RUN" and "apt-get install" in value:
            assert "--no-install-recommends" in value
            assert "rm -rf /var/lib/apt/lists" in value
        if name == "RUN" and "pip install" in value:
            assert "--no-cache-dir" in value
    copies = [value for name, value in steps[last:] if name == "COPY"]
    assert copies == ["--from=build /opt/rasterloom /opt/rasterloom"], "sources stay in the first stage"


def test_the_image_is_built_of_what_is_there_and_lets_nothing_else_in() -> None:
    wanted = set()
    for words in re.findall(
        r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE
    ):
        wanted |= set(words.split())
    assert wanted
    assert [name for name in wanted if not (ROOT / name).exists()] == []
    ignored = (DEPLOY / "Containerfile.dockerignore").read_text().splitlines()
    assert ignored[[line.startswith("#") for line in ignored].index(False)] == "*", (
        "all is out but what is named"
    )
    assert {line[1:] for line in ignored if line.startswith("!")} == wanted
    assert "**/*.pem" in ignored


def test_a_linter_of_node_finds_nothing_in_the_containerfile(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "Containerfile", tmp_path / "good")
    (tmp_path / "bad").write_text("FROM debian\nRUN apt-get install curl\n")
    said = {}
    for name in ("good", "bad"):
        words = (tool("npx"), "--yes", "dockerfilelint", "--output", "json", name)
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        if not done.stdout.lstrip().startswith("{"):
            pytest.skip(f"needs dockerfilelint, which npx cannot fetch: {done.stderr[-200:]}")
        said[name] = json.loads(done.stdout)["totalIssues"]
    assert said["good"] == 0
    assert said["bad"] > 0, "it sees what is wrong"


def test_a_linter_finds_nothing_in_the_containerfile() -> None:
    # DL3008: versions of Debian's packages, which vanish with the next release of each.
    run(tool("hadolint"), "--ignore", "DL3008", DEPLOY / "Containerfile")


# Machines


@pytest.fixture(scope="module")
def cloud_schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The schema that cloud-init's Debian package brings, which is fetched and unpacked, not installed."""
    places = [Path("/"), tmp_path_factory.mktemp("debian")]
    inside = "usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json"
    if not (places[0] / inside).exists():
        apt, unpack = tool("apt-get"), tool("dpkg-deb")
        subprocess.run(
            [apt, "download", "-qq", "cloud-init"],
            cwd=places[1],
            capture_output=True,
            timeout=60,
            check=False,
        )
        for package in places[1].glob("*.deb"):
            run(unpack, "-x", package, places[1])
    found = [place / inside for place in places if (place / inside).exists()]
    if not found:
        pytest.skip("needs Debian's package cloud-init, or the network to fetch it from")
    schema: dict[str, Any] = json.loads(found[0].read_text())
    return schema


@pytest.mark.parametrize("role", ["scheduler", "worker"])
def test_the_user_data_fits_the_schema_of_cloud_init(role: str, cloud_schema: dict[str, Any]) -> None:
    checker = jsonschema.Draft4Validator(cloud_schema)
    told = cloud_init(role)
    assert [error.message for error in checker.iter_errors(told)] == []
    assert list(checker.iter_errors(told | {"write_files": [{"pathe": "/etc/x"}]})), "it sees what is wrong"


@pytest.mark.parametrize(
    ("role", "unit"),
    [("scheduler", "rasterloom-scheduler.service"), ("worker", "rasterloom-worker@.service")],
)
def test_the_user_data_carries_the_units_and_the_script_as_they_are(role: str, unit: str) -> None:
    files = {Path(file["path"]).name: file["content"] for file in cloud_init(role)["write_files"]}
    assert files[unit] == (DEPLOY / "systemd" / unit).read_text()
    assert files["rasterloom-install"] == (DEPLOY / "cloud-init/install.sh").read_text()
    assert f"ROLE={role}\n" in files["install.env"]
    size = len((DEPLOY / f"cloud-init/{role}.yaml").read_bytes())
    assert size < 16_384, "more than AWS takes as user data"


def test_the_units_are_what_systemd_understands(tmp_path: Path) -> None:
    verify = tool("systemd-analyze")
    copies = []
    for unit in UNITS:
        # an instance of the template, and a program that is there
        copies.append(tmp_path / unit.name.replace("@.", "@0."))
        copies[-1].write_text(
            unit.read_text().replace("/opt/rasterloom/bin", str(Path(sys.executable).parent))
        )
    told = run(verify, "verify", "--man=no", *copies)
    assert [line for line in told.splitlines() if "rasterloom" in line] == []


def test_a_misspelt_line_of_a_unit_is_noticed(tmp_path: Path) -> None:
    verify = tool("systemd-analyze")
    unit = tmp_path / "rasterloom-scheduler.service"
    unit.write_text(UNITS[0].read_text().replace("KillMode=mixed", "KilMode=mixed"))
    done = subprocess.run([verify, "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    assert "KilMode" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_shell_scripts_parse_and_are_in_one_format(script: Path) -> None:
    run(Path(sys.executable).with_name("shfmt"), "-d", "-i", "2", "-ci", script)
    run("bash", "-n", script)
    # E003 and E006: how far lines are set in, and how long they are, is for shfmt to say
    run(Path(sys.executable).with_name("bashate"), "-i", "E003,E006", script)
    assert re.search(r"^set -eu", script.read_text(), re.MULTILINE), "goes on after an error"
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_linter_finds_nothing_in_the_shell_scripts(script: Path) -> None:
    run(tool("shellcheck"), script)


# Terraform


def test_the_terraform_module_parses_and_names_what_it_declares() -> None:
    text = "\n".join(path.read_text() for path in TERRAFORM)
    parsed = [hcl2.loads(path.read_text()) for path in TERRAFORM]
    declared = {name.strip('"') for file in parsed for block in file.get("variable", ()) for name in block}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared
    resources = {
        f"{kind}.{name}".replace('"', "")
        for file in parsed
        for block in file.get("resource", ())
        for kind, body in block.items()
        for name in body
    }
    mentioned = {".".join(found) for found in re.findall(r"(?<![.\w])(aws_\w+)\.(\w+)", text)}
    assert mentioned <= resources, "these are used and not declared"
    data = {".".join(found) for found in re.findall(r'^data "(\w+)" "(\w+)"', text, re.MULTILINE)}
    assert {".".join(found) for found in re.findall(r"\bdata\.(\w+)\.(\w+)", text)} == data


def test_every_variable_and_output_of_the_module_says_what_it_is() -> None:
    blocks = [
        (name, body)
        for path in TERRAFORM
        for kind in ("variable", "output")
        for block in hcl2.loads(path.read_text()).get(kind, ())
        for name, body in block.items()
    ]
    assert len(blocks) > 10
    assert [name for name, body in blocks if not body.get("description")] == []


def test_the_module_is_in_the_format_of_terraform() -> None:
    run(tool("terraform"), "fmt", "-check", "-diff", DEPLOY / "terraform")


@pytest.mark.parametrize(("role", "lines"), [("scheduler", 2), ("worker", 3)])
def test_the_module_fills_in_lines_that_are_in_the_user_data(role: str, lines: int) -> None:
    _, _, after = (DEPLOY / "terraform/main.tf").read_text().partition(f"{role}_config = ")
    filling = after.split("_config = ")[0].split("\n}")[0]
    looked_for = re.findall(r'^\s*"([^"]+)", "', filling, re.MULTILINE)
    assert len(looked_for) == lines
    text = (DEPLOY / f"cloud-init/{role}.yaml").read_text()
    assert [line for line in looked_for if text.count(line) != 1] == []
