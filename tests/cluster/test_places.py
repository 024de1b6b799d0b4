"""A folder is used the same way wherever it is."""

import errno
import importlib
import os
import pickle
import shutil
import sys
import threading
import uuid
from pathlib import Path

import pytest

from rasterloom.cluster.places import Place
from rasterloom.models.errors import MissingExtraError, SettingError


@pytest.fixture(params=["local", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "s3":
        return Place.of(request.getfixturevalue("bucket")) / "runs" / "one"
    if request.param == "memory":
        return Place.of(f"memory://{uuid.uuid4().hex}/one")
    return Place.of(tmp_path / "runs" / "one")


def test_what_was_written_is_read_and_listed(place: Place) -> None:
    assert place.names() == set()
    assert not place.exists("a.bin")
    place.write("a.bin", b"first")
    place.write("a.bin", b"second")
    (place / "below").write("b.bin", b"")
    assert place.read("a.bin") == b"second"
    assert (place / "below").read("b.bin") == b""
    assert place.names() == {"a.bin"}
    assert (place / "below").names() == {"b.bin"}
    assert place.exists("a.bin")
    assert not place.exists("below")


def test_a_file_is_uploaded_as_it_is(place: Place, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(os.urandom(300_000))
    place.upload("copy", source)
    assert place.read("copy") == source.read_bytes()
    assert place.names() == {"copy"}


def test_what_is_not_there_says_so(place: Place) -> None:
    with pytest.raises(FileNotFoundError):
        place.read("a.bin")
    with pytest.raises(FileNotFoundError):
        (place / "deeper").read("a.bin")


def test_removing_takes_what_is_named_and_no_more(place: Place) -> None:
    beside = Place.of(place.url + "-beside")
    for folder in (place, place / "x" / "y", beside):
        folder.write("a", b"1")
        folder.write("b", b"2")
    place.remove("a")
    place.remove("a")
    assert place.names() == {"b"}
    place.remove_all()
    place.remove_all()
    assert place.names() == (place / "x" / "y").names() == set()
    assert beside.names() == {"a", "b"}


def test_a_place_travels_as_nothing_but_its_address(place: Place) -> None:
    place.write("a", b"1")
    sent = pickle.dumps(place)
    assert pickle.loads(sent).read("a") == b"1"
    assert pickle.loads(sent) == place
    assert len(sent) < 300
    assert b"secret" not in sent.lower()


def test_many_threads_write_and_read_at_once(place: Place) -> None:
    def work(number: int) -> None:
        place.write(f"{number}", bytes([number]))
        assert place.read(f"{number}") == bytes([number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert place.names() == {str(number) for number in range(12)}


def test_other_processes_writes_are_seen_at_once(bucket: str) -> None:
    import s3fs

    place = Place.of(bucket) / "run"
    place.write("a", b"1")
    assert place.names() == {"a"}
    s3fs.S3FileSystem(skip_instance_cache=True).pipe_file(f"{place.url}/b", b"2")
    assert place.names() == {"a", "b"}
    assert place.exists("b")


def test_a_store_that_does_not_answer_is_an_os_error(
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with pytest.raises(OSError, match="s3://") as caught:
        Place.of(bucket).read("a")
    assert "not-so-secret" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_an_os_error(bucket: str) -> None:
    gone = Place.of(f"{bucket}-gone") / "run"
    with pytest.raises(OSError, match="bucket"):
        gone.write("a", b"1")
    assert gone.names() == set()


def test_a_full_disk_leaves_what_stood_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place.of(tmp_path)
    place.write("a", b"old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as target:
            target.write(data[:1])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        place.write("a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert place.read("a") == b"old"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("S3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket", "s3://bucket"),
        ("file:///data/x", "/data/x"),
        ("/data/x/", "/data/x"),
        (Path("/data/x"), "/data/x"),
    ],
)
def test_addresses_are_brought_into_one_form(given: str | Path, url: str) -> None:
    assert Place.of(given).url == url
    assert Place.of(Place.of(given)).url == url


def test_a_relative_path_begins_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Place.of("out/run").path == tmp_path / "out" / "run"
    with pytest.raises(SettingError, match="relative"):
        Place("out/run")


def test_gdal_opens_what_a_place_holds() -> None:
    assert Place.of("/data/x").gdal("a.tif") == "/data/x/a.tif"
    assert Place.of("s3://bucket/x").gdal("a.tif") == "/vsis3/bucket/x/a.tif"
    assert Place.of("gs://bucket").gdal("a.tif") == "/vsigs/bucket/a.tif"
    assert Place.of("abfs://container/x").gdal("a.tif") == "/vsiaz/container/x/a.tif"
    assert Place.of("https://host/x").gdal("a.tif") == "/vsicurl/https://host/x/a.tif"
    with pytest.raises(SettingError, match="GDAL cannot read memory://"):
        Place.of("memory://x").gdal("a.tif")


def test_only_a_local_place_has_a_path_and_free_space(tmp_path: Path) -> None:
    assert Place.of(tmp_path / "a" / "b").path == tmp_path / "a" / "b"
    free = Place.of(tmp_path / "a" / "b").free_bytes()
    assert free is not None
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    assert Place.of("s3://bucket/x").free_bytes() is None
    with pytest.raises(SettingError, match="no folder of this machine"):
        _ = Place.of("s3://bucket/x").path


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("s3://key:secret@bucket/x", "in the environment"),
        ("https://host/x?token=secret", "in the environment"),
        ("s3:///x", "names no bucket"),
    ],
)
def test_an_address_that_cannot_work_is_refused_without_repeating_secrets(given: str, words: str) -> None:
    with pytest.raises(SettingError, match=words) as caught:
        Place.of(given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("whole", ["/", "s3://bucket", "memory://x"])
def test_a_whole_disk_or_bucket_is_never_removed(whole: str) -> None:
    with pytest.raises(SettingError, match="whole disk or bucket"):
        Place.of(whole).remove_all()


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = importlib.import_module("fsspec.registry")
    monkeypatch.delitem(loaded._registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"rasterloom\[s3\]"):
        Place.of("s3://bucket/x").read("a")
    with pytest.raises(SettingError, match="nobody knows nowhere://"):
        Place.of("nowhere://bucket/x").read("a")
