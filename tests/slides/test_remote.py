"""Slides by URL: the same pixels, few requests, and a lost connection is no damage."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import fsspec
import numpy as np
import pytest
import tifffile
import zarr
from tests.servers import memory, web_server

from napari_twostage.errors import ReadError, SlideError, TransferError
from napari_twostage.geometry import Box
from napari_twostage.io.url import Url
from napari_twostage.slides import open_slide
from napari_twostage.slides.byte_source import RemoteFile, SeekableFile, byte_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import WebServer

    from napari_twostage.slides.base import Slide

SAMPLES = Path(__file__).parents[2] / "sample_data"
SVS = SAMPLES / "CMU-1-Small-Region.svs"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_twostage.io.remote._PAUSE_S", 0.01)


@pytest.fixture
def samples() -> Iterator[WebServer]:
    with web_server(SAMPLES) as server:
        yield server


@pytest.fixture(scope="module")
def ome_zarr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Part of the sample slide as OME-Zarr of two levels, with a chunk that is left out."""
    folder = tmp_path_factory.mktemp("zarr") / "slide.ome.zarr"
    pixels = tifffile.imread(SVS, key=0)[:700, :900]
    pixels[256:512, 256:512] = 0
    group = zarr.create_group(folder)
    for level, plane in enumerate((pixels, pixels[::2, ::2])):
        group.create_array(str(level), data=plane, chunks=(256, 256, 3))
    group.attrs["ome"] = {"version": "0.5", "multiscales": [_multiscale()]}
    assert not (folder / "0" / "c" / "1" / "1" / "0").exists()
    return folder


def _multiscale() -> dict[str, object]:
    return {
        "axes": [
            {"name": "y", "type": "space", "unit": "micrometer"},
            {"name": "x", "type": "space", "unit": "micrometer"},
            {"name": "c", "type": "channel"},
        ],
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [0.499 * 2**level, 0.499 * 2**level, 1.0]}
                ],
            }
            for level in range(2)
        ],
    }


def assert_same(found: Slide, expected: Slide) -> None:
    for name in ("level_shapes", "mpp", "mpp_source", "format", "channels", "dtype", "factors"):
        assert getattr(found, name) == getattr(expected, name), name
    assert found.fingerprint() == expected.fingerprint()
    for level, (height, width) in enumerate(expected.level_shapes):
        for box in (Box(-5, 3, 300, 511), Box(height - 200, width - 300, height + 9, width)):
            np.testing.assert_array_equal(found.read(box, level), expected.read(box, level))


# -- OME-Zarr --------------------------------------------------------------------------------------


def test_ome_zarr_from_a_web_server_is_the_local_one(ome_zarr: Path) -> None:
    with web_server(ome_zarr.parent) as server:
        slide = open_slide(f"{server.url}/slide.ome.zarr")
        assert_same(slide, open_slide(ome_zarr))
    assert (slide.name, str(slide.path)) == ("slide.ome.zarr", f"{server.url}/slide.ome.zarr")


def test_ome_zarr_in_memory_is_the_local_one(ome_zarr: Path) -> None:
    with memory() as bucket:
        Url(f"{bucket}/slide.ome.zarr").upload(ome_zarr)
        assert_same(open_slide(f"{bucket}/slide.ome.zarr/"), open_slide(ome_zarr))


def test_a_chunk_that_cannot_be_had_is_neither_empty_nor_damaged(ome_zarr: Path) -> None:
    with web_server(ome_zarr.parent) as server:
        slide = open_slide(f"{server.url}/slide.ome.zarr")
        for status in (403, 503):
            server.failures = [status] * 100
            with pytest.raises(TransferError, match=r"slide\.ome\.zarr/0/c/\d/\d/0 "):
                slide.read(Box(0, 0, 9, 9))
        server.failures = []
        assert slide.read(Box(0, 0, 9, 9)).any(), "it can be read again later"


def test_a_damaged_chunk_is_damage(ome_zarr: Path) -> None:
    with memory() as bucket:
        Url(f"{bucket}/slide.ome.zarr").upload(ome_zarr)
        fsspec.filesystem("memory").pipe_file("/bucket/slide.ome.zarr/0/c/0/0/0", b"no zstd")
        with pytest.raises(ReadError, match=r"slide\.ome\.zarr cannot be read at rows 0"):
            open_slide(f"{bucket}/slide.ome.zarr").read(Box(0, 0, 9, 9))


def test_a_folder_that_is_not_there(samples: WebServer) -> None:
    with pytest.raises(SlideError, match=r"no OME-Zarr image at http.*/none\.ome\.zarr.*check"):
        open_slide(f"{samples.url}/none.ome.zarr")


# -- TIFF ------------------------------------------------------------------------------------------


def test_a_tiff_from_a_web_server_is_the_local_one(samples: WebServer) -> None:
    slide = open_slide(f"{samples.url}/{SVS.name}")
    assert_same(slide, open_slide(SVS))
    assert slide.name == SVS.name


def test_a_pyramidal_tiff_in_memory_is_the_local_one(tmp_path: Path) -> None:
    pixels = tifffile.imread(SVS, key=0)
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        options = {"photometric": "rgb", "tile": (256, 256), "compression": "zlib"}
        tif.write(pixels, subifds=1, resolution=(20000, 20000), resolutionunit=3, **options)
        tif.write(pixels[::2, ::2], subfiletype=1, **options)
    with memory() as bucket:
        Url(f"{bucket}/a.tif").upload(path)
        slide = open_slide(f"{bucket}/a.tif")
        assert len(slide.level_shapes) == 2
        assert_same(slide, open_slide(path))


