"""A registry holds packages by name, in a folder or a bucket, each whole or not at all."""

import sys
from pathlib import Path

import pytest

from rasterloom.models.errors import MissingInputError, OutputError, OutputExistsError, SettingError
from rasterloom.pipeline.packages.registry import Registry


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "any.dlpk"
    path.write_bytes(b"a package")
    return path


@pytest.fixture(params=["folder", "bucket"])
def registry(request, tmp_path):
    if request.param == "folder":
        return Registry.of(tmp_path / "shelf")
    return Registry.of(f"{request.getfixturevalue('bucket')}/shelf")


def test_what_is_published_is_listed_read_and_removed(registry, file):
    assert registry.names() == []
    address = registry.publish(file, "roads v1.2")
    registry.publish(b"another", "Buildings")
    assert registry.names() == ["Buildings", "roads v1.2"]
    assert registry.holds("Buildings")
    assert registry.address("roads v1.2") == address
    assert registry.place.read("roads v1.2.dlpk") == b"a package"
    assert registry.remove("roads v1.2") == address
    assert registry.names() == ["Buildings"]


def test_a_name_that_is_taken_is_kept_unless_overwrite(registry, file):
    registry.publish(b"first", "roads")
    with pytest.raises(OutputExistsError, match=r"'roads' is installed in .*overwrite=True"):
        registry.publish(file, "roads")
    assert registry.place.read("roads.dlpk") == b"first"
    registry.publish(file, "roads", overwrite=True)
    assert registry.place.read("roads.dlpk") == b"a package"


def test_what_is_not_there_lists_what_is(registry):
    with pytest.raises(MissingInputError, match=r"no model 'roads' is installed in .*: it holds nothing"):
        registry.remove("roads")
    registry.publish(b"x", "fields")
    with pytest.raises(MissingInputError, match="it holds fields"):
        registry.address("roads")


@pytest.mark.parametrize(
    "name",
    ["", "../roads", "a/b", "a\\b", ".hidden", "roads.", "roads ", "a\0b", "x" * 129, "roads.dlpk", "C:x"],
)
def test_names_that_are_no_file_names_are_refused(tmp_path, name):
    registry = Registry.of(tmp_path / "shelf")
    with pytest.raises(SettingError, match="can be no model's name"):
        registry.publish(b"x", name)
    assert not registry.holds(name)
    assert not (tmp_path / "shelf").exists()


def test_other_files_are_no_models_and_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "folder.dlpk").mkdir()
    registry = Registry.of(tmp_path)
    registry.publish(b"x", "roads")
    assert registry.names() == ["roads"]
    registry.remove("roads")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_package_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    registry = Registry.of(tmp_path)
    registry.publish(b"first", "roads")
    real = Path.write_bytes

    def full(path, data):
        real(path, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rasterloom.cluster.places._write_whole", full)
    with pytest.raises(OutputError, match="No space left"):
        registry.publish(b"second", "other")
    monkeypatch.undo()
    assert registry.place.read("roads.dlpk") == b"first"


def test_readers_meet_a_whole_package_or_none_while_one_is_replaced(tmp_path):
    import threading

    registry = Registry.of(tmp_path)
    versions = [bytes([number]) * 1_000_000 for number in (1, 2)]
    registry.publish(versions[0], "roads")
    stop, seen = threading.Event(), set()

    def read():
        while not stop.is_set():
            seen.add(registry.place.read("roads.dlpk"))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(40):
        registry.publish(versions[number % 2], "roads", overwrite=True)
    stop.set()
    reader.join()
    assert seen <= set(versions)


def test_the_usual_registry_is_what_the_environment_names_else_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RASTERLOOM_REGISTRY", str(tmp_path / "team"))
    assert str(Registry.of(None)) == str(tmp_path / "team")
    monkeypatch.setenv("RASTERLOOM_REGISTRY", "s3://bucket/models/")
    assert str(Registry.of(None)) == "s3://bucket/models"
    monkeypatch.delenv("RASTERLOOM_REGISTRY")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert str(Registry.of(None)) == str(tmp_path / "data" / "rasterloom" / "models")
    assert not (tmp_path / "data").exists()
