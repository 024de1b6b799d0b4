"""A package with a script of its own is found, looked over and brought to the workers whole."""

import json
import zipfile
from pathlib import Path

import pytest

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.inference.scripts import load_script, scripted, staged_script
from rasterloom.pipeline.packages.archive import write_archive
from rasterloom.pipeline.packages.model import Model
from rasterloom.pipeline.packages.save import save_package
from tests.support.functions import MEAN, SMOOTHING, THRESHOLD, pack, write_function
from tests.support.models import random_model


@pytest.fixture
def emd(tmp_path: Path) -> Path:
    path = write_function(
        tmp_path / "mean", "Mean", MEAN, beside={"smoothing.py": SMOOTHING}, ModelFile=".\\w.bin"
    )
    (path.parent / "w.bin").write_bytes(b"\0" * 100)
    return path


def test_description_folder_archive_and_bare_name_are_one_package(emd, tmp_path):
    archive = pack(emd)
    found = [scripted(one) for one in (emd, emd.parent, str(archive), emd.with_suffix(""))]
    assert len({files.digest for files in found}) == 1
    assert (found[0].script, found[0].emd_name) == ("Mean.py", "mean.emd")
    assert sorted(found[0].members) == ["Mean.py", "mean.emd", "smoothing.py", "w.bin"]


def test_what_is_staged_is_read_back_the_same(emd, tmp_path):
    files = scripted(emd)
    with staged_script(files) as staged:
        placed = staged.place(tmp_path / "run")
    assert load_script(placed).digest == files.digest
    Path(placed).write_bytes(Path(placed).read_bytes() + b" ")
    with pytest.raises(PackageError, match="not what this run put there"):
        load_script(placed)


def test_a_package_inside_a_folder_of_an_archive_keeps_its_paths(tmp_path):
    members = {
        "in/m.emd": json.dumps({"InferenceFunction": ".\\code\\Mean.py"}).encode(),
        "in/code/Mean.py": b"",
    }
    write_archive(tmp_path / "m.dlpk", members)
    files = scripted(tmp_path / "m.dlpk")
    assert (files.emd_name, files.script, files.class_name) == ("in/m.emd", "in/code/Mean.py", "Mean")


def test_a_description_at_the_root_comes_before_those_of_its_parts(emd):
    (emd.parent / "part").mkdir()
    (emd.parent / "part" / "inner.emd").write_text("{}")
    members = {
        file.relative_to(emd.parent).as_posix(): file for file in emd.parent.rglob("*") if file.is_file()
    }
    write_archive(emd.parent.with_suffix(".dlpk"), members)
    assert scripted(emd.parent.with_suffix(".dlpk")).digest == scripted(emd).digest


def test_packages_of_ours_are_run_as_networks_whatever_script_they_hold(tmp_path):
    package = save_package(random_model(), tmp_path / "unet", compute_metrics=False)
    assert zipfile.ZipFile(package).namelist().count("ArcGISImageClassifier.py") == 1
    assert scripted(package) is None
    assert scripted(package.with_suffix("")) is None


@pytest.mark.parametrize("model", ["nowhere.dlpk", "nowhere", 3, None])
def test_what_is_no_such_package_is_left_to_others(model, tmp_path):
    assert scripted(tmp_path / model if isinstance(model, str) else model) is None


@pytest.mark.parametrize(
    ("key", "name", "words"),
    [
        (
            "InferenceFunction",
            "../Mean.py",
            r"InferenceFunction names '\.\./Mean\.py', which is no path inside",
        ),
        ("InferenceFunction", "/tmp/Mean.py", "no path inside"),
        ("InferenceFunction", "C:\\code\\Mean.py", "no path inside"),
        ("InferenceFunction", "Other.py", r"lacks Other\.py, which its \.emd names as InferenceFunction"),
        ("ModelFile", "..\\..\\w.bin", r"ModelFile names .*no path inside"),
        ("ModelFile", "/etc/passwd", "no path inside"),
        ("ModelFile", "gone.pth", r"lacks gone\.pth, which its \.emd names as ModelFile"),
        ("InferenceFunction", "[Functions]System\\DeepLearning\\Mean.py", "ships with other software"),
    ],
)
def test_names_that_lead_out_or_nowhere_are_refused(key, name, words, emd):
    emd.write_text(json.dumps(json.loads(emd.read_text()) | {key: name}))
    for model in (emd, pack(emd)):
        with pytest.raises(PackageError, match=words):
            scripted(model)


def test_a_link_beside_the_description_is_refused_by_name(emd, tmp_path):
    (tmp_path / "secret").write_text("x")
    (emd.parent / "more.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(PackageError, match=r"more\.txt beside it is a link"):
        scripted(emd)


def test_a_member_that_climbs_out_is_refused_by_name(emd):
    archive = pack(emd)
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr("../evil.py", "")
    with pytest.raises(PackageError, match=r"\.\./evil\.py"):
        scripted(archive)


def test_a_folder_with_far_too_many_files_is_refused(tmp_path):
    emd = write_function(tmp_path / "many", "Threshold", THRESHOLD)
    for number in range(2001):
        (emd.parent / f"{number}.txt").touch()
    with pytest.raises(PackageError, match="folder of its own"):
        scripted(emd)


def test_a_package_in_an_object_store_is_read_whole(emd, bucket):
    import fsspec

    archive = pack(emd)
    with fsspec.open(f"{bucket}/mean.dlpk", "wb") as target:
        target.write(archive.read_bytes())
    assert scripted(f"{bucket}/mean.dlpk").digest == scripted(archive).digest
    assert scripted(f"{bucket}/gone.dlpk") is None


def test_an_installed_package_is_found_by_its_name(emd, tmp_path, monkeypatch):
    monkeypatch.setenv("RASTERLOOM_REGISTRY", str(tmp_path / "registry"))
    (tmp_path / "registry").mkdir()
    installed = pack(emd).rename(tmp_path / "registry" / "smooth.dlpk")
    assert scripted("smooth").digest == scripted(installed).digest
    assert scripted(Model("smooth")).digest == scripted(Model(installed)).digest == scripted(installed).digest
    assert scripted("rough") is None
