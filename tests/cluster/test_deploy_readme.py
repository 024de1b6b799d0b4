"""What the page for those who run the machines says is so."""

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "cluster/deploy"
README = (DEPLOY / "README.md").read_text()
GAP = "\0"


def section(title: str) -> str:
    """The text under a heading."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    lines = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def literal(node: ast.expr) -> str | None:
    """A text as it stands in the code, with a gap for what is filled in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) or GAP for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return GAP
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return f"{literal(node.left) or GAP}{literal(node.right) or GAP}"
    return None


@cache
def texts() -> list[str]:
    """Every text of the code."""
    found = []
    for room in ("cluster", "models", "pipeline"):
        for path in (ROOT / room).rglob("*.py"):
            nodes = ast.walk(ast.parse(path.read_text()))
            found += [text for node in nodes if isinstance(node, ast.expr) and (text := literal(node))]
    return found


def said(message: str) -> bool:
    """Whether the code can say a message in which ... stands for what is filled in."""
    pattern = re.compile(".*".join(re.escape(part.strip()) for part in message.split("...")), re.DOTALL)
    return any(pattern.search(text) for text in texts())


TROUBLES = [re.fullmatch(r"`(.+)`", row[0]) for row in rows(section("When something does not work"))]


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda found: found[1][:40] if found else "none")
def test_every_message_of_the_table_is_one_that_the_code_can_say(trouble: re.Match[str] | None) -> None:
    assert trouble is not None
    assert said(trouble[1])


def test_a_message_that_nothing_says_is_noticed() -> None:
    assert len(TROUBLES) > 10
    assert not said("No Dask scheduler answers at ... because it is tired")


def test_the_messages_of_dask_that_the_table_quotes_are_its_own() -> None:
    found = find_spec("distributed.worker_memory")
    assert found is not None
    assert found.origin is not None
    assert "exceeded 95% memory budget" in README
    assert "% memory budget" in Path(found.origin).read_text()


def test_the_files_of_the_first_table_are_all_there_are() -> None:
    named = {
        name for row in rows(README.split("## Keys first")[0]) for name in re.findall(r"`([^`]+)`", row[0])
    }
    missing = [name for name in named if not (DEPLOY / name).exists()]
    assert missing == []
    there = {path.name for path in DEPLOY.iterdir()}
    heads = {name.split("/")[0] for name in named} | {"README.md", "Containerfile.dockerignore"}
    assert there == heads


def test_the_ports_are_those_of_the_manifests() -> None:
    ports = {row[0] for row in rows(section("Ports"))}
    assert ports == {"8786", "9000-9063", "8787"}
    first, last = 9000, 9063
    assert f"--worker-ports {first}:{last}" in (DEPLOY / "systemd/rasterloom-worker@.service").read_text()
    firewall = (DEPLOY / "terraform/main.tf").read_text()
    assert re.search(rf"from_port\s+= {first}\n\s+to_port\s+= {last}\n", firewall)


def test_the_formula_of_memory_is_the_planners() -> None:
    from rasterloom.pipeline.inference import estimate

    written = section("How large?")
    (base,) = re.findall(r"base +([\d.]+) GiB", written)
    assert float(base) == round(estimate.BASE_BYTES / 2**30, 1)
    (formula,) = re.findall(r"cell +(\(side.*?)\n```", written, re.DOTALL)
    names = {"bytes of a value": "value", "bytes kept of a pixel": "kept", " where tiles are blended": ""}
    for words, name in names.items():
        formula = formula.replace(words, name)
    formula = " ".join(formula.split()).replace(" x ", " * ").replace("^", "**")
    given = {"side": 1000, "padding": 64, "bands": 4, "value": 2, "kept": 3, "classes": 5}
    plan = SimpleNamespace(
        cells=SimpleNamespace(side=1000, reach=0, padding=64),
        raster=SimpleNamespace(dtype="uint16"),
        bands=(1, 2, 3, 4),
        decision=SimpleNamespace(pixel_bytes=3),
        values=(1, 2, 3, 4, 5),
        arguments=SimpleNamespace(blend="linear"),
    )
    assert eval(formula, {}, given) == estimate._cell_bytes(plan)


def test_the_guide_names_every_kind_of_cluster_and_nothing_that_is_not_there() -> None:
    from rasterloom.cluster.targets import SCHEMES

    guide = (ROOT / "docs/clusters.md").read_text()
    assert set(re.findall(r'connect\("(\w+):', guide)) == {*SCHEMES, "tls"}
    assert [
        name for name in re.findall(r"`(cluster/deploy[\w./-]*)`", guide) if not (ROOT / name).exists()
    ] == []
