"""The rules of the house that a machine can check. DESIGN.md gives their reasons."""

import ast
import importlib
import inspect
import json
import pickle
import re
import subprocess
import sys
import time
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from rasterloom.models import errors

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("rasterloom.models", "rasterloom.cluster", "rasterloom.pipeline")
SOURCES = sorted(path for name in ("cluster", "models", "pipeline") for path in (ROOT / name).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
EVERYTHING = [*SOURCES, *TESTS, *sorted((ROOT / "docs").rglob("*.py"))]
ERRORS = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, errors.RasterloomError)]

TORCH_FREE = (
    "models/contract.py",
    "models/catalog.py",
    "pipeline/__init__.py",
    "pipeline/cli/main.py",
    "pipeline/rasters/",
    "pipeline/labels/",
    "pipeline/store/",
    "pipeline/outputs/",
    "pipeline/seams/",
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("rasterloom", *parts)).removesuffix(".__init__")


def loaded_after(modules: list[str], suspects: set[str]) -> dict[str, list[str]]:
    """The first of ``modules`` that brings ``suspects`` into a fresh interpreter, and which; or {}."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        f"    found = sorted({suspects!r} & set(sys.modules))\n"
        "    if found:\n"
        "        print(json.dumps({name: found})); break\n"
        "else:\n"
        "    print('{}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


# The folders


def test_the_packages_in_pyproject_are_the_folders_that_hold_python_files() -> None:
    folders = {module_name(path.parent) for path in SOURCES}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == folders


def test_every_folder_of_python_files_says_what_it_is() -> None:
    folders = {path.parent for path in SOURCES}
    silent = [relative(f) for f in folders if not (f / "__init__.py").is_file()]
    assert not silent, "these lack an __init__.py with a docstring"


@pytest.mark.parametrize("path", EVERYTHING, ids=relative)
def test_a_file_holds_one_idea_in_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_nothing_is_named_after_no_idea_at_all() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "core", "misc"}
    assert [
        relative(path) for path in EVERYTHING if vague & {*path.with_suffix("").parts[len(ROOT.parts) :]}
    ] == []


def test_tests_mirror_the_files_they_test() -> None:
    mirrored = [path for path in TESTS if relative(path).split("/")[1] in ("cluster", "models", "pipeline")]
    strays = []
    for path in (path for path in mirrored if path.name.startswith("test_")):
        room = ROOT / path.parent.relative_to(ROOT / "tests")
        name = path.stem.removeprefix("test_")
        tested = [room.name, *(p.stem for p in room.iterdir() if p.is_dir() or p.suffix == ".py")]
        if not any(name == stem or name.startswith(f"{stem}_") for stem in tested):
            strays.append(relative(path))
    assert not strays, "call them test_<file or folder>.py, or test_<file>_<aspect>.py"


# What imports what


def test_the_import_layers_hold() -> None:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_import_layers_name_every_room() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    layers = {name for c in contracts for layer in c.get("layers", ()) for name in layer.split(" | ")}
    rooms = {
        module_name(path)
        for name in ("models", "pipeline")
        for path in (ROOT / name).iterdir()
        if (path.is_dir() and any(path.glob("*.py"))) or (path.suffix == ".py" and path.stem != "__init__")
    }
    assert rooms - layers == set(), "a room outside the layers may import anything"


def test_rooms_that_need_no_torch_do_not_load_it() -> None:
    modules = [module_name(path) for path in SOURCES if relative(path).startswith(TORCH_FREE)]
    assert len(modules) >= len(TORCH_FREE)
    assert loaded_after(modules, {"torch", "torchvision", "timm", "lightning"}) == {}


def test_models_load_no_raster_library_and_no_cluster() -> None:
    modules = [module_name(path) for path in SOURCES if relative(path).startswith("models/")]
    assert loaded_after(modules, {"dask", "distributed", "xarray", "zarr", "rasterio", "geopandas"}) == {}


def test_help_loads_neither_torch_nor_a_raster_library(capsys: pytest.CaptureFixture[str]) -> None:
    # The time is told, not judged: a busy machine would fail the test. What makes it slow is what it imports.
    entry = [sys.executable, "-c", "from rasterloom.pipeline.cli.main import main; main()", "--help"]
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        subprocess.run(entry, capture_output=True, check=True, timeout=60)
        seconds.append(time.perf_counter() - begin)
    with capsys.disabled():
        print(f"[rasterloom --help answers in {min(seconds):.2f} s]", end=" ")

    entry[1:1] = ["-X", "importtime"]
    done = subprocess.run(entry, capture_output=True, text=True, check=True, timeout=60)
    assert "export-training-data" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    heavy = {"torch", "lightning", "rasterio", "geopandas", "xarray", "zarr", "distributed", "matplotlib"}
    assert heavy & imported == set()


# The public names


@pytest.mark.parametrize("package", PACKAGES)
def test_the_public_names_are_exactly_those_listed(package: str) -> None:
    module = importlib.import_module(package)
    listed: dict[str, str] = module._PUBLIC
    assert sorted(module.__all__) == sorted(listed)
    assert sorted(name for name in dir(module) if not name.startswith("_")) == sorted(listed)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_see_the_public_names_that_are_listed(package: str) -> None:
    module = importlib.import_module(package)
    tree = ast.parse(Path(str(module.__file__)).read_text())
    (unseen,) = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    imports = [node for node in unseen.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in imports for alias in node.names} == module._PUBLIC


def public_objects() -> Iterator[tuple[str, str, object]]:
    for package in PACKAGES:
        module: ModuleType = importlib.import_module(package)
        for name, home in module._PUBLIC.items():
            yield f"{package}.{name}", home, getattr(module, name)


def test_every_public_name_leads_to_its_home() -> None:
    for name, home, thing in public_objects():
        assert getattr(importlib.import_module(home), name.rpartition(".")[2]) is thing, name
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__module__ == home, f"{name} is defined in {thing.__module__}"


def test_public_functions_and_classes_say_in_one_sentence_what_they_do() -> None:
    silent = []
    for name, _, thing in public_objects():
        methods = inspect.getmembers(thing, inspect.isfunction) if inspect.isclass(thing) else []
        own = [(f"{name}.{m}", f) for m, f in methods if not m.startswith("_") and is_ours(f)]
        for label, part in [(name, thing), *own]:
            first = (inspect.getdoc(part) or "").partition("\n\n")[0].strip()
            if not first.endswith((".", ":")):
                silent.append(label)
    assert not silent


def is_ours(thing: object) -> bool:
    return str(getattr(thing, "__module__", "")).startswith("rasterloom.")


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_every_file_opens_with_a_sentence(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert re.match(r"[A-Z`\"].*\.(\s|$)", docstring, re.DOTALL), (
        "the file's docstring is one sentence or more"
    )


# Errors


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.__name__)
def test_errors_take_one_string_and_survive_pickling(error: type[errors.RasterloomError]) -> None:
    raised = error("padding=256 leaves nothing")
    read_back = pickle.loads(pickle.dumps(raised))
    assert type(read_back) is error
    assert str(read_back) == str(raised) == "padding=256 leaves nothing"
    assert len(inspect.signature(error).parameters) == 1


@pytest.mark.parametrize("error", ERRORS[1:], ids=lambda e: e.__name__)
def test_errors_are_also_the_builtin_a_caller_would_catch(error: type[errors.RasterloomError]) -> None:
    builtin = [base for base in error.__mro__ if base.__module__ == "builtins"]
    assert builtin[0] is not Exception
    drawn = re.search(rf"── {error.__name__} +\((\w+)\)", errors.__doc__ or "")
    assert drawn, f"{error.__name__} is missing in the tree at the head of the file"
    assert drawn[1] == builtin[0].__name__


def test_errors_are_defined_in_one_tree() -> None:
    bases = {e.__name__ for e in ERRORS}
    elsewhere = [
        f"{relative(path)}: {node.name}"
        for path in SOURCES
        if relative(path) != "models/errors.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and bases & {b.id for b in node.bases if isinstance(b, ast.Name)}
    ]
    assert elsewhere == []


# Exceptions to the rules


SILENCED = re.compile(
    r"#\s*(noqa|type:\s*ignore|pragma:\s*no cover)\s*(?P<which>:\s*[A-Z0-9, ]*\d|\[[\w, -]+\])?(?P<why>.*)"
)


def test_every_silenced_rule_is_named_and_has_its_reason() -> None:
    without = []
    for path in EVERYTHING:
        with path.open("rb") as lines:
            comments = [t for t in tokenize.tokenize(lines.readline) if t.type == tokenize.COMMENT]
        for comment in comments:
            found = SILENCED.match(comment.string)
            named = found and (found["which"] or "pragma" in found[1])
            if found and not (named and len(re.findall(r"\w+", found["why"])) >= 3):
                without.append(f"{relative(path)}:{comment.start[0]}: {comment.string}")
    assert not without
