"""Addresses of rasters that are not on a local disk: which are followed, and what stands there now."""

import ipaddress
import os
import re
import socket
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rasterloom.models.errors import MissingInputError, RasterError

_GDAL = {
    "http": "/vsicurl/http://",
    "https": "/vsicurl/https://",
    "s3": "/vsis3/",
    "s3a": "/vsis3/",
    "gs": "/vsigs/",
    "gcs": "/vsigs/",
    "az": "/vsiaz/",
    "abfs": "/vsiaz/",
    "abfss": "/vsiaz/",
}
"""Schemes that GDAL itself reads, by ranges."""

_FSSPEC = ("memory", "ftp", "sftp", "ssh", "hdfs", "webhdfs", "hf", "github")
"""Schemes that are read through fsspec."""

_ARCHIVES = ("vsizip", "vsitar", "vsigzip")
_HANDLERS = ("vsicurl", "vsis3", "vsigs", "vsiaz", *_ARCHIVES)
"""GDAL's file systems that may be named directly."""

BLOCK_PRIVATE = "RASTERLOOM_BLOCK_PRIVATE_HOSTS"
"""Environment variable: set to 1, http addresses of this machine and of private networks are refused."""

_STATED = (
    "ETag",
    "etag",
    "md5Hash",
    "generation",
    "size",
    "LastModified",
    "last_modified",
    "mtime",
    "updated",
)
"""What file systems of fsspec call the things that change with a file."""

_TIMEOUT = 30
"""Seconds that a server may take to say what stands at an address."""


@dataclass(frozen=True)
class Address:
    """Where a raster is, other than on a local disk."""

    url: str
    """For Python's own packages; empty for a file inside an archive."""
    gdal: str
    """What GDAL opens."""
    name: str
    """For messages: without query and password, which may be secrets."""


@dataclass(frozen=True)
class Glimpse:
    """What a server says of a file before anything is decoded."""

    head: bytes
    """First bytes."""
    identity: str
    """Changes when the file does; empty where the server tells nothing."""


def parse_address(text: str) -> Address | None:
    """The address that a text is; None for the path of a local file.

    Raises
    ------
    RasterError
        If its scheme is not among those that are followed, or its host is not to be asked.
    """
    if text.startswith("/vsi"):
        return _handler_address(text)
    scheme, mark, rest = text.partition("://")
    if not mark or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.\-]*", scheme):
        return None
    scheme = scheme.lower()
    if scheme == "file":
        return None
    if scheme not in _GDAL and scheme not in _FSSPEC:
        raise RasterError(
            f"{redacted(text)} is not followed: rasters are read from local files and "
            f"{', '.join(f'{known}://' for known in (*_GDAL, *_FSSPEC))} addresses. Download it first."
        )
    url = f"{scheme}://{rest}"
    if scheme in ("http", "https"):
        _check_host(url)
    if scheme in ("abfs", "abfss", "az"):
        rest = re.sub(r"@[^/]*", "", rest, count=1)  # the account comes from the environment
    return Address(url, _GDAL[scheme] + rest if scheme in _GDAL else url, redacted(url))


def find(text: str) -> "Path | Address":
    """The local path that is there, or the address, that a text means.

    Raises
    ------
    MissingInputError
        If it is a path and nothing is there.
    RasterError
        If it is an address that is not followed.
    """
    address = parse_address(text)
    if address is not None:
        return address
    text = local_path(text)
    try:
        found = bool(text) and Path(text).exists()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise MissingInputError(f"there is no raster at {text[:200]!r}: {error.strerror}.") from error
    if not found:
        raise MissingInputError(f"there is no raster at {text!r}: check the path.")
    return Path(text)


def local_path(text: str) -> str:
    """The path that a ``file://`` address means, and any other text as it is."""
    if text[:7].lower() != "file://":
        return text
    return unquote(urlsplit(text).path)


def redacted(text: str) -> str:
    """The text without the queries and passwords of the addresses in it."""
    text = re.sub(r"(://)[^/\s'\"<>@]*@", r"\1", text)
    return re.sub(r"(://[^\s?'\"<>]*)\?[^\s'\"<>]*", r"\1", text)


def glimpse(address: Address, size: int = 1024) -> Glimpse | None:
    """The first bytes at an address and what identifies the file; None where Python cannot ask.

    Raises
    ------
    MissingInputError
        If nothing is there.
    """
    if not address.url:
        return Glimpse(b"", _archive_identity(address.gdal))
    try:
        if address.url.startswith("http"):
            return _http_glimpse(address.url, size)
        return _fsspec_glimpse(address.url, size)
    except FileNotFoundError as error:
        raise MissingInputError(f"there is no raster at {address.name}: check the address.") from error
    except (OSError, ImportError):
        return None  # GDAL has credentials of its own, and says what is wrong if it cannot open it either


