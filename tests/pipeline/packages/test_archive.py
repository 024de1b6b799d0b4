import stat
import time
import zipfile

import pytest

from rasterloom.models.errors import PackageError
from rasterloom.pipeline.packages import archive
from rasterloom.pipeline.packages.archive import Archive, write_archive


def _zip(path, members, *, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as target:
        for info, content in members:
            target.writestr(info, content)
    return path


def _files(folder, contents):
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def test_what_is_written_is_read_back_and_equal_files_give_equal_bytes(tmp_path):
    contents = {"b.emd": b"{}", "a.safetensors": bytes(range(256)) * 10_000}
    write_archive(tmp_path / "1.dlpk", _files(tmp_path / "x", contents))
    time.sleep(0.01)
    reversed_order = dict(reversed(contents.items()))
    write_archive(tmp_path / "2.dlpk", _files(tmp_path / "y", reversed_order))
    assert (tmp_path / "1.dlpk").read_bytes() == (tmp_path / "2.dlpk").read_bytes()
    with Archive(tmp_path / "1.dlpk") as found:
        assert found.names == sorted(contents)
        assert {name: found.read(name) for name in found.names} == contents


def test_a_file_on_disk_is_never_replaced(tmp_path):
    (tmp_path / "m.dlpk").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_archive(tmp_path / "m.dlpk", {})


@pytest.mark.parametrize("name", ["/etc/passwd", "../m.emd", "a/../../m.emd", "C:/m.emd", "\\\\host\\m.emd"])
def test_members_that_lead_out_of_the_package_are_refused_by_name(tmp_path, name):
    path = _zip(tmp_path / "m.dlpk", [(zipfile.ZipInfo(name), b"x")])
    with pytest.raises(PackageError, match="no path inside the package"):
        Archive(path)


def test_links_and_devices_are_refused(tmp_path):
    link = zipfile.ZipInfo("weights.safetensors")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(PackageError, match=r"'weights.safetensors' is a link"):
        Archive(_zip(tmp_path / "m.dlpk", [(link, b"/etc/passwd")]))


@pytest.mark.parametrize("second", ["m.emd", "M.EMD", "./m.emd"])
@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile warns about the attack that the test writes
def test_two_members_of_one_name_are_refused(tmp_path, second):
    with pytest.raises(PackageError, match="is there twice"):
        Archive(_zip(tmp_path / "m.dlpk", [("m.emd", b"1"), (second, b"2")]))


def test_encrypted_members_are_refused(tmp_path):
    path = _zip(tmp_path / "m.dlpk", [("m.emd", b"{}")])
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(PackageError, match=r"'m\.emd' is encrypted"):
        Archive(path)


def test_unknown_compression_is_refused(tmp_path):
    path = _zip(tmp_path / "m.dlpk", [("m.emd", b"{}")], method=zipfile.ZIP_LZMA)
    with pytest.raises(PackageError, match="neither stored nor deflated"):
        Archive(path)


def test_a_member_that_swells_like_a_bomb_is_refused(tmp_path):
    path = _zip(tmp_path / "m.dlpk", [("m.emd", bytes(3 * 2**20))])
    with pytest.raises(PackageError, match=r"'m.emd' unpacks to \d+ times its size"):
        Archive(path)


def test_too_many_members_and_too_many_bytes_are_refused(tmp_path, monkeypatch):
    path = _zip(tmp_path / "m.dlpk", [(f"{number}.txt", b"12345") for number in range(4)])
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    with pytest.raises(PackageError, match="4 members, and 3 are allowed"):
        Archive(path)
    monkeypatch.setattr(archive, "MOST_MEMBERS", 4)
    monkeypatch.setattr(archive, "MOST_BYTES", 19)
    with pytest.raises(PackageError, match="unpacks to 20 bytes, and 19"):
        Archive(path)


def test_folders_in_the_table_are_passed_over(tmp_path):
    path = _zip(tmp_path / "m.dlpk", [("ModelCharacteristics/", b""), ("ModelCharacteristics/a.png", b"x")])
    with Archive(path) as found:
        assert found.names == ["ModelCharacteristics/a.png"]


def test_damage_and_absence_are_told(tmp_path):
    path = _zip(tmp_path / "m.dlpk", [("m.emd", bytes(range(200)))], method=zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[60] ^= 0xFF
    path.write_bytes(raw)
    with Archive(path) as found:
        with pytest.raises(PackageError, match=r"m\.emd cannot be unpacked"):
            found.read("m.emd")
        with pytest.raises(PackageError, match=r"lacks other\.emd: it holds m\.emd"):
            found.read("other.emd")
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(PackageError, match="no whole zip file"):
        Archive(path)
