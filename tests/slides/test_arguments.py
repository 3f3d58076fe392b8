"""Arguments of `open_slide`: every type ends in a slide or in one line."""

from __future__ import annotations

import bz2
import gzip
import lzma
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pytest

from napari_twostage.errors import SlideError
from napari_twostage.samples import sample_slide
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

PIXELS = np.zeros((32, 32, 3), np.uint8)


class Tensor:
    """An array of a library whose types numpy does not know."""

    shape = (32, 32, 3)
    dtype = "torch.uint8"


@pytest.mark.parametrize(
    "mpp", [0.5, [0.5], (0.5, 0.25), [0.5, 0.25], np.array([0.5, 0.25]), np.float32(0.5)]
)
def test_a_pixel_size_may_be_of_any_numeric_type(mpp: Any) -> None:
    numbers = np.asarray(mpp, float).ravel()
    expected = (numbers[0], numbers[-1])
    assert open_slide(PIXELS, mpp=mpp).mpp == expected
    with open_slide(sample_slide(), mpp=mpp) as slide:
        assert slide.mpp == expected


@pytest.mark.parametrize("mpp", ["0.5", (0.5, 0.5, 1), [], True, {}, [[0.5], [0.5, 1]], 1j])
@pytest.mark.parametrize("source", [PIXELS, sample_slide()], ids=["array", "file"])
def test_another_pixel_size_is_refused_in_one_line(source: Any, mpp: Any) -> None:
    with pytest.raises(SlideError, match=r"\Ampp must be [^\n]+ found [^\n]+; pass mpp=0\.5"):
        open_slide(source, mpp=mpp)


def unknown_chunks() -> da.Array:
    return da.from_delayed(dask.delayed(lambda: PIXELS)(), shape=(np.nan, 32, 3), dtype="u1")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (Tensor(), "of numpy"),
        (unknown_chunks(), "compute_chunk_sizes"),
        ("", "empty path"),
        (None, "NoneType"),
    ],
    ids=["tensor", "unknown chunks", "empty", "none"],
)
def test_what_is_no_slide_is_refused_in_one_line(source: Any, words: str) -> None:
    with pytest.raises(SlideError, match=rf"\A[^\n]*{words}[^\n]*\Z"):
        open_slide(source, mpp=0.5)


@pytest.mark.parametrize("channel", [0.5, True, [0]])
def test_a_channel_is_a_number_or_a_name(channel: Any) -> None:
    with pytest.raises(SlideError, match="channel must be"):
        open_slide(PIXELS, mpp=0.5, channel=channel)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("login.svs", b"\n<!DOCTYPE html><html>", "a web page"),
        ("lfs.svs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("a.svs.gz", gzip.compress(b"II*\0", mtime=0), "unpack it"),
        ("a.ome.zarr.zip", b"PK\x03\x04 and more than that", "unpack it"),
        ("a.svs.bz2", bz2.compress(b"II*\0"), "bzip2; unpack it"),
        ("a.svs.xz", lzma.compress(b"II*\0"), "xz; unpack it"),
        ("a.rar", b"Rar!\x1a\x07\x01\0", "unpack it"),
        ("._a.svs", b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "open the slide itself"),
        ("annex.svs", b"/annex/objects/SHA256E-s12--34.svs\n", "git annex get"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "HDF5"),
        ("error.svs", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code>", "server's error"),
    ],
)
def test_files_of_other_kinds_are_called_by_their_names(
    tmp_path: Path, name: str, data: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SlideError, match=rf"\A{name} is [^\n]*{words}"):
        open_slide(tmp_path / name)
