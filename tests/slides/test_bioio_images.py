"""Images read through bioio's plugins, against liffile and what was written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.slide_writers import write_lif

from napari_twostage.errors import SlideError
from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.slides.base import Slide

pytest.importorskip("bioio", reason="needs the extra bioio")
liffile = pytest.importorskip("liffile", reason="needs the extra bioio")

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 4096, (2, 3, 60, 80), dtype=np.uint16)
PLANE = RNG.integers(0, 255, (1, 1, 90, 100), dtype=np.uint8)


def whole(slide: Slide) -> np.ndarray:
    return slide.read(Box(0, 0, *slide.level_shapes[0]))


@pytest.fixture
def lif(tmp_path: Path) -> Path:
    images = {"overview": (PLANE, ["Gray"]), "TileScan": (STACK, ["Green", "Red"])}
    path = write_lif(tmp_path / "a.lif", images, mpp=0.4)
    with liffile.LifFile(path) as file:  # the file of this test is one that others read
        np.testing.assert_array_equal(file.images[1].asarray(), STACK.transpose(1, 0, 2, 3))
    return path


def test_scene_channel_and_plane_are_chosen_by_name(lif: Path) -> None:
    with open_slide(lif, channel="red", z=2) as slide:
        assert [(one.name, one.scan) for one in slide.scenes] == [
            ("overview", False),
            ("TileScan", True),
        ]
        assert (slide.mpp, slide.mpp_source) == (pytest.approx((0.4, 0.4)), "file, through bioio")
        assert (slide.dtype, slide.channels, slide.format) == (np.uint16, 1, "LIF through bioio")
        assert slide.channel_names == ("Green", "Red")
        np.testing.assert_array_equal(whole(slide)[..., 0], STACK[1, 2])
        np.testing.assert_array_equal(
            slide.read(Box(5, 7, 40, 70))[..., 0], STACK[1, 2, 5:40, 7:70]
        )
        np.testing.assert_array_equal(slide.levels[0].compute()[..., 0], STACK[1, 2])
    with open_slide(lif, channel=0, z="max") as slide:
        np.testing.assert_array_equal(whole(slide)[..., 0], STACK[0].max(axis=0))
    with open_slide(lif, scene="overview") as slide:
        np.testing.assert_array_equal(whole(slide)[..., 0], PLANE[0, 0])


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"z": 0}, r"2 channels; choose one of 0 \(Green\), 1 \(Red\)"),
        ({"channel": 0}, "3 focal planes; choose one with z=0 to z=2"),
        ({"channel": 0, "z": 3}, "3 focal planes and none is 3"),
        ({"channel": 0, "z": 0, "t": 1}, "one time point, 1 was asked for"),
        ({"scene": "TileScan 2"}, "2 scenes and none is 'TileScan 2'"),
    ],
)
def test_a_choice_that_is_needed_or_wrong_is_told(
    lif: Path, choice: dict[str, Any], words: str
) -> None:
    with pytest.raises(SlideError, match=rf"\Aa\.lif has {words}[^\n]*\Z"):
        open_slide(lif, **choice)


def test_a_damaged_file_is_told_in_one_line(lif: Path) -> None:
    lif.write_bytes(lif.read_bytes()[:200])
    with pytest.raises(SlideError, match=r"\Aa\.lif cannot be read through bioio [^\n]*\Z"):
        open_slide(lif)


def test_without_the_plugin_the_error_says_what_to_install(
    lif: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bioio_lif", None)
    with pytest.raises(SlideError, match=r"\Aa\.lif [^\n]*\Z"):
        open_slide(lif)
