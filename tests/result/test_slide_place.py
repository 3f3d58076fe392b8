"""The slide of a result is found after both were moved, and the record learns the new place."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from tests.fakes import FakeModel, noise

import napari_twostage as ts
from napari_twostage.errors import SegmentationError, SlideError
from napari_twostage.method.selection import Selection

if TYPE_CHECKING:
    from pathlib import Path


def _write(path: Path, *, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (noise(70, 90, seed=seed) * 255).astype(np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", resolution=(20000, 20000), resolutionunit=3)
    return path


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A folder with `slide.tif` and `result.zarr`, both moved here together."""
    old = tmp_path / "old"
    with ts.open_slide(_write(old / "slide.tif")) as slide:  # Windows moves no open file
        ts.segment(slide, FakeModel(), old / "result.zarr", refine="none", tissue=False)
    old.rename(tmp_path / "new place äöü")
    return tmp_path / "new place äöü"


def _refine(result: Path, slide: Path | None = None) -> ts.Segmentation:
    seg = ts.Segmentation.open(result, slide=slide, model=FakeModel())
    seg.refine(Selection(fraction=0.5))
    return seg


def test_a_slide_beside_its_result_is_found_and_recorded(moved: Path) -> None:
    _refine(moved / "result.zarr")
    record = ts.Segmentation.open(moved / "result.zarr").record
    assert record.slide.path == str(moved / "slide.tif")


def test_the_path_as_seen_from_the_result_counts_first(tmp_path: Path) -> None:
    slide = _write(tmp_path / "a" / "slides" / "one.tif")
    ts.segment(slide, FakeModel(), tmp_path / "a" / "out" / "one.zarr", refine="none", tissue=False)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert _refine(tmp_path / "b" / "out" / "one.zarr").slide.path == (
        tmp_path / "b" / "slides" / "one.tif"
    )
    shutil.copytree(tmp_path / "a" / "out", tmp_path / "c" / "out")
    assert _refine(tmp_path / "c" / "out" / "one.zarr").slide.path == slide  # where it was


def test_another_slide_of_the_same_name_is_passed_over(moved: Path, tmp_path: Path) -> None:
    away = tmp_path / "elsewhere.tif"
    (moved / "slide.tif").rename(away)
    _write(moved / "slide.tif", seed=1)
    with pytest.raises(SegmentationError, match=r"another slide than the one of .* name the right"):
        _refine(moved / "result.zarr")
    _refine(moved / "result.zarr", away)
    assert ts.Segmentation.open(moved / "result.zarr").slide.path == away  # found again by itself


def test_a_slide_that_is_gone_is_named_with_both_places(moved: Path, tmp_path: Path) -> None:
    (moved / "slide.tif").unlink()
    with pytest.raises(SlideError, match=r"is neither beside .* nor at .*; put it back"):
        _refine(moved / "result.zarr")
    assert str(tmp_path / "old" / "slide.tif") == (
        ts.Segmentation.open(moved / "result.zarr").record.slide.path
    )
