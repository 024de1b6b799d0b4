"""A web server of this machine that serves a folder by ranges and counts what it sends."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote, urlsplit

_TALLY = "/..tally"
"""Where the server says what it has sent."""


@dataclass(frozen=True)
class Web:
    """A running server."""

    url: str

    @property
    def sent(self) -> int:
        """Bytes of files sent so far."""
        return int(self._tally()["sent"])

    @property
    def requests(self) -> list[str]:
        """Every request so far, as "GET /name"."""
        return list(self._tally()["requests"])

    def _tally(self) -> dict[str, list[str]]:
        with urllib.request.urlopen(self.url + _TALLY, timeout=30) as answer:
            return dict(json.load(answer))


@contextmanager
def serve_folder(folder: Path) -> Iterator[Web]:
    """Serve the files of a folder while the block lasts."""
    # a process of its own: rasterio holds Python's lock while it opens a file, and a thread could not answer
    command = [sys.executable, __file__, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Web(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: ClassVar[Path]
    sent: ClassVar[int] = 0
    requests: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        if self.path == _TALLY:
            self._send(200, json.dumps({"sent": _Handler.sent, "requests": _Handler.requests}).encode(), {})
        else:
            self._answer(with_body=True)

    def log_message(self, *arguments: object) -> None:
        """Say nothing: what was asked is counted."""

    def _answer(self, *, with_body: bool) -> None:
        _Handler.requests.append(f"{self.command} {self.path}")
        path = self.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            self._send(404, b"", {})
            return
        content, status = path.read_bytes(), path.stat()
        about = {
            "Accept-Ranges": "bytes",
            "ETag": f'"{status.st_size}-{status.st_mtime_ns}"',
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
        }
        asked = self.headers.get("Range")
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else len(content), len(content))
            about["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            content = content[start:stop]
        if with_body:
            _Handler.sent += len(content)
        self._send(206 if asked else 200, content, about, with_body=with_body)

    def _send(self, code: int, content: bytes, about: dict[str, str], *, with_body: bool = True) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(content)), **about}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)


if __name__ == "__main__":
    _Handler.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
