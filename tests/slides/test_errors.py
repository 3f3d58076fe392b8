"""Files that are refused: in one line, with what to do next."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_twostage.errors import SlideError
from napari_twostage.slides import open_slide

Write = Callable[..., Path]


def refused(path: Path, message: str, **arguments: object) -> None:
    with pytest.raises(SlideError, match=message) as caught:
        open_slide(path, **arguments)
    assert "\n" not in str(caught.value)


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "slide.svs", "there is no file .*slide.svs; check the path")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "slide.svs").touch()
    refused(tmp_path / "slide.svs", r"slide.svs is empty \(0 bytes\); copy it again")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder without zarr.json")


@pytest.mark.parametrize("name", ["notes.txt", "slide.svs", "slide.tif"])
def test_not_an_image(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Dear colleague,\n" * 50)
    refused(tmp_path / name, f"{name} .*; ")


@pytest.mark.parametrize(
    ("name", "start", "extra"),
    [
        ("a.mrxs", b"\xff\xd8\xff\xe0 a thumbnail, not the slide", "openslide"),
        ("a.svslide", b"SQLite format 3", "openslide"),
        ("a.dcm", bytes(128) + b"DICM", "dicom"),
        ("DICOM without an ending", bytes(128) + b"DICM", "dicom"),
        ("a.czi", b"ZISRAWFILE", "czi"),
        ("a.lif", b"\x70\0\0\0\x20\1\0\0\x2a", "bioio"),
        ("a.nd2", b"\0\0\0\x0cjP  of old files", "bioio"),
    ],
)
def test_what_an_extra_reads_says_so(
    tmp_path: Path, name: str, start: bytes, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_twostage.slides.formats.find_spec", lambda _: None)
    (tmp_path / name).write_bytes(start)
    refused(tmp_path / name, rf"not installed; run: pip install 'napari-twostage\[{extra}\]'")


def test_a_folder_of_dicom_files_says_what_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_twostage.slides.formats.find_spec", lambda _: None)
    (tmp_path / "1.2.3").write_bytes(bytes(128) + b"DICM")
    refused(tmp_path, r"is DICOM, .*pip install 'napari-twostage\[dicom\]'")


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (
            ".vsi",
            "pixels are in the folder _a_ beside it; convert it to OME-Zarr with bioformats2raw",
        ),
        (".oir", "an Olympus OIR; convert it"),
        (".kfb", "a KFBio slide; export it as DICOM, SVS or TIFF"),
        (".isyntax", "a Philips iSyntax; export it"),
        (".afi", "a list of one SVS for each channel; open one of these"),
        (".dzi", "open the slide that it was made from"),
    ],
)
@pytest.mark.parametrize(
    "start", [b"II*\0\x08\0\0\0", b"anything", b"<?xml version="], ids=["TIFF", "other", "XML"]
)
def test_a_format_that_nothing_reads_says_what_to_export(
    tmp_path: Path, ending: str, words: str, start: bytes
) -> None:
    (tmp_path / f"a{ending.upper()}").write_bytes(start)
    refused(tmp_path / f"a{ending.upper()}", words)


def test_a_damaged_plain_image(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    refused(tmp_path / "image.png", "image.png is damaged .*copy or export it again", mpp=1)


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.1])
def test_truncated(real_slide: Path, tmp_path: Path, kept: float) -> None:
    content = real_slide.read_bytes()
    (tmp_path / "cut.svs").write_bytes(content[: int(len(content) * kept)])
    refused(tmp_path / "cut.svs", "cut.svs .*(copy|export) it again")


@pytest.mark.parametrize("layout", [{"tile": (64, 64), "compression": "zlib"}, {}])
def test_truncated_behind_its_tables(tmp_path: Path, layout: dict[str, object]) -> None:
    path = tmp_path / "cut.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8)
    tifffile.imwrite(path, pixels, **layout)
    path.write_bytes(path.read_bytes()[:-100])
    refused(
        path, r"cut.tif is truncated: its tiles reach to byte [\d,]+, the file has [\d,]+", mpp=1
    )


@pytest.mark.parametrize("size", [8, 9, 20, 60, 150])
def test_a_tiff_of_a_few_bytes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "stub.tif"
    tifffile.imwrite(path, np.zeros((50, 50), np.uint8))
    path.write_bytes(path.read_bytes()[:size])
    refused(path, "stub.tif .*; (copy|export|write)", mpp=1)


def test_a_header_alone(tmp_path: Path) -> None:
    (tmp_path / "stub.tif").write_bytes(b"II*\0")
    refused(tmp_path / "stub.tif", "stub.tif is damaged or not a TIFF", mpp=1)


def test_zero_sized(tmp_path: Path) -> None:
    path = tmp_path / "none.tif"
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[0].tags[257].overwrite(0)
    refused(path, r"none.tif .*(no pixels|holds no image)", mpp=1)


@pytest.mark.parametrize("axes", ["ZYX", "TYX", "ZCYX", "TCYX"])
def test_stacks(tmp_path: Path, axes: str) -> None:
    path = tmp_path / "stack.ome.tif"
    shape = {"Z": 5, "T": 5, "C": 2, "Y": 32, "X": 48}
    pixels = np.zeros([shape[axis] for axis in axes], np.uint8)
    tifffile.imwrite(path, pixels, metadata={"axes": axes}, photometric="minisblack")
    refused(
        path, "stack.ome.tif has 5 (focal planes|time points); choose one with", mpp=1, channel=0
    )


def test_a_stack_without_names_of_axes(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    with tifffile.TiffWriter(path) as tif:
        for _ in range(4):
            tif.write(np.zeros((32, 48), np.uint8), metadata=None)
    refused(path, "stack of 4 planes", mpp=1)


def test_an_unknown_compression(tmp_path: Path) -> None:
    path = tmp_path / "strange.tif"
    tifffile.imwrite(path, np.zeros((32, 32), np.uint8), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[0].tags[259].overwrite(64999)
    refused(path, "strange.tif .*compression", mpp=1)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_pixels_that_are_no_real_numbers(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "measured.tif"
    tifffile.imwrite(path, np.zeros((32, 32), dtype))
    refused(path, f"measured.tif has {np.dtype(dtype).name} pixels; convert it", mpp=1)


def test_too_many_channels(tmp_path: Path) -> None:
    path = tmp_path / "many.tif"
    pixels = np.zeros((32, 32, 7), np.uint8)
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig", metadata=None)
    refused(path, "many.tif has 7 channels; choose one of 0, 1, 2, 3, 4, 5, 6", mpp=1)


def test_colours_that_are_not_rgb(tmp_path: Path) -> None:
    path = tmp_path / "print.tif"
    tifffile.imwrite(path, np.zeros((32, 32, 4), np.uint8), photometric="separated")
    refused(path, "print.tif has SEPARATED pixels", mpp=1)


def test_a_huge_piece_that_must_be_decoded_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "piece.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        for code in (256, 257, 278):
            tif.pages[0].tags[code].overwrite(60000)
    refused(path, r"compressed in pieces of 3.4 GiB.*vips tiffsave", mpp=1)


@pytest.mark.parametrize("mpp", [0, -1, float("nan"), (0.5, 0)])
def test_a_pixel_size_that_is_none(real_slide: Path, mpp: object) -> None:
    refused(real_slide, "is no pixel size", mpp=mpp)


def test_a_tiff_that_names_more_tables_than_it_has(tmp_path: Path) -> None:
    path = tmp_path / "short.tif"
    tifffile.imwrite(path, np.zeros((128, 128), np.uint8), tile=(64, 64), metadata=None)
    content = bytearray(path.read_bytes())
    entry = content.index(struct.pack("<HHI", 324, 4, 4))  # TileOffsets, LONG, four of them
    struct.pack_into("<I", content, entry + 4, 2)
    path.write_bytes(content)
    refused(path, "short.tif lists 2 tiles where 4 are expected", mpp=1)
