"""Web server that misbehaves in the way that the address asks for.

``python -m tests.campaigns.hostile.url_server FOLDER`` serves the files good.* and other.* of a
folder and prints its port. An address is ``/BEHAVIOUR-NUMBER/NAME.tif``: any name stands for the
file ``good.tif``.
"""

from __future__ import annotations

import gzip
import re
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DRIP_S = 0.3
"""Seconds between the bytes of a slow server."""
BOMB = gzip.compress(bytes(1 << 24), 9) * 64
"""A gigabyte of zeros in 64 gzip members, of one megabyte."""


@dataclass
class Answer:
    """Status, headers and body, to be changed by behaviours before they are sent."""

    code: int
    body: bytes
    first: int = 0
    size: int = 0
    """Bytes of the whole file."""
    length: int | None = None
    """Stated length of the body; None for none."""
    headers: dict[str, str] = field(default_factory=dict)
    trickle: bool = False
    cut: int | None = None
    """Bytes after which the connection is closed."""
    endless: bool = False


class Server(ThreadingHTTPServer):
    """Server of one folder that counts what is asked for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._handle(with_body=False)

    def do_GET(self) -> None:
        self._handle(with_body=True)

    def _handle(self, *, with_body: bool) -> None:
        _, case, name, *rest = [*self.path.split("?")[0].split("/"), ""]
        rest = [part for part in rest if part]
        with self.server.lock:
            self.server.counts[case] += 1
            number = self.server.counts[case]
        behaviour = case.partition("-")[0]
        if self._is_odd(behaviour):
            return
        suffix = name.partition(".")[2]
        changed = behaviour.startswith("changed") and number > 6
        answer = self._good(self.server.folder / f"{'other' if changed else 'good'}.{suffix}", rest)
        if answer is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        misbehave(answer, behaviour, number, self.path, changed=changed)
        with suppress(OSError):
            self._send(answer, with_body=with_body)

    def _good(self, path: Path, rest: list[str]) -> Answer | None:
        path = path.joinpath(*rest)
        if not path.is_file():
            return None
        data = path.read_bytes()
        wanted = re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return Answer(200, data, size=len(data), length=len(data))
        first = int(wanted[1]) if wanted[1] else max(0, len(data) - int(wanted[2] or 0))
        last = int(wanted[2]) if wanted[1] and wanted[2] else len(data) - 1
        if first >= len(data):
            return Answer(416, b"", size=len(data), length=0)
        body = data[first : last + 1]
        return Answer(206, body, first=first, size=len(data), length=len(body))

    def _is_odd(self, behaviour: str) -> bool:
        """Answer in ways that are no HTTP; whether this was one of them."""
        raw = {
            "garbage": b"\0\xff\x13\x37" * 100 + b"\r\n\r\n",
            "nothing": b"",
            "longheader": b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * (1 << 20) + b"\r\n\r\n",
            "manyheaders": b"HTTP/1.1 200 OK\r\n" + b"X-A: a\r\n" * 100_000 + b"\r\n",
            "badlength": b"HTTP/1.1 206 OK\r\nContent-Length: -5\r\n\r\nabc",
            "badchunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\nabc",
            "continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        }
        with suppress(OSError):
            if behaviour in raw:
                self.wfile.write(raw[behaviour])
            elif behaviour == "silent":
                time.sleep(60)
            elif behaviour == "slowhead":
                for letter in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 300:
                    self.wfile.write(bytes([letter]))
                    time.sleep(DRIP_S)
            else:
                return False
        self.close_connection = True
        return True

    def _send(self, answer: Answer, *, with_body: bool) -> None:
        self.send_response(answer.code)
        if answer.length is not None:
            self.send_header("Content-Length", str(answer.length))
        if answer.code == 206:
            last = answer.first + len(answer.body) - 1
            answer.headers.setdefault("Content-Range", f"bytes {answer.first}-{last}/{answer.size}")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not with_body:
            return
        for piece in _pieces(answer):
            self.wfile.write(piece)
        self.close_connection |= answer.length is None or answer.cut is not None


def _pieces(answer: Answer) -> Iterator[bytes]:
    if answer.endless:
        while True:
            yield b" " * (1 << 20)
    if answer.trickle:
        for letter in answer.body:
            yield bytes([letter])
            time.sleep(DRIP_S)
    yield answer.body[: answer.cut]


def misbehave(answer: Answer, behaviour: str, number: int, path: str, *, changed: bool) -> None:
    """Change a good answer into that of a behaviour."""
    is_part = answer.code == 206
    match behaviour:
        case "changedtag" | "tag":
            answer.headers["ETag"] = f'"{changed}"'
        case "changedtime":
            answer.headers["Last-Modified"] = f"Wed, 21 Oct 2015 07:28:0{int(changed)} GMT"
        case "some503" if number % 3 == 0:
            answer.code, answer.body, answer.length = 503, b"", 0
        case "all500" | "all403" | "all401" | "all429" | "all304" | "all204" | "all410":
            answer.code, answer.body, answer.length = int(behaviour[3:]), b"", 0
        case "redirfile" | "redirftp" | "redirloop" | "redirgood" | "redirnone" | "redirlong":
            places = {
                "redirfile": "file:///etc/passwd",
                "redirftp": "ftp://127.0.0.1/a.tif",
                "redirloop": path,
                "redirgood": path.replace("redirgood", "tag"),
                "redirlong": "/" + "a" * 8000,
            }
            answer.code, answer.body, answer.length = 302, b"", 0
            if behaviour in places:
                answer.headers["Location"] = places[behaviour]
        case "endless":
            answer.code, answer.length, answer.endless = 200, None, True
        case "endlesspart" if is_part:
            answer.length, answer.endless = None, True
            answer.headers["Content-Range"] = (
                f"bytes {answer.first}-{answer.first + len(answer.body) - 1}/{answer.size}"
            )
        case "gzipbomb":
            answer.body, answer.headers["Content-Encoding"] = BOMB, "gzip"
            answer.length = len(BOMB)
        case "badgzip" | "brotli":
            answer.headers["Content-Encoding"] = "gzip" if behaviour == "badgzip" else "br"
        case "hugelength":
            answer.length = 1 << 60
        case "hugesize":
            answer.size = 1 << 50
        case "absurdsize":
            answer.size = 10**40
        case "norange":
            answer.code = 200
        case "wrongrange" if is_part:
            answer.headers["Content-Range"] = f"bytes 7-{6 + len(answer.body)}/{answer.size}"
        case "norangeheader":
            answer.headers["Content-Range"] = "" if number % 2 else "bytes */*"
        case "multipart" if is_part:
            answer.headers["Content-Range"] = ""
            answer.headers["Content-Type"] = "multipart/byteranges; boundary=x"
        case "short" if is_part:
            answer.body = answer.body[: len(answer.body) // 2]
            answer.length = len(answer.body)
        case "long":
            answer.body += b"x" * 100_000
            answer.length = len(answer.body)
            last = answer.first + len(answer.body) - 100_001
            answer.headers["Content-Range"] = f"bytes {answer.first}-{last}/{answer.size}"
        case "lengthlarge":
            answer.length = len(answer.body) + 5000
            answer.cut = len(answer.body)
        case "lengthsmall":
            answer.length = max(0, len(answer.body) - 100)
        case "nolength":
            answer.length = None
        case "dropped" if number > 4:
            answer.cut = len(answer.body) // 3
        case "dropsome" if number % 4 == 3:
            answer.cut = len(answer.body) // 3
        case "slowbody":
            answer.trickle = True
        case "login":
            answer.code, answer.body = 200, b"<html>Please <a href='x'>log in</a></html>"
            answer.length, answer.size = len(answer.body), len(answer.body)
        case "empty":
            answer.code, answer.body, answer.length, answer.size = 200, b"", 0, 0
        case "oddtag":
            answer.headers["ETag"] = 'W/"' + "\xe9" * 300 + str(number) + '"'


if __name__ == "__main__":
    with Server(Path(sys.argv[1])) as running:
        sys.stdout.write(f"{running.server_port}\n")
        sys.stdout.flush()
        running.serve_forever()
