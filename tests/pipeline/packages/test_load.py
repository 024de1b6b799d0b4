import json
import pickle
import shutil
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from rasterloom.models.errors import MissingInputError, PackageError
from rasterloom.pipeline.packages.archive import write_archive
from rasterloom.pipeline.packages.load import build_model, load_package


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the saved folder, to be spoilt."""
    return shutil.copytree(saved.with_suffix(""), tmp_path / "fields")


def _zipped(folder):
    path = folder.with_name("spoilt.dlpk")
    write_archive(path, {f.relative_to(folder).as_posix(): f for f in folder.rglob("*") if f.is_file()})
    return path


def _edit(folder, **changes):
    emd = json.loads((folder / "fields.emd").read_text())
    emd.update(changes)
    (folder / "fields.emd").write_text(json.dumps(emd))


def test_all_forms_of_a_package_are_the_same_model(saved, model):
    folder = saved.with_suffix("")
    found = [load_package(path) for path in (saved, folder, folder / "fields.emd", str(saved))]
    assert len({package.digest for package in found}) == 1
    assert all(package.spec == model.spec for package in found)
    assert found[0].history == model.history
    for package in found:
        assert all(torch.equal(t, model.network.state_dict()[name]) for name, t in package.tensors().items())


def test_the_ending_may_be_left_off_and_a_name_is_looked_for_in_models(saved, tmp_path):
    (tmp_path / "models").mkdir()
    shutil.copy(saved, tmp_path / "models")
    assert load_package("fields", working_dir=tmp_path).digest == load_package(saved).digest
    assert load_package(tmp_path / "models" / "fields").digest == load_package(saved).digest


def test_the_digest_tells_weights_and_settings_apart(saved, folder):
    weights = folder / "fields.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    assert load_package(folder).digest != load_package(saved).digest


def test_a_built_model_predicts_and_remembers_its_training(saved, model):
    built = build_model(load_package(saved))
    assert built.history == model.history
    assert not built.network.training
    assert built.data is None
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(built.network(images), model.network.eval()(images))


def test_a_bare_state_dictionary_is_read_too(folder, model):
    (folder / "fields.safetensors").unlink()
    torch.save(model.network.state_dict(), folder / "fields.pth")
    _edit(folder, ModelFile=".\\fields.pth")
    for path in (folder, _zipped(folder)):
        assert build_model(load_package(path)).spec == model.spec


@pytest.mark.parametrize("path", ["nowhere.dlpk", "nowhere", "x" * 5000])
def test_what_is_not_there_is_said_to_be_missing_or_unreadable(path, tmp_path):
    with pytest.raises((MissingInputError, PackageError), match=r"is not there|cannot be read"):
        load_package(tmp_path / path)


class _Payload:
    def __reduce__(self):
        return (pytest.fail, ("code of the package was run",))


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_a_pickle_that_would_run_code_is_refused_by_name(folder, form):
    (folder / "fields.safetensors").unlink()
    torch.save({"weight": _Payload()}, folder / "fields.pth")
    _edit(folder, ModelFile="fields.pth")
    package = load_package(folder if form == "folder" else _zipped(folder))
    with pytest.raises(PackageError, match=r"fields\.pth is refused: it holds more than tensors"):
        package.tensors()


def test_a_script_in_the_package_is_never_run(folder):
    (folder / "ArcGISImageClassifier.py").write_text("raise SystemExit('ran')")
    build_model(load_package(_zipped(folder)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "fields.safetensors").write_bytes(b"123"), "weights are damaged"),
        (lambda f: (f / "fields.safetensors").write_bytes(b""), "weights are damaged"),
        (
            lambda f: save_file({"a": torch.zeros(1)}, f / "fields.safetensors"),
            "contradicts itself: .*missing",
        ),
    ],
)
@pytest.mark.parametrize("form", ["folder", "archive"])
def test_weights_that_are_damaged_or_foreign_are_told(folder, spoil, message, form):
    spoil(folder)
    with pytest.raises(PackageError, match=message):
        build_model(load_package(folder if form == "folder" else _zipped(folder)))


def test_a_tensor_of_the_wrong_shape_is_named(folder, model):
    state = {**model.network.state_dict(), "segmentation_head.0.bias": torch.zeros(9)}
    save_file(state, folder / "fields.safetensors")
    with pytest.raises(PackageError, match=r"segmentation_head\.0\.bias is \(9,\) and should be \(4,\)"):
        build_model(load_package(folder))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "fields.safetensors").unlink(), "lacks"),
        (lambda f: (f / "fields.emd").unlink(), "holds 0 .emd files"),
        (lambda f: (f / "other.emd").write_text("{}"), "holds 2 .emd files"),
        (lambda f: (f / "fields.emd").write_text("{"), "is no JSON"),
        (lambda f: (f / "fields.emd").write_text("{}"), "not written by rasterloom"),
        (lambda f: _edit(f, ModelFile="../fields.safetensors"), "no path inside the package"),
        (lambda f: _edit(f, ModelFile="model_metrics.html"), "which cannot be read"),
    ],
)
@pytest.mark.parametrize("form", ["folder", "archive"])
def test_a_package_that_is_not_whole_says_what_is_wrong(folder, spoil, message, form):
    spoil(folder)
    with pytest.raises(PackageError, match=message):
        load_package(folder if form == "folder" else _zipped(folder))


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    secret = tmp_path / "secret.safetensors"
    (folder / "fields.safetensors").rename(secret)
    (folder / "fields.safetensors").symlink_to(secret)
    with pytest.raises(PackageError, match="leads out of its folder"):
        load_package(folder)


def test_files_that_are_something_else_are_refused(tmp_path):
    path = tmp_path / "model.dlpk"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(PackageError, match="no whole zip file"):
        load_package(path)
    with zipfile.ZipFile(path, "w") as empty:
        empty.writestr("readme.txt", "hello")
    with pytest.raises(PackageError, match=r"holds 0 \.emd files"):
        load_package(path)


def test_a_package_can_be_sent_to_another_process(saved):
    package = load_package(saved)
    assert pickle.loads(pickle.dumps(package)).digest == package.digest
