"""Slides to open in napari, results to show, and napari with nothing but this plugin."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
import tifffile
from tests.fakes import FakeModel, noise, noise_slide

import napari_twostage as ts

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

MANIFEST = str(files("napari_twostage") / "napari.yaml")


@pytest.fixture
def plugin(npe2pm):
    """Our plugin, and no other, as napari sees it."""
    with npe2pm.tmp_plugin(manifest=MANIFEST) as registered:
        yield registered


@pytest.fixture
def write_pyramid(tmp_path: Path):
    """Write a tiled TIFF of RGB or grey pixels, each level a quarter as fine as the last."""

    def write(pixels: np.ndarray, *, levels: int = 3, mpp: float | None = 0.5, name="slide.tif"):
        path = tmp_path / name
        options = {
            "photometric": "rgb" if pixels.ndim == 3 else "minisblack",
            "tile": (64, 64),
            "metadata": None,
        }
        if mpp:
            options |= {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
        with tifffile.TiffWriter(path) as tif:
            tif.write(pixels, subifds=levels - 1, **options)
            for level in range(1, levels):
                step = 4**level
                options |= {"subfiletype": 1, "resolution": None, "resolutionunit": None}
                tif.write(_thinned(pixels, step), **options)
        return path

    return write


def _thinned(pixels: np.ndarray, step: int) -> np.ndarray:
    rows, columns = (n // step * step for n in pixels.shape[:2])
    blocks = pixels[:rows, :columns].reshape(rows // step, step, columns // step, step, -1)
    thin = blocks.mean(axis=(1, 3)).astype(pixels.dtype)
    return thin if pixels.ndim == 3 else thin[..., 0]


@pytest.fixture
def result(write_pyramid, tmp_path: Path) -> ts.Segmentation:
    """A refined result of a slide in a file."""
    slide = ts.open_slide(write_pyramid(noise(150, 130), levels=1, name="cells.tif"))
    return ts.segment(
        slide, FakeModel(), tmp_path / "cells.twostage.zarr", refine="all", tissue=False
    )


@pytest.fixture
def array_result(tmp_path: Path) -> ts.Segmentation:
    """A result of an array: there is no file to go back to."""
    out = tmp_path / "array.twostage.zarr"
    return ts.segment(noise_slide(), FakeModel(), out, refine="none", tissue=False)
