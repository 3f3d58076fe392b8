"""Servers that lie, dawdle or change their files: bounded in bytes, in time and in tries."""

from __future__ import annotations

import gzip
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from tests.campaigns.hostile.url_server import Server
from tests.campaigns.hostile.zarr_images import pixels, write_image
from tests.servers import memory, web_server

from napari_twostage import Segmentation, segment
from napari_twostage.errors import ReadError, TransferError, TwoStageError
from napari_twostage.geometry import Box
from napari_twostage.io import reading, remote, zarr_store
from napari_twostage.io.addresses import SCHEMES
from napari_twostage.io.paths import locate
from napari_twostage.io.url import Url
from napari_twostage.slides import byte_source, open_slide
from napari_twostage.slides.byte_source import RemoteFile
from napari_twostage.slides.ome_zarr import open_ome_zarr

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = np.random.default_rng(0).bytes(400_000)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(remote, "_PAUSE_S", 0.01)
    monkeypatch.setattr(reading, "_PATIENCE_S", 2.0)
    yield
    remote._web_options.cache_clear()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Server of good.bin, good.tif and good.ome.zarr, and of others in their place."""
    (tmp_path / "good.bin").write_bytes(DATA)
    (tmp_path / "other.bin").write_bytes(DATA[::-1])
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    for name, turn in (("good", 1), ("other", -1)):
        options = {"photometric": "rgb", "tile": (64, 64), "metadata": None}
        tifffile.imwrite(tmp_path / f"{name}.tif", noise[::turn], **options)
        write_image(tmp_path / f"{name}.ome.zarr", "v3-zstd", pixels()[::turn])
    with running(Server(tmp_path)) as one:
        yield one


@contextmanager
def running(server: HTTPServer) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Answering(BaseHTTPRequestHandler):
    """Answers everything with the same body."""

    protocol_version = "HTTP/1.1"
    body = b"dear"
    headers_sent: tuple[tuple[str, str], ...] = ()

    def do_GET(self) -> None:
        self.send_response(self.status())
        self.send_header("Content-Length", str(len(self.body)))
        for name, value in self.headers_sent:
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(self.body)

    def status(self) -> int:
        return 200

    def log_message(self, *_: object) -> None:
        pass


def at(server: HTTPServer, behaviour: str, name: str = "a.bin") -> Url:
    return Url(f"http://127.0.0.1:{server.server_address[1]}/{behaviour}-0/{name}")


def test_a_good_server_gives_the_file_and_its_state(server: Server) -> None:
    url = at(server, "tag")
    assert url.read_bytes() == DATA
    assert url.read_range(5, 5000) == DATA[5:5000]
    assert url.read_range(399_990, 400_100) == DATA[-10:]
    assert url.read_range(500_000, 500_010) == b""
    state = url.state()
    assert (state.size, state.tag) == (len(DATA), '"False"')


@pytest.mark.parametrize("behaviour", ["some503", "dropsome", "redirgood", "nolength"])
def test_short_failures_are_got_over(server: Server, behaviour: str) -> None:
    url = at(server, behaviour)
    for start in range(0, 4000, 1000):
        assert url.read_range(start, start + 1000) == DATA[start : start + 1000]


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("all500", "cannot be reached"),
        ("all403", "credentials"),
        ("redirfile", "cannot be reached"),
        ("redirftp", "cannot be reached"),
        ("redirloop", "cannot be reached"),
        ("norange", "without byte ranges"),
        ("wrongrange", "sent bytes 7 to"),
        ("norangeheader", "sent bytes -1 to -1"),
        ("long", "more than the 1,000 bytes"),
        ("endlesspart", "more than the 1,000 bytes"),
        ("lengthsmall", "sent 900 bytes where it announced 1,000|cannot be reached"),
        ("lengthlarge", "cannot be reached"),
        ("brotli", "encoding 'br'"),
        ("badgzip", "encoding 'gzip'"),
        ("garbage", "cannot be reached"),
        ("nothing", "cannot be reached"),
        ("badchunk", "cannot be reached"),
        ("manyheaders", "cannot be reached"),
    ],
)
def test_answers_that_were_not_asked_for(server: Server, behaviour: str, message: str) -> None:
    with pytest.raises(TransferError, match=message) as caught:
        at(server, behaviour).read_range(0, 1000)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert server.counts[f"{behaviour}-0"] < 30, "tried a bounded number of times"


def test_a_broken_connection_is_tried_three_times(server: Server) -> None:
    with pytest.raises(TransferError, match="cannot be reached"):
        at(server, "lengthlarge").read_range(0, 1000)
    assert server.counts["lengthlarge-0"] == 3


@pytest.mark.parametrize("behaviour", ["silent", "slowhead", "slowbody", "hugelength"])
def test_slow_servers_are_given_up_in_time(server: Server, behaviour: str) -> None:
    start = time.monotonic()
    with pytest.raises(TransferError, match="cannot be reached"):
        at(server, behaviour).read_range(0, 1000)
    assert time.monotonic() - start < reading._PATIENCE_S + 10


@pytest.mark.parametrize("behaviour", ["endless", "gzipbomb"])
def test_whole_files_are_bounded(
    server: Server, behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_twostage.io.url.WHOLE_BYTES", 5 << 20)
    with pytest.raises(ReadError, match="more than the 5,242,880 bytes expected"):
        at(server, behaviour).read_bytes()


@pytest.mark.parametrize("behaviour", ["endless", "gzipbomb"])
def test_metadata_are_bounded(server: Server, behaviour: str) -> None:
    with pytest.raises(ReadError, match="more than the 4,194,304 bytes expected"):
        open_ome_zarr(at(server, behaviour, "a.ome.zarr"))


def test_a_file_that_is_stored_compressed_is_unpacked() -> None:
    class Packed(Answering):
        body, headers_sent = gzip.compress(DATA), (("Content-Encoding", "gzip"),)

    with running(HTTPServer(("127.0.0.1", 0), Packed)) as one:
        assert at(one, "plain").exists()
        assert at(one, "plain").read_bytes() == DATA


# -- files that change -----------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", ["changedtag", "changedtime"])
def test_a_tiff_that_changes_is_noticed(
    server: Server, behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(byte_source, "_BLOCK_BYTES", 1 << 15)
    monkeypatch.setattr(byte_source, "_AT_ONCE", 1)
    with pytest.raises(TransferError, match=r"a\.tif was changed while it was read; open it"):
        _read_all(str(at(server, behaviour, "a.tif")))


def test_a_zarr_that_changes_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr_store, "_CHECK_S", 0.0)
    with pytest.raises(TransferError, match=r"zarr\.json was changed while it was read; open it"):
        _read_all(str(at(server, "changedtag", "a.ome.zarr")))


def _read_all(url: str) -> None:
    with open_slide(url, mpp=0.5) as slide:
        for box in Box(0, 0, *slide.level_shapes[0]).blocks(64):
            slide.read(box)


def test_an_object_that_changes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_source, "_CHECK_S", 0.0)
    with memory() as bucket:
        url = Url(f"{bucket}/a.bin")
        url.write_bytes(DATA)
        file = RemoteFile(url)
        assert file.read(0, 10) == DATA[:10]
        url.write_bytes(DATA[::-1])
        with pytest.raises(TransferError, match="was changed while it was read"):
            file.read(300_000, 10)


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "reference://a.tif",
        "python://a.tif",
        "dask://host/a.tif",
        "github://a/b.tif",
        "local:///etc/passwd",
        "zip://a.tif::file:///tmp/a.zip",
        "http://host/a.tif::file:///etc/passwd",
        "http://" + "a" * 9000,
    ],
)
def test_only_a_few_schemes_are_opened(url: str) -> None:
    with pytest.raises(TransferError, match=r"expected a path, https://, s3://") as caught:
        locate(url).read_bytes()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_schemes_are_those_of_servers_and_stores() -> None:
    assert set(SCHEMES) == {
        *("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"),
    }


class Guarded(Answering):
    """Gives its body to one user only."""

    def status(self) -> int:
        return 200 if self.headers.get("Authorization") == "Basic bWU6c2VjcmV0" else 401


def test_a_password_is_used_and_not_shown() -> None:
    with running(HTTPServer(("127.0.0.1", 0), Guarded)) as one:
        port = one.server_address[1]
        url = locate(f"http://me:secret@127.0.0.1:{port}/a.tif")
        assert url.read_bytes() == b"dear"
        for wrong in ("http://me:sesame@127.0.0.1", "http://me:sesame@127.0.0.1:1"):
            bad = locate(f"{wrong}:{port}/a.tif" if wrong.endswith("127.0.0.1") else f"{wrong}/a")
            for ask in (Url.read_bytes, Url.size, lambda one: list(one.iterdir())):
                with pytest.raises(TwoStageError) as caught:
                    ask(bad)
                assert "sesame" not in str(caught.value)
    assert "secret" not in f"{url} {url!r} {url.name} {url.parent}"
    assert (url / "0").text.startswith("http://me:secret@")


def test_a_record_holds_no_password(server: Server, tmp_path: Path) -> None:
    url = str(at(server, "plain", "a.tif")).replace("//", "//me:secret@", 1)
    with open_slide(url, mpp=0.5) as slide:
        segment(slide, "nuclei", tmp_path / "out.zarr", refine="none", tissue=False)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "out.zarr").rglob("*.json*"))
    assert b"secret" not in kept
    assert Segmentation.open(tmp_path / "out.zarr").record.slide.path == url.replace(
        "me:secret@", ""
    )


def test_a_signature_is_not_in_messages() -> None:
    url = Url("http://127.0.0.1:1/a.tif?X-Amz-Signature=0f3b&id=7")
    with pytest.raises(TransferError, match=r"id=7 cannot be reached") as caught:
        url.read_bytes()
    assert "0f3b" not in str(caught.value)


# -- requests --------------------------------------------------------------------------------------


def test_opening_and_reading_take_few_requests(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", noise, photometric="rgb", tile=(256, 256))
    write_image(tmp_path / "a.ome.zarr", "v3-zstd")
    with web_server(tmp_path) as one:
        with open_slide(f"{one.url}/a.tif", mpp=0.5) as slide:
            slide.read(Box(0, 0, 700, 700))
        assert len(one.asked) <= 3 + -(-(tmp_path / "a.tif").stat().st_size // (1 << 18))
        one.asked.clear()
        with open_slide(f"{one.url}/a.ome.zarr") as slide:
            opened = len(one.asked)
            slide.read(Box(0, 0, 192, 192))
        assert opened <= 10
        assert len(one.asked) - opened == 9, "one for each chunk"
