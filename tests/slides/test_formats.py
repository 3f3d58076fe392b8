"""The table of formats: every format is found by its name and by its bytes."""

from __future__ import annotations

import tomllib
from importlib import import_module
from itertools import combinations
from pathlib import Path

import pytest
import zarr

from napari_twostage.cli.parser import main
from napari_twostage.slides import formats
from napari_twostage.slides.formats import FORMATS, Format

ROOT = Path(__file__).parents[2]
MODULES = {
    "tiff": "tiff",
    "ome_zarr": "ome_zarr",
    "openslide": "openslide",
    "dicom": "dicom",
    "czi": "czi",
    "bioio": "bioio_images",
    "image": "plain_images",
}
STARTS = {
    b"II*\0\x08\0\0\0": "tiff",
    b"MM\0*\0\0\0\x08": "tiff",
    b"II+\0\x08\0\0\0": "tiff",
    b"MM\0+\0\x08\0\0": "tiff",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR": "png",
    b"\xff\xd8\xff\xe0\0\x10JFIF": "jpeg8",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": "jpeg2k",
    b"\xff\x4f\xff\x51\0\x2f": "jpeg2k",
    b"BM\x9a\0\0\0": "bmp",
    b"RIFF\n\x1a\0\0WEBPVP8 ": "webp",
    bytes(128) + b"DICM": "dicom",
    b"ZISRAWFILE" + bytes(22): "czi",
    b"\x70\0\0\0\x20\1\0\0\x2a": "bioio",
    b"\xda\xce\xbe\x0a\x10\0\0\0": "bioio",
}


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_a_format_is_found_by_its_endings_in_any_case(one: Format) -> None:
    for ending in one.endings:
        assert ending == ending.lower()
        for name in (f"a{ending}", f"A.B{ending.upper()}"):
            found = formats.by_ending(name)
            assert found
            assert found.reader == one.reader
            assert found.extra == one.extra


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.name)
def test_its_reader_is_a_module_and_its_extra_can_be_installed(one: Format) -> None:
    assert import_module(f"napari_twostage.slides.{MODULES[one.reader]}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert one.extra is None or one.extra in project["optional-dependencies"]


@pytest.mark.parametrize("start", STARTS)
def test_a_format_is_found_by_its_first_bytes(start: bytes) -> None:
    found = formats.by_first_bytes(start[: formats.MAGIC_BYTES])
    assert found
    assert STARTS[start] in {found.reader, found.kind}


@pytest.mark.parametrize(
    "start", [b"", b"II", b"RIFF\n\x1a\0\0WAVE", b"Dear colleague,\n", b"%PDF-"]
)
def test_other_bytes_are_no_format(start: bytes) -> None:
    assert formats.by_first_bytes(start) is None


def test_the_longest_ending_counts() -> None:
    names = {
        name: getattr(formats.by_ending(name), "name", None)
        for name in ("a.tif", "a.ome.tif", "a.svs", "a.svslide", "a.ome.zarr", "a.zip", "svs")
    }
    assert names["a.ome.tif"] == "OME-TIFF"
    assert names["a.svs"] == "Aperio SVS"
    assert names["a.svslide"] == "Sakura"
    assert names["a.ome.zarr"] == "OME-Zarr"
    assert names["a.zip"] is names["svs"] is None


def test_an_ending_has_one_reader() -> None:
    for one, other in combinations(FORMATS, 2):
        if set(one.endings) & set(other.endings):
            assert one.reader == other.reader


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_folder_is_found_by_its_contents(tmp_path: Path, version: int) -> None:
    assert formats.by_contents(tmp_path) is None
    zarr.create_group(tmp_path / "group", zarr_format=version)
    zarr.create_array(tmp_path / "array", shape=(3, 4), dtype="uint8", zarr_format=version)
    for name in ("group", "array"):
        found = formats.by_contents(tmp_path / name)
        assert found
        assert found.name == "OME-Zarr"


def test_the_command_line_lists_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    for one in FORMATS:
        assert one.name in printed
