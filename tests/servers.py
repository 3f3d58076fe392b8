"""Real servers for tests: a web server of a folder, and an object store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.asyn import sync as fsspec_sync
from zarr.core.sync import sync as zarr_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from napari_twostage.io.paths import Location


class WebServer(ThreadingHTTPServer):
    """Serves the files of a folder, in parts where asked to.

    Parameters
    ----------
    folder : Path
        What it serves.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.ranges = True
        """Whether parts are sent; else whole files."""
        self.failures: list[int] = []
        """What the next requests are answered with: 503, 403."""
        self.asked: list[str] = []
        """Paths of all requests."""
        self.sent = 0
        """Bytes of all bodies."""


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebServer

    def do_HEAD(self) -> None:
        if not self._failed():
            super().do_HEAD()

    def do_GET(self) -> None:
        if self._failed():
            return
        wanted = self.headers.get("Range") if self.server.ranges else None
        file = Path(self.translate_path(self.path))
        if wanted and file.is_file():
            self._send_part(file.read_bytes(), wanted)
        else:
            self.server.sent += file.stat().st_size if file.is_file() else 0
            super().do_GET()

    def _failed(self) -> bool:
        self.server.asked.append(self.path)
        if not self.server.failures:
            return False
        self.send_response(self.server.failures.pop(0))
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def _send_part(self, data: bytes, wanted: str) -> None:
        first, last = wanted.removeprefix("bytes=").split("-")
        start, stop = int(first), min(int(last) + 1, len(data)) if last else len(data)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.wfile.write(data[start:stop])
        self.server.sent += stop - start

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def web_server(folder: Path) -> Iterator[WebServer]:
    """Serve a folder while the block runs."""
    with WebServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run an S3 server in a process of its own; gives the URL of an empty bucket."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    try:
        _wait_for(port, server)
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    finally:
        _forget_stores()
        server.kill()
        server.wait()


def _forget_stores() -> None:
    """Close the sessions of all S3 filesystems, which the next server's must not take over.

    fsspec closes those of its own event loop, on a busy machine in vain; those of zarr's are closed
    by nobody, and Python would warn of them in whatever test runs when they are collected.
    """
    kind = fsspec.get_filesystem_class("s3")
    for store in kind._cache.values():
        if store._s3 is None:
            continue
        if store.asynchronous:
            zarr_sync(store._s3.__aexit__(None, None, None))
        else:
            fsspec_sync(store.loop, store._s3.__aexit__, None, None, None)
    kind.clear_instance_cache()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the object store did not start")


def count_events(out: Location) -> int:
    """How many events the journal of a result holds."""
    try:
        text = (out / "journal.jsonl").read_bytes()
        numbered = out / "journal"
        rest = [part.read_bytes() for part in numbered.iterdir()] if numbered.exists() else []
    except FileNotFoundError:
        return 0
    return b"".join([text, *rest]).count(b"\n")


@contextmanager
def memory() -> Iterator[str]:
    """Give the URL of an empty folder in this process's memory."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    try:
        yield "memory://bucket"
    finally:
        store.store.clear()
        store.pseudo_dirs[:] = [""]
