"""Rasters behind addresses: http servers, object stores, archives, fsspec."""

import pickle
import zipfile

import fsspec
import numpy as np
import pytest

from rasterloom.models.errors import MissingInputError, RasterError, ReadError
from rasterloom.pipeline.rasters.addresses import BLOCK_PRIVATE, parse_address, redacted
from rasterloom.pipeline.rasters.grid import Window
from rasterloom.pipeline.rasters.open import describe, open_raster
from rasterloom.pipeline.rasters.read import read_window
from tests.support.rasters import write_raster
from tests.support.web import serve_folder


@pytest.fixture
def web(tmp_path, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    with serve_folder(tmp_path) as server:
        yield server


@pytest.fixture
def path(tmp_path):
    return write_raster(tmp_path / "a.tif", height=20, width=30, nodata=0)


def whole(raster):
    return read_window(raster, Window(0, 0, *raster.grid.shape))


@pytest.mark.parametrize(
    ("text", "gdal"),
    [
        ("https://host/a.tif?key=1", "/vsicurl/https://host/a.tif?key=1"),
        ("HTTPS://host/A.tif", "/vsicurl/https://host/A.tif"),
        ("s3://bucket/deep/a.tif", "/vsis3/bucket/deep/a.tif"),
        ("S3://bucket/a.tif", "/vsis3/bucket/a.tif"),
        ("gs://bucket/a.tif", "/vsigs/bucket/a.tif"),
        ("az://container/a.tif", "/vsiaz/container/a.tif"),
        ("abfs://container@account.dfs.core.windows.net/a.tif", "/vsiaz/container/a.tif"),
        ("memory://a.tif", "memory://a.tif"),
        ("/vsis3/bucket/a.tif", "/vsis3/bucket/a.tif"),
        ("/vsizip//data/a.zip/a.tif", "/vsizip//data/a.zip/a.tif"),
    ],
)
def test_an_address_is_what_gdal_opens(text, gdal):
    assert parse_address(text).gdal == gdal


@pytest.mark.parametrize("text", ["a.tif", "/data/a.tif", "c:/a.tif", "file:///data/a.tif", "a b://c", ""])
def test_a_path_is_no_address(text):
    assert parse_address(text) is None


@pytest.mark.parametrize(
    "text",
    ["gopher://host/a.tif", "vrt://a.tif?bands=1", "WMS://host/a", "/vsimem/a.tif", "/vsistdin/"]
    + ["/vsizip//vsimem/a.zip", "/vsicurl/ftp://host/a.tif", "/vsicurl?url=https://host", "https:///a.tif"],
)
def test_other_schemes_are_not_followed(text):
    with pytest.raises(RasterError, match=r"not followed|names no host"):
        describe(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/a.tif?token=secret", "https://host/a.tif"),
        ("https://me:secret@host/a.tif", "https://host/a.tif"),
        ("'/vsicurl/http://host/a.tif?X-Amz-Signature=secret': 403", "'/vsicurl/http://host/a.tif': 403"),
        ("/data/what?.tif is damaged", "/data/what?.tif is damaged"),
        ("gone@home.tif", "gone@home.tif"),
    ],
)
def test_queries_and_passwords_are_not_shown(text, shown):
    assert redacted(text) == shown


