"""Web server that misbehaves in the way that the address asks for.

``python -m tests.campaigns.hostile.url_server FOLDER`` serves the files of a folder and prints its
port. An address is ``/BEHAVIOUR-NUMBER/NAME.tif``; a name that is not there stands for the file
``good.tif``.
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
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Change = Callable[["Answer", "Asked"], object]

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


MOST_BYTES = 64 << 20
"""Size of files that are sent as they are; of larger ones spaces are sent."""


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
        place = self.server.folder / name
        if not place.exists():
            place = self.server.folder / f"{'other' if changed else 'good'}.{suffix}"
        answer = self._good(place, rest)
        if answer is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        misbehave(answer, Asked(behaviour, number, self.path, changed))
        with suppress(OSError):
            self._send(answer, with_body=with_body)

    def _good(self, path: Path, rest: list[str]) -> Answer | None:
        path = path.joinpath(*rest)
        try:
            if not path.is_file():
                return None
            data = path.read_bytes() if path.stat().st_size < MOST_BYTES else b""
        except (OSError, ValueError):
            return None
        if not data:
            return self._huge(path)
        wanted = re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return Answer(200, data, size=len(data), length=len(data))
        first = int(wanted[1]) if wanted[1] else max(0, len(data) - int(wanted[2] or 0))
        last = int(wanted[2]) if wanted[1] and wanted[2] else len(data) - 1
        if first >= len(data):
            return Answer(416, b"", size=len(data), length=0)
        body = data[first : last + 1]
        return Answer(206, body, first=first, size=len(data), length=len(body))

    def _huge(self, path: Path) -> Answer:
        """An empty file, or the start of one that is larger than what is held in memory."""
        size = path.stat().st_size
        return Answer(200, b"", size=size, length=size, endless=size > 0)

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


@dataclass(frozen=True)
class Asked:
    """A request of a behaviour."""

    behaviour: str
    number: int
    """How many this one is since the behaviour began."""
    path: str
    changed: bool


def misbehave(answer: Answer, asked: Asked) -> None:
    """Change a good answer into that of a behaviour."""
    part_only = asked.behaviour in {"endlesspart", "wrongrange", "multipart", "short"}
    change = CHANGES.get(asked.behaviour)
    if change and (answer.code == 206 or not part_only):
        change(answer, asked)


def _empty(code: int, **headers: str) -> Change:
    def change(answer: Answer, _asked: Asked) -> None:
        answer.code, answer.body, answer.length = code, b"", 0
        answer.headers.update(headers)

    return change


def _set(**values: Any) -> Change:
    def change(answer: Answer, _asked: Asked) -> None:
        for name, value in values.items():
            setattr(answer, name, value)

    return change


def _headers(**values: str) -> Change:
    named = {name.replace("_", "-"): value for name, value in values.items()}
    return lambda answer, _asked: answer.headers.update(named)


def _every(step: int, change: Change) -> Change:
    def sometimes(answer: Answer, asked: Asked) -> None:
        if asked.number % step == 0:
            change(answer, asked)

    return sometimes


def _redirected(answer: Answer, asked: Asked) -> None:
    to = asked.path.replace("redirgood", "tag")
    _empty(302, Location=to)(answer, asked)


def _tagged(answer: Answer, asked: Asked) -> None:
    answer.headers["ETag"] = f'"{asked.changed}"'


def _dated(answer: Answer, asked: Asked) -> None:
    answer.headers["Last-Modified"] = f"Wed, 21 Oct 2015 07:28:0{int(asked.changed)} GMT"


def _endless_part(answer: Answer, _asked: Asked) -> None:
    last = answer.first + len(answer.body) - 1
    answer.headers["Content-Range"] = f"bytes {answer.first}-{last}/{answer.size}"
    answer.length, answer.endless = None, True


def _bomb(answer: Answer, asked: Asked) -> None:
    _endless_part(answer, asked)
    answer.endless, answer.body, answer.length = False, BOMB, len(BOMB)
    answer.headers["Content-Encoding"] = "gzip"


def _wrong_range(answer: Answer, _asked: Asked) -> None:
    answer.headers["Content-Range"] = f"bytes 7-{6 + len(answer.body)}/{answer.size}"


def _short(answer: Answer, _asked: Asked) -> None:
    answer.body = answer.body[: len(answer.body) // 2]
    answer.length = len(answer.body)


def _long(answer: Answer, asked: Asked) -> None:
    _endless_part(answer, asked)
    answer.body += b"x" * 100_000
    answer.length, answer.endless = len(answer.body), False


def _length_off(by: int) -> Change:
    def change(answer: Answer, _asked: Asked) -> None:
        answer.length = max(0, len(answer.body) + by)
        answer.cut = len(answer.body)

    return change


def _cut(answer: Answer, _asked: Asked) -> None:
    answer.cut = len(answer.body) // 3


def _dropped(answer: Answer, asked: Asked) -> None:
    if asked.number > 4:
        _cut(answer, asked)


def _login(answer: Answer, asked: Asked) -> None:
    body = b"<html>Please <a href='x'>log in</a></html>"
    _set(code=200, body=body, length=len(body), size=len(body))(answer, asked)


CHANGES: dict[str, Change] = {
    "tag": _tagged,
    "changedtag": _tagged,
    "changedtime": _dated,
    "some503": _every(3, _empty(503)),
    "redirgood": _redirected,
    "redirloop": lambda answer, asked: _empty(302, Location=asked.path)(answer, asked),
    "redirfile": _empty(302, Location="file:///etc/passwd"),
    "redirftp": _empty(302, Location="ftp://127.0.0.1/a.tif"),
    "redirlong": _empty(302, Location="/" + "a" * 8000),
    "redirnone": _empty(302),
    "endless": _set(code=200, length=None, endless=True),
    "endlesspart": _endless_part,
    "gzipbomb": _bomb,
    "badgzip": _headers(Content_Encoding="gzip"),
    "brotli": _headers(Content_Encoding="br"),
    "hugelength": _set(length=1 << 60),
    "hugesize": _set(size=1 << 50),
    "absurdsize": _set(size=10**40),
    "norange": _set(code=200),
    "wrongrange": _wrong_range,
    "norangeheader": _headers(Content_Range="bytes */*"),
    "multipart": _headers(Content_Range="", Content_Type="multipart/byteranges; boundary=x"),
    "short": _short,
    "long": _long,
    "lengthlarge": _length_off(5000),
    "lengthsmall": _length_off(-100),
    "nolength": _set(length=None),
    "dropped": _dropped,
    "dropsome": _every(4, _cut),
    "slowbody": _set(trickle=True),
    "login": _login,
    "empty": _set(code=200, body=b"", length=0, size=0),
    "oddtag": lambda answer, asked: _headers(ETag='W/"' + "\xe9" * 300 + f'{asked.number}"')(
        answer, asked
    ),
    **{f"all{code}": _empty(code) for code in (204, 304, 401, 403, 410, 429, 500)},
}
"""Changes of an answer by the name of their behaviour."""


if __name__ == "__main__":
    with Server(Path(sys.argv[1])) as running:
        sys.stdout.write(f"{running.server_port}\n")
        sys.stdout.flush()
        running.serve_forever()
