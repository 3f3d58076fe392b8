"""Places: paths and URLs behave alike, and say what is wrong in one line."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.servers import memory, web_server

from napari_twostage.errors import LocationError, TransferError
from napari_twostage.io.paths import (
    Location,
    atomic_folder,
    file_url_path,
    is_folder,
    is_vacant,
    locate,
    remove_tree,
    same_file,
    write_whole,
)
from napari_twostage.io.url import Url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import WebServer


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    """A place for new files, here and by URL."""
    if request.param == "disk":
        yield tmp_path
    else:
        with memory() as url:
            yield locate(url)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_twostage.io.remote._PAUSE_S", 0.01)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 1000)
    with web_server(tmp_path) as running:
        yield running


def test_names_are_put_together_and_taken_apart() -> None:
    url = locate("s3://bucket/slides/a.ome.zarr/")
    assert isinstance(url, Url)
    assert (url.name, url.suffix, str(url / "0")) == ("a.ome.zarr", ".zarr", f"{url}/0")
    assert url.parent == locate("s3://bucket/slides")
    assert str(url.with_name("b")) == "s3://bucket/slides/b"
    assert locate("https://host/a.svs?token=x/y").name == "a.svs"
    assert str(locate("https://host/a.svs?token=x/y").absolute()).endswith("?token=x/y")


def test_paths_stay_paths(tmp_path: Path) -> None:
    assert locate("a/b.svs") == Path("a/b.svs")
    assert locate(tmp_path.as_uri()) == tmp_path
    assert locate(tmp_path) == tmp_path
    assert is_folder(tmp_path)
    assert is_folder(locate("https://host/a.zarr/0"))
    assert not is_folder(locate("https://host/a.svs"))


def test_file_urls_name_files_of_this_machine_or_of_a_share() -> None:
    assert file_url_path("file://localhost/data/a.svs", windows=False) == "/data/a.svs"
    assert file_url_path("file:///data/%C3%A4%23.svs", windows=False) == "/data/ä#.svs"
    with pytest.raises(LocationError, match=r"on the machine server.*mount the share"):
        file_url_path("file://server/share/a.svs", windows=False)
    for url, path in {
        "file:///C:/data/a%20b.svs": r"C:\data\a b.svs",
        "file://localhost/C:/a.svs": r"C:\a.svs",
        "file://server/share/a.svs": r"\\server\share\a.svs",
        "file:////server/share/a.svs": r"\\server\share\a.svs",
    }.items():
        assert file_url_path(url, windows=True) == path


def test_a_drive_is_no_scheme() -> None:
    assert isinstance(locate("C://slides/a.svs"), Path)


def test_a_name_too_long_for_any_file_is_said(tmp_path: Path) -> None:
    for name in ("x" * 256, "ä" * (128 if sys.platform == "linux" else 256)):
        with pytest.raises(LocationError, match=r"256 bytes.*choose a shorter one"):
            locate(tmp_path / name)
    assert locate(tmp_path / ("x" * 255)).name == "x" * 255


def test_two_spellings_of_a_file_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(b"")
    assert not same_file(tmp_path / "a", tmp_path / "missing")
    (tmp_path / "c").mkdir()
    assert same_file(tmp_path / "a", tmp_path / "c" / ".." / "a")
    assert not same_file(tmp_path / "a", tmp_path / "b")
    assert not same_file(tmp_path / "a", Url("s3://bucket/a"))


def test_a_file_is_replaced_as_a_whole(folder: Location) -> None:
    file = folder / "one.json"
    with pytest.raises(FileNotFoundError):
        file.read_bytes()
    for data in (b"first", b"2"):
        write_whole(file, data)
        assert file.read_bytes() == data
    assert [one.name for one in folder.iterdir()] == ["one.json"]


def test_a_folder_is_there_when_it_is_whole(folder: Location) -> None:
    made = folder / "made"
    assert is_vacant(made)
    with suppress(RuntimeError), atomic_folder(made) as filling:
        filling.mkdir(exist_ok=True)
        write_whole(filling / "left", b"")
        raise RuntimeError("killed")
    assert is_vacant(made)
    with atomic_folder(made) as filling:
        filling.mkdir(exist_ok=True)
        write_whole(filling / "right", b"")
    assert not is_vacant(made)
    assert (made / "right").exists()
    remove_tree(made)
    assert is_vacant(made)
    assert not made.exists()


def test_an_object_that_is_there_is_not_taken_twice() -> None:
    with memory() as url:
        place = Url(f"{url}/a")
        place.write_bytes(b"mine", new=True)
        with pytest.raises(FileExistsError):
            place.write_bytes(b"yours", new=True)
        assert place.read_bytes() == b"mine"


def test_parts_are_read_without_the_rest(server: WebServer) -> None:
    place = Url(f"{server.url}/a.bin")
    assert place.size() == 256_000
    assert place.read_range(250, 260) == bytes([*range(250, 256), 0, 1, 2, 3])
    assert server.sent < 100
    assert place.is_file()
    assert not (place.parent / "b.bin").exists()


def test_a_server_without_ranges_is_told_apart_before_the_file_is_sent(server: WebServer) -> None:
    server.ranges = False
    with pytest.raises(TransferError, match=r"a\.bin cannot be read in parts.*download it"):
        Url(f"{server.url}/a.bin").size()


@pytest.mark.parametrize("failures", [[503], [503, 429]])
def test_a_server_that_fails_for_a_moment_is_asked_again(
    server: WebServer, failures: list[int]
) -> None:
    server.failures = failures
    assert len(Url(f"{server.url}/a.bin").read_bytes()) == 256_000


@pytest.mark.parametrize(
    ("status", "words"), [(403, "may not be opened"), (401, "credentials"), (500, "try again")]
)
def test_what_a_server_refuses_is_said(server: WebServer, status: int, words: str) -> None:
    place = Url(f"{server.url}/a.bin")
    for ask in (place.read_bytes, place.size, place.exists):
        server.failures = [status] * 6
        with pytest.raises(TransferError, match=words) as error:
            ask()
        assert str(place) in str(error.value)
        assert "\n" not in str(error.value)


def test_web_servers_take_no_files(server: WebServer) -> None:
    with pytest.raises(TransferError, match="takes no files"):
        Url(f"{server.url}/new").write_bytes(b"")


def test_nobody_there_is_no_missing_file() -> None:
    for ask in (Url.read_bytes, Url.size, Url.exists):
        with pytest.raises(TransferError, match="cannot be reached"):
            ask(Url("http://127.0.0.1:9/a.svs"))


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(TransferError, match="nowhere://a has a scheme that is not known"):
        Url("nowhere://a").read_bytes()


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [("s3://bucket/a", "s3fs", "s3"), ("https://host/a", "aiohttp", "remote")],
)
def test_a_missing_backend_is_named(
    url: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.registry import _registry

    from napari_twostage.io import remote

    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(_registry, url.partition(":")[0], raising=False)
    remote._web_options.cache_clear()
    with pytest.raises(TransferError, match=rf"pip install 'napari-twostage\[{extra}\]'"):
        Url(url).read_bytes()