def test_only_what_is_needed_is_asked_for(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8192, 4096), np.uint8)
    path = tmp_path / "big.tif"
    tifffile.imwrite(path, noise, tile=(256, 256), resolution=(20000, 20000), resolutionunit=3)
    with web_server(tmp_path) as server:
        slide = open_slide(f"{server.url}/big.tif")
        box = Box(4000, 2000, 4300, 2200)
        np.testing.assert_array_equal(slide.read(box)[..., 0], noise[box.slices])
        assert server.sent < path.stat().st_size / 8
        before = len(server.asked)
        slide.read(box)
        assert len(server.asked) == before, "what was read is kept"


def test_a_grey_image_file_is_read_as_a_whole(samples: WebServer) -> None:
    slide = open_slide(f"{samples.url}/histo.jpg", mpp=0.5)
    assert_same(slide, open_slide(SAMPLES / "histo.jpg", mpp=0.5))


def test_threads_share_what_they_ask_for(samples: WebServer) -> None:
    slide, expected = open_slide(f"{samples.url}/{SVS.name}"), open_slide(SVS)
    boxes = [
        Box(top, left, top + 500, left + 500) for top in range(0, 2400, 300) for left in (0, 900)
    ]
    with ThreadPoolExecutor(8) as pool:
        for box, pixels in zip(boxes, pool.map(slide.read, boxes), strict=True):
            np.testing.assert_array_equal(pixels, expected.read(box))
    assert samples.sent < 1.2 * SVS.stat().st_size, "no block is sent twice"


def test_a_lost_connection_is_no_damage(samples: WebServer) -> None:
    slide = open_slide(f"{samples.url}/{SVS.name}")
    box = Box(1500, 1500, 1600, 1600)
    samples.failures = [500] * 3
    with pytest.raises(TransferError, match="try again"):
        slide.read(box)
    np.testing.assert_array_equal(slide.read(box), open_slide(SVS).read(box))


def test_a_server_without_ranges_is_refused_before_the_file_is_sent(samples: WebServer) -> None:
    samples.ranges = False
    with pytest.raises(TransferError, match="without byte ranges; download it"):
        open_slide(f"{samples.url}/{SVS.name}")


def test_a_truncated_file_and_one_that_is_not_there(samples: WebServer, tmp_path: Path) -> None:
    with pytest.raises(SlideError, match=r"there is no file http.*/none\.svs; check the path"):
        open_slide(f"{samples.url}/none.svs")
    (tmp_path / "cut.svs").write_bytes(SVS.read_bytes()[:-200_000])
    (tmp_path / "empty.svs").write_bytes(b"")
    (tmp_path / "one.svs").write_bytes(b"I")
    with web_server(tmp_path) as server:
        for name, words in (("cut", "truncated|damaged"), ("empty", "empty"), ("one", "no TIFF")):
            with pytest.raises(SlideError, match=words):
                open_slide(f"{server.url}/{name}.svs")


def test_what_only_openslide_reads_is_to_be_downloaded(tmp_path: Path) -> None:
    (tmp_path / "a.mrxs").write_bytes(b"\xff\xd8\xff" + bytes(99))
    with (
        web_server(tmp_path) as server,
        pytest.raises(SlideError, match="not read by URL; download it"),
    ):
        open_slide(f"{server.url}/a.mrxs")


def test_a_closed_slide_is_not_read(samples: WebServer) -> None:
    with open_slide(f"{samples.url}/{SVS.name}") as slide:
        slide.read(Box(0, 0, 9, 9))
    with pytest.raises(ReadError, match="closed"):
        slide.read(Box(0, 0, 9, 9))


# -- bytes -----------------------------------------------------------------------------------------


def test_bytes_are_those_of_the_file(samples: WebServer) -> None:
    data = SVS.read_bytes()
    here, far = byte_source(SVS), byte_source(Url(f"{samples.url}/{SVS.name}"))
    assert here.size == far.size == len(data)
    block = 1 << 18
    for offset, count in (
        (0, 10),
        (block - 3, 6),
        (block, block),
        (5, 3 * block),
        (len(data) - 4, 9),
    ):
        assert far.read(offset, count) == here.read(offset, count) == data[offset : offset + count]
    assert far.read(len(data) + 1, 5) == here.read(len(data) + 1, 5) == b""


def test_a_file_that_changed_meanwhile_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1000))
    with web_server(tmp_path) as server:
        file = RemoteFile(Url(f"{server.url}/a"))
        (tmp_path / "a").write_bytes(bytes(900))
        with pytest.raises(TransferError, match="900 bytes where 1,000 were asked for"):
            file.read(0, 10)
        (tmp_path / "a").unlink()
        with pytest.raises(TransferError, match="no longer there"):
            file.read(0, 10)


def test_a_seekable_file_moves_like_one_on_disk(samples: WebServer) -> None:
    far = SeekableFile(RemoteFile(Url(f"{samples.url}/{SVS.name}")))
    with SVS.open("rb") as here:
        for move in ((10, 0), (5, 1), (-7, 2), (0, 2), (-3, 1)):
            assert far.seek(*move) == here.seek(*move)
            assert far.read(20) == here.read(20)
            assert far.tell() == here.tell()
