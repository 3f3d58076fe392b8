"""Slides, their levels and labels in other processes: spawned ones, dask's, and DataLoader's."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from tests.slide_files import picture, write_svs
from tests.slide_writers import write_bioformats2raw, write_lif, write_ngff

from napari_twostage.geometry import Box
from napari_twostage.slides import open_slide
from napari_twostage.slides.openslide import open_with_openslide
from napari_twostage.slides.pyramid import build_pyramid, with_pyramid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_twostage.slides.base import Slide

BOX = Box(10, 20, 60, 90)
PIXELS = picture(120, 130)


def svs(folder: Path) -> Slide:
    return open_slide(write_svs(folder / "a.svs", picture(500, 600)), mpp=0.3)


def by_openslide(folder: Path) -> Slide:
    return open_with_openslide(write_svs(folder / "a.svs", picture(500, 600)))


def scene(folder: Path) -> Slide:
    series = {"a": picture(120, 130), "b": picture(100, 90)}
    return open_slide(write_bioformats2raw(folder / "a.zarr", series), scene="b")


def channel(folder: Path) -> Slide:
    stored = np.random.default_rng(0).integers(0, 60000, (2, 3, 120, 130), dtype=np.uint16)
    folder = write_ngff(folder / "a.zarr", [stored], "czyx")
    return open_slide(folder, channel=1, z="max", intensity=(3, 400))


def lif(folder: Path) -> Slide:
    pytest.importorskip("bioio", reason="needs the extra bioio")
    stored = np.random.default_rng(0).integers(0, 4096, (2, 1, 120, 130), dtype=np.uint16)
    return open_slide(write_lif(folder / "a.lif", {"a": (stored, ["Green", "Red"])}), channel=1)


def numpy_array(_: Path) -> Slide:
    return open_slide(PIXELS, mpp=(0.3, 0.4))


def dask_arrays(_: Path) -> Slide:
    levels = [da.from_array(PIXELS, chunks=(50, 60, 3)), da.from_array(PIXELS[::2, ::2].copy())]
    return open_slide(levels, mpp=0.3)


def zarr_array(folder: Path) -> Slide:
    array = zarr.create_array(folder / "a.zarr", data=PIXELS, chunks=(50, 60, 3))
    return open_slide(array, mpp=0.3)


def added_levels(folder: Path) -> Slide:
    slide = open_slide(write_ngff(folder / "a.zarr", [picture(2100, 1500)[..., 0]], "yx"))
    for _ in build_pyramid(slide, folder / "pyramid"):
        pass
    return with_pyramid(slide, folder / "pyramid")


OPENERS = (svs, by_openslide, scene, channel, lif, numpy_array, dask_arrays, zarr_array,
           added_levels)  # fmt: skip


@pytest.mark.parametrize("opener", OPENERS)
def test_an_unpickled_slide_is_the_same(tmp_path: Path, opener: Callable[[Path], Slide]) -> None:
    slide = opener(tmp_path)
    other = pickle.loads(pickle.dumps(slide))
    assert other is not slide
    for fact in ("name", "level_shapes", "factors", "channels", "dtype", "mpp", "mpp_source",
                 "format", "picture", "scenes", "channel_names", "notices"):  # fmt: skip
        assert getattr(other, fact) == getattr(slide, fact), fact
    assert other.fingerprint() == slide.fingerprint()
    assert other.intensity_range == slide.intensity_range
    for level in range(len(slide.level_shapes)):
        np.testing.assert_array_equal(other.read(BOX, level), slide.read(BOX, level))


def read_box(slide: Slide) -> Any:
    return slide.read(BOX)


def mean_of(array: da.Array) -> float:
    return float(array.mean().compute(scheduler="synchronous"))


def test_spawned_processes_read_what_this_one_reads(tmp_path: Path) -> None:
    slides = [svs(tmp_path), channel(tmp_path), numpy_array(tmp_path)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for slide, found in zip(slides, pool.map(read_box, slides), strict=True):
            np.testing.assert_array_equal(found, slide.read(BOX))
        levels = [slide.levels[-1] for slide in slides]
        assert pool.map(mean_of, levels) == [mean_of(level) for level in levels]


def test_levels_are_computed_by_processes_of_dask(tmp_path: Path) -> None:
    slide = svs(tmp_path)
    with dask.config.set({"multiprocessing.context": "spawn"}):
        found = slide.levels[0].compute(scheduler="processes", num_workers=1)
    np.testing.assert_array_equal(found, slide.read(Box(0, 0, *slide.level_shapes[0])))


def test_chunks_of_one_slide_open_it_once(tmp_path: Path) -> None:
    level = svs(tmp_path).levels[0]
    sent = pickle.dumps([level, level.mean()])
    code = (
        "import pickle, sys, napari_twostage.slides as s, napari_twostage.slides.base as b\n"
        "opened, old = [], s.open_slide\n"
        "s.open_slide = lambda *a, **k: opened.append(a) or old(*a, **k)\n"
        "arrays = pickle.load(sys.stdin.buffer)\n"
        "[a.compute(scheduler='synchronous') for a in arrays]\n"
        "print(len(opened))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert done.stdout.split() == [b"1"]
