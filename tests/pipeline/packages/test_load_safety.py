"""Packages of strangers: what could do harm is refused by the name of the member, and never run."""

import io
import json
import shutil
import stat
import zipfile

import pytest
import torch

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.inference.models import load_staged, staged_model
from rasterloom.pipeline.packages import finding, load
from rasterloom.pipeline.packages.archive import write_archive
from rasterloom.pipeline.packages.load import build_model, load_package
from rasterloom.pipeline.packages.save import save_package

RUN = "import pytest\npytest.fail('code of the package was run')\n"


class _Payload:
    def __reduce__(self):
        return (pytest.fail, ("code of the package was run",))


class _Evil:
    """A model that keeps code in its package, and is built by reading it."""

    read: bytes = b""

    @classmethod
    def from_package(cls, package, trust):
        cls.read = package.member("ModelConfiguration.py")
        return load._from_weights(package)


@pytest.fixture
def folder(saved, tmp_path):
    """A saved folder, to be spoilt."""
    return shutil.copytree(saved.with_suffix(""), tmp_path / "fields")


@pytest.fixture
def with_code(model, tmp_path, monkeypatch):
    """A package that is made of code, and the class that reads it."""
    monkeypatch.setattr(type(model), "package_files", lambda self: {"ModelConfiguration.py": RUN.encode()})
    monkeypatch.setattr(type(model), "from_package", _Evil.from_package, raising=False)
    return save_package(model, tmp_path / "coded")


def _zipped(folder, **changes):
    """The folder as an archive, with further or other members."""
    members = {f.relative_to(folder).as_posix(): f for f in folder.rglob("*") if f.is_file()}
    path = folder.with_name("spoilt.dlpk")
    write_archive(path, {**members, **changes})
    return path


def _edit(folder, **changes):
    emd = json.loads((folder / "fields.emd").read_text())
    for key, value in changes.items():
        target = emd["Rasterloom"] if key in ("Files", "Optimizer") else emd
        target[key] = value
    (folder / "fields.emd").write_text(json.dumps(emd))
    return folder


def _pickle_payload(folder):
    buffer = io.BytesIO()
    torch.save({"weight": _Payload()}, buffer)
    _edit(folder, ModelFile="fields.pth")
    return _zipped(folder, **{"fields.pth": buffer.getvalue()})


def _slip(folder):
    return _zipped(folder, **{"../../evil.py": RUN.encode()})


def _absolute(folder):
    return _zipped(folder, **{"/tmp/evil.py": RUN.encode()})


def _bomb(folder):
    path = _zipped(folder)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("padding.bin", bytes(50 * 2**20))
    return path


def _link(folder):
    path = _zipped(folder)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("linked.safetensors")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, b"/etc/passwd")
    return path


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_pickle_payload, r"fields\.pth is refused: it holds more than tensors"),
        (_slip, r"'\.\./\.\./evil\.py', which is no path inside"),
        (_absolute, r"'/tmp/evil\.py', which is no path inside"),
        (_bomb, r"'padding\.bin' unpacks to \d+ times"),
        (_link, r"'linked\.safetensors' is a link"),
        (lambda f: _zipped(_edit(f, ModelFile="/etc/passwd")), r"'/etc/passwd', which is no path inside"),
        (lambda f: _zipped(_edit(f, ModelFile="..\\..\\w.pth")), r"w\.pth', which is no path inside"),
        (lambda f: _edit(f, ModelFile="/etc/passwd"), r"'/etc/passwd', which is no path inside"),
        (lambda f: _edit(f, Files=["../evil.py"]), r"'\.\./evil\.py', which is no path inside"),
        (lambda f: _zipped(_edit(f, Files=[7])), "7, which is no path inside"),
        (lambda f: _edit(f, Files=3), "cannot be read"),
        (lambda f: _edit(f, Optimizer="/root/o.pth"), r"'/root/o\.pth', which is no path inside"),
        (lambda f: _zipped(_edit(f, Files=["run.py"]), **{"run.py": RUN.encode()}), r"is made of run\.py"),
    ],
)
def test_a_malicious_package_is_refused_by_the_name_of_the_member(folder, spoil, message):
    path = spoil(folder)
    with pytest.raises(PackageError, match=message):
        build_model(load_package(path))


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_a_huge_description_is_refused_before_it_is_read(folder, form, monkeypatch):
    monkeypatch.setattr(finding, "MOST_EMD_BYTES", 1000)
    path = folder if form == "folder" else _zipped(folder)
    with pytest.raises(PackageError, match=r"fields\.emd.*1000"):
        load_package(path)


def test_code_that_is_not_declared_is_not_given_out_either(folder):
    path = _zipped(folder, **{"ModelConfiguration.py": RUN.encode()})
    with pytest.raises(PackageError, match=r"made of ModelConfiguration\.py.*trust=True"):
        load_package(path).member("ModelConfiguration.py")
    assert load_package(path, trust=True).member("ModelConfiguration.py") == RUN.encode()
    assert b"<html" in load_package(path).member("model_metrics.html")


def test_a_model_with_code_is_built_by_its_class_where_the_package_is_trusted(with_code):
    for path in (with_code, with_code.with_suffix("")):
        with pytest.raises(PackageError, match=r"made of ModelConfiguration\.py"):
            build_model(load_package(path))
        package = load_package(path, trust=True)
        assert package.needs_trust
        build_model(package)
        assert _Evil.read == RUN.encode()
        _Evil.read = b""


def test_a_model_with_code_goes_to_the_workers_with_it_only_where_it_is_trusted(with_code, tmp_path):
    with pytest.raises(PackageError, match=r"made of ModelConfiguration\.py"), staged_model(with_code):
        pass
    with staged_model(with_code, trust=True) as staged:
        placed = staged.place(tmp_path / "run")
    load_staged(placed)
    assert _Evil.read == RUN.encode()
    _Evil.read = b""


def test_other_code_makes_another_model(with_code, model, tmp_path, monkeypatch):
    first = load_package(with_code).digest
    monkeypatch.setattr(type(model), "package_files", lambda self: {"ModelConfiguration.py": b"x = 1\n"})
    assert load_package(save_package(model, tmp_path / "other")).digest != first


@pytest.mark.parametrize("name", ["../up.py", "/up.py", "a/../../up.py"])
def test_a_model_cannot_write_beside_its_package(model, tmp_path, monkeypatch, name):
    monkeypatch.setattr(type(model), "package_files", lambda self: {name: b"x"})
    with pytest.raises(PackageError, match="no path inside the package"):
        save_package(model, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_package_of_other_software_is_told_from_ours(folder):
    emd = {
        "Framework": "arcgis.learn.models._inferencing",
        "ModelName": "UnetClassifier",
        "ModelFile": ".\\fields.pth",
        "ExtractBands": "e.g. [0, 1, 2]",
    }
    (folder / "fields.emd").write_text(json.dumps(emd))
    torch.save({"layers.0.0.weight": torch.zeros(1)}, folder / "fields.pth")
    with pytest.raises(PackageError, match=r"not written by rasterloom.*arcgis\.learn.*UnetClassifier"):
        load_package(folder)


def test_weights_with_the_names_of_other_software_are_told(folder):
    torch.save({"layers.0.0.weight": torch.zeros(1)}, folder / "fields.pth")
    with pytest.raises(PackageError, match=r"contradicts itself: .*unknown: layers\.0\.0\.weight"):
        build_model(load_package(_zipped(_edit(folder, ModelFile="fields.pth"))))