def fetch(address: Address, limit: int) -> bytes:
    """The whole of a small file.

    Raises
    ------
    MissingInputError
        If it cannot be fetched.
    RasterError
        If it is longer than ``limit`` bytes.
    """
    try:
        if address.url.startswith("http"):
            with urllib.request.urlopen(address.url, timeout=_TIMEOUT) as answer:
                content = answer.read(limit + 1)
        else:
            files, path = _file_system(address.url)
            content = _asked(files.cat_file, path, 0, limit + 1)
    except (OSError, ImportError, ValueError) as error:
        reason = redacted(str(error))
        raise MissingInputError(f"{address.name} could not be fetched: {reason}.") from None
    if len(content) > limit:
        raise RasterError(f"{address.name} is longer than {limit} bytes, too long for what it should be.")
    return bytes(content)


def _handler_address(text: str) -> Address:
    for handler in re.findall(r"/(vsi\w+)", text):
        if handler not in _HANDLERS:
            raise RasterError(
                f"{redacted(text)} is not followed: of GDAL's file systems {', '.join(_HANDLERS)} are."
            )
    handler, _, rest = text[1:].partition("/")
    if handler not in _HANDLERS:
        raise RasterError(f"{redacted(text)} is not followed: write the address itself (https://...).")
    if handler == "vsicurl":
        scheme = rest.partition("://")[0].lower()
        if scheme not in ("http", "https"):
            raise RasterError(f"{redacted(text)} is not followed: /vsicurl/ is for http and https.")
        _check_host(rest)
        return Address(rest, text, redacted(text))
    url = "" if handler in _ARCHIVES else f"{handler.removeprefix('vsi')}://{rest}"
    return Address(url, text, redacted(text))


def _check_host(url: str) -> None:
    host = urlsplit(url).hostname
    if not host:
        raise RasterError(f"{redacted(url)} names no host.")
    if os.environ.get(BLOCK_PRIVATE, "0") in ("", "0"):
        return
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return  # who cannot be found cannot be reached
    if not all(ipaddress.ip_address(str(each).partition("%")[0]).is_global for each in found):
        raise RasterError(
            f"{redacted(url)} is on this machine or in a private network, and {BLOCK_PRIVATE} is set."
        )


def _http_glimpse(url: str, size: int) -> Glimpse:
    # GET and not HEAD: an address signed for reading is refused for anything else
    request = urllib.request.Request(url, headers={"Range": f"bytes=0-{size - 1}"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            head = answer.read(size)
            stated = [answer.headers.get(name, "") for name in ("ETag", "Last-Modified")]
            length = answer.headers.get("Content-Range", "").rpartition("/")[2]
            length = length or answer.headers.get("Content-Length", "")
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise FileNotFoundError(redacted(url)) from None
        raise
    # a signature in the query is another one tomorrow; the file may still be the same
    return Glimpse(head, "|".join([*stated, length]) if any(stated) else "")


def _fsspec_glimpse(url: str, size: int) -> Glimpse:
    files, path = _file_system(url)
    info = _asked(files.info, path)
    if info.get("type") == "directory":
        return Glimpse(b"", "")
    identity = "|".join(f"{name}={info[name]}" for name in _STATED if info.get(name) is not None)
    return Glimpse(bytes(_asked(files.cat_file, path, 0, size)), identity)


def _file_system(url: str) -> tuple[Any, str]:
    import fsspec

    options: dict[str, Any] = {"use_listings_cache": False}
    if url.startswith("s3") and os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in ("YES", "TRUE", "1"):
        options["anon"] = True
    files, path = fsspec.url_to_fs(url, **options)
    return files, path


def _asked(call: Any, *arguments: Any) -> Any:
    """The answer of a file system, whose package has errors of its own, which all mean that there is none."""
    try:
        return call(*arguments)
    except OSError:
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def _archive_identity(path: str) -> str:
    """Size and time of the local archive that a path leads into; empty where there is none."""
    inner = Path("/" + re.sub(r"^(/vsi\w+)+/", "", path).lstrip("/"))
    for each in (inner, *inner.parents):
        if each.is_file():
            status = each.stat()
            return f"{status.st_size}|{status.st_mtime_ns}"
    return ""