def test_a_web_address_reads_like_its_file(path, web):
    raster, file = describe(f"{web.url}/a.tif"), describe(path)
    assert (raster.grid, raster.nodata, raster.bands) == (file.grid, file.nodata, file.bands)
    for one, other in zip(whole(pickle.loads(pickle.dumps(raster))), whole(file), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(open_raster(raster, chunks=16).values, whole(file)[0])


def test_only_the_ranges_of_a_window_are_fetched(tmp_path, web):
    path = write_raster(tmp_path / "big.tif", height=2000, width=2000)
    raster = describe(f"{web.url}/big.tif")
    described = web.sent
    pixels, _ = read_window(raster, Window(900, 900, 100, 100))
    np.testing.assert_array_equal(pixels, read_window(describe(path), Window(900, 900, 100, 100))[0])
    size = path.stat().st_size
    assert described < 0.05 * size
    assert web.sent - described < 0.1 * size
    assert len(web.requests) < 12


def test_a_mosaic_may_mix_web_addresses_and_files(tmp_path, web):
    left = write_raster(tmp_path / "a.tif", height=20, width=30)
    right = write_raster(tmp_path / "b.tif", height=20, width=30, origin=(500030, 5000000), seed=1)
    mixed, local = describe([left, f"{web.url}/b.tif"]), describe([left, right])
    np.testing.assert_array_equal(whole(mixed)[0], whole(local)[0])


def test_a_file_replaced_behind_its_address_has_another_etag_and_other_pixels(tmp_path, path, web):
    before = describe(f"{web.url}/a.tif")
    first = whole(before)[0]
    assert describe(f"{web.url}/a.tif").etag == before.etag
    write_raster(path, height=20, width=30, nodata=0, seed=5)
    after = describe(f"{web.url}/a.tif")
    assert after.etag != before.etag
    np.testing.assert_array_equal(whole(after)[0], whole(describe(path))[0])
    assert not np.array_equal(whole(after)[0], first)


def test_a_new_signature_is_no_new_file(path, web):
    assert describe(f"{web.url}/a.tif?sig=1").etag == describe(f"{web.url}/a.tif?sig=2").etag


def test_without_a_word_from_the_server_the_layout_of_the_blocks_tells_files_apart(path, web, monkeypatch):
    monkeypatch.setattr("rasterloom.pipeline.rasters.files.glimpse", lambda address: None)
    before = describe(f"{web.url}/a.tif").etag
    assert describe(f"{web.url}/a.tif").etag == before
    write_raster(path, height=20, width=30, nodata=0, seed=5)
    assert describe(f"{web.url}/a.tif").etag != before


def test_what_is_missing_or_damaged_is_said_without_secrets(tmp_path, web):
    (tmp_path / "bad.tif").write_bytes(b"not a raster")
    for name, error in (("gone.tif", MissingInputError), ("bad.tif", RasterError)):
        with pytest.raises(error, match=name) as refused:
            describe(f"{web.url}/{name}?token=secret")
        chain = refused.value
        while chain is not None:
            assert "secret" not in str(chain)
            chain = chain.__cause__


def test_a_read_that_fails_shows_no_secret(path, web):
    raster = describe(f"{web.url}/a.tif?token=secret")
    path.unlink()
    with pytest.raises(ReadError, match=r"a\.tif") as refused:
        whole(raster)
    assert "secret" not in f"{refused.value}{refused.value.__cause__}"


def test_private_hosts_can_be_refused(path, web, monkeypatch):
    monkeypatch.setenv(BLOCK_PRIVATE, "1")
    for address in (f"{web.url}/a.tif", f"/vsicurl/{web.url}/a.tif", "http://localhost/a.tif"):
        with pytest.raises(RasterError, match=f"private network, and {BLOCK_PRIVATE} is set"):
            describe(address)


def test_a_file_of_an_object_store_reads_like_a_local_one(path, bucket):
    import s3fs

    s3fs.S3FileSystem().put_file(str(path), f"{bucket}/deep/a.tif")
    raster = describe(f"{bucket}/deep/a.tif")
    np.testing.assert_array_equal(whole(raster)[0], whole(describe(path))[0])
    assert describe(f"{bucket}/deep/a.tif").etag == raster.etag
    write_raster(path, height=20, width=30, nodata=0, seed=5)
    s3fs.S3FileSystem().put_file(str(path), f"{bucket}/deep/a.tif")
    assert describe(f"{bucket}/deep/a.tif").etag != raster.etag
    with pytest.raises(MissingInputError, match=r"gone\.tif"):
        describe(f"{bucket}/gone.tif")


def test_fsspec_reads_what_gdal_cannot(path):
    files = fsspec.filesystem("memory")
    files.pipe("/somewhere/a.tif", path.read_bytes())
    raster = describe("Memory://somewhere/a.tif")
    np.testing.assert_array_equal(whole(raster)[0], whole(describe(path))[0])
    with pytest.raises(MissingInputError, match=r"gone\.tif"):
        describe("memory://gone.tif")


def test_a_file_in_an_archive_changes_with_it(tmp_path, path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "in/a.tif")
    raster = describe(f"/vsizip/{tmp_path}/a.zip/in/a.tif")
    np.testing.assert_array_equal(whole(raster)[0], whole(describe(path))[0])
    write_raster(path, height=20, width=30, seed=2)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "in/a.tif")
    assert describe(f"/vsizip/{tmp_path}/a.zip/in/a.tif").etag != raster.etag
