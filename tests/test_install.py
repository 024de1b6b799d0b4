"""The wheel is what the folders hold, and works without them."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("cluster", "models", "pipeline")
SHIPPED = {".py", ".html"}
NAMED = {"py.typed", "dask.yaml"}
DEPLOYED = ROOT / "cluster/deploy"  # for machines, not for Python: it stays in the repository

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
from importlib.metadata import entry_points, version
for root in ("rasterloom.cluster", "rasterloom.models", "rasterloom.pipeline"):
    package = importlib.import_module(root)
    for found in pkgutil.walk_packages(package.__path__, root + "."):
        if not found.name.endswith(".__main__"):
            importlib.import_module(found.name)
(script,) = entry_points(group="console_scripts", name="rasterloom")
assert callable(script.load())
print(version("rasterloom"))
print(*sorted({m.__file__ for n, m in sys.modules.items() if n.startswith("rasterloom.")}), sep="\\n")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that RASTERLOOM_WHEEL names, or one built here from a copy of the sources."""
    if named := os.environ.get("RASTERLOOM_WHEEL"):
        return Path(named)
    folder = tmp_path_factory.mktemp("wheel")
    # a copy, because setuptools leaves build/ beside the sources, and takes what an older build left there
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=folder, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_folders_and_nothing_else(wheel: Path) -> None:
    expected = {
        f"rasterloom/{path.relative_to(ROOT).as_posix()}"
        for name in FOLDERS
        for path in (ROOT / name).rglob("*")
        if path.suffix in SHIPPED or path.name in NAMED
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == expected
    assert {f"rasterloom/{name}/py.typed" for name in FOLDERS} <= held


def test_everything_in_the_folders_is_shipped() -> None:
    files = (path for name in FOLDERS for path in (ROOT / name).rglob("*") if path.is_file())
    strange = [
        str(path.relative_to(ROOT))
        for path in files
        if path.suffix not in SHIPPED
        and path.name not in NAMED
        and "__pycache__" not in path.parts
        and DEPLOYED not in path.parents
    ]
    assert not strange, "no rule in pyproject.toml's package-data takes these into the wheel"


def test_the_installed_wheel_imports_without_the_source_folders(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv/bin/python"
    site = tmp_path / f"venv/lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # which is all that installing a pure wheel does
    # The dependencies come from this environment. As a path entry it does not read its .pth files,
    # so the editable install of rasterloom in it stays out of sight.
    environment = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")}
    done = subprocess.run(
        [python, "-c", f"import sys; sys.path.insert(0, {str(site)!r})\n{IMPORT_EVERYTHING}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    version, *files = done.stdout.splitlines()
    assert version == wheel.name.split("-")[1]
    assert files
    assert [file for file in files if not Path(file).is_relative_to(site)] == []
