from pathlib import Path

import pytest

from rasterloom.models.errors import OutputError, OutputExistsError, SettingError
from rasterloom.pipeline.packages import save
from rasterloom.pipeline.packages.archive import Archive
from rasterloom.pipeline.packages.load import load_package
from rasterloom.pipeline.packages.save import save_package

MEMBERS = [
    "ArcGISImageClassifier.py",
    "ModelCharacteristics/loss_graph.png",
    "fields.emd",
    "fields.safetensors",
    "model_metrics.html",
]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_and_the_file_hold_the_same(saved):
    assert _names(saved.parent) == ["fields", "fields.dlpk"]
    folder = saved.with_suffix("")
    with Archive(saved) as archive:
        assert archive.names == MEMBERS
        assert all(archive.read(name) == (folder / name).read_bytes() for name in MEMBERS)


def test_equal_models_give_equal_bytes(saved, model, tmp_path):
    assert save_package(model, tmp_path / "fields").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("name", ["v1.2", "v1.2.dlpk", "v1.2.emd", "new/folder/v1.2"])
def test_the_last_part_of_the_path_is_the_name_whatever_dots_it_has(model, tmp_path, name):
    path = save_package(model, tmp_path / name)
    assert path.name == "v1.2.dlpk"
    assert (path.parent / "v1.2" / "v1.2.emd").is_file()


def test_a_name_alone_goes_to_models_in_the_working_folder_and_a_file_name_here(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert save_package(model, "a", working_dir=tmp_path / "data") == tmp_path / "data" / "models" / "a.dlpk"
    assert save_package(model, "b.dlpk", working_dir=tmp_path / "data") == tmp_path / "b.dlpk"
    assert save_package(model, "c") == tmp_path / "c.dlpk"
    with pytest.raises(SettingError, match="names no model"):
        save_package(model, "")


def test_what_exists_is_kept_unless_overwrite(model, tmp_path):
    first = save_package(model, tmp_path / "m")
    before = first.read_bytes()
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        save_package(model, tmp_path / "m")
    assert first.read_bytes() == before
    (tmp_path / "m" / "stale.txt").write_text("old")
    save_package(model, tmp_path / "m", overwrite=True, save_inference_file=False)
    assert _names(tmp_path / "m") == ["ModelCharacteristics", "m.emd", "m.safetensors", "model_metrics.html"]
    assert "InferenceFunction" not in load_package(first).emd
    assert _names(tmp_path) == ["m", "m.dlpk"]


def test_a_folder_that_is_no_model_is_never_replaced(model, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"1")
    with pytest.raises(OutputExistsError, match="left alone"):
        save_package(model, tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "me.jpg").exists()


def test_a_full_disk_leaves_nothing_behind(model, tmp_path, monkeypatch):
    def full(path, members):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(save, "write_archive", full)
    with pytest.raises(OutputError, match=r"No space left.*room for two copies"):
        save_package(model, tmp_path / "m")
    assert _names(tmp_path) == []


def test_a_failed_overwrite_keeps_the_old_package(model, saved, tmp_path, monkeypatch):
    path = save_package(model, tmp_path / "m")
    before = load_package(path).digest

    def full(path, members):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(save, "write_archive", full)
    with pytest.raises(OutputError):
        save_package(model, tmp_path / "m", overwrite=True)
    assert load_package(path).digest == load_package(tmp_path / "m").digest == before


def test_a_place_that_cannot_be_a_folder_is_told(model, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="must be writable"):
        save_package(model, tmp_path / "file" / "m")


def test_the_memory_layout_of_the_training_does_not_matter(saved, tmp_path):
    import torch

    from rasterloom.pipeline.packages.load import build_model

    again = build_model(load_package(saved))
    again.network.to(memory_format=torch.channels_last)
    assert save_package(again, tmp_path / "fields").read_bytes() == saved.read_bytes()
