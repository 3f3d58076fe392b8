"""Pen marks and edges of coverslips are left out of the tissue; no stain is."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage

import napari_twostage as ts
from napari_twostage.geometry import Box
from napari_twostage.method.tissue import Tissue, find_tissue, mask_area_mm2
from napari_twostage.samples import sample_slide
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

MPP = 0.5
PENS = {
    "blue": (20, 60, 180),
    "light blue": (60, 110, 190),
    "green": (0, 120, 40),
    "dark green": (20, 90, 70),
    "black": (25, 25, 28),
    "red": (200, 30, 50),
}
STAINS = {
    "haematoxylin and eosin": ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11)),
    "haematoxylin and DAB": ((0.65, 0.70, 0.29), (0.27, 0.57, 0.78)),
    "aniline blue and Ponceau": ((0.80, 0.59, 0.11), (0.10, 0.74, 0.67)),
    "alcian blue": ((0.87, 0.46, 0.16), (0.55, 0.76, 0.36)),
    "Giemsa": ((0.83, 0.51, 0.20), (0.09, 0.95, 0.28)),
    "light green": ((0.94, 0.25, 0.20), (0.10, 0.74, 0.67)),
    "melanin": ((0.52, 0.59, 0.62), (0.07, 0.99, 0.11)),
}
"""Optical densities (red, green, blue) of the stains of nuclei, or fibres, and of the rest."""


@cache
def tissue_pixels() -> np.ndarray:
    """A part of the sample slide: tissue and glass, (1600, 1600, 3)."""
    with open_slide(sample_slide()) as slide:
        return slide.read(Box(1100, 500, 2700, 2100))


def looked_for(pixels: np.ndarray) -> Tissue:
    return find_tissue(open_slide(pixels, mpp=MPP))


def area(mask: np.ndarray, tissue: Tissue) -> float:
    return mask_area_mm2(mask, tissue.grid, Box(0, 0, 10**6, 10**6))


def stroke(pixels: np.ndarray, pen: str, *, grain: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """A slide with a slanting stroke, 100 µm wide, and the mask of the stroke."""
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    inside = np.abs(y - 400 - 0.35 * x) < 100
    marked = pixels.astype(float)
    marked[inside] = PENS[pen] + np.random.default_rng(0).normal(0, grain, (inside.sum(), 3))
    return marked.clip(0, 255).astype(np.uint8), inside


@pytest.mark.parametrize("grain", [0.0, 6.0])
@pytest.mark.parametrize("pen", PENS)
def test_a_stroke_is_left_out_and_the_tissue_beside_it_is_not(pen: str, grain: float) -> None:
    pixels = tissue_pixels()
    marked, inside = stroke(pixels, pen, grain=grain)
    before, after = looked_for(pixels), looked_for(marked)
    coarse = inside.reshape(100, 16, 100, 16).mean((1, 3))
    counted = coarse[after.measured].sum()
    assert counted < 0.1 * coarse.sum()
    assert not after.measured[coarse > 0.9].any()
    beside = before.measured & (coarse == 0)
    assert (after.measured & beside).sum() > 0.97 * beside.sum()
    assert area(after.left_out, after) == pytest.approx(inside.sum() * MPP**2 / 1e6, rel=0.2)


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_pale_tissue_is_kept_beside_a_stroke_of_which_a_part_is_not_found(strength: float) -> None:
    pale = 245 * (tissue_pixels() / 245) ** 0.4
    y, x = np.mgrid[: pale.shape[0], : pale.shape[1]]
    inside = np.abs(y - 400 - 0.35 * x) < 200
    ink = 10 ** -(strength * np.array((0.9, 0.35, 0.55)))  # tissue shows through it
    marked = np.where(inside[..., None], pale * ink, pale).clip(0, 255).astype(np.uint8)
    before, after = looked_for(pale.clip(0, 255).astype(np.uint8)), looked_for(marked)
    um = ndimage.distance_transform_edt(~inside)[8::16, 8::16] * MPP
    beside = before.measured & (um > 60)
    assert after.left_out.any()
    assert after.measured[beside].mean() > 0.98


@pytest.mark.parametrize("stain", STAINS)
@pytest.mark.parametrize("strength", [1.0, 2.0])
def test_no_stain_is_taken_for_ink(stain: str, strength: float) -> None:
    pixels = tissue_pixels()
    density = (-np.log10(pixels.clip(1) / 245)).clip(0)
    first, second = np.array(STAINS[stain])
    red, green = density[..., 0], density[..., 1]
    mixed = strength * (red[..., None] * first + (green - 0.5 * red).clip(0)[..., None] * second)
    stained = (245 * 10 ** -mixed.clip(0)).clip(0, 255).astype(np.uint8)
    found = looked_for(stained)
    assert area(found.left_out, found) < 0.01 * area(found.measured, found)


def test_the_edge_of_a_coverslip_is_left_out() -> None:
    pixels = tissue_pixels().copy()
    glass = np.full((1600, 2400, 3), np.percentile(pixels, 98, axis=(0, 1)).astype(np.uint8))
    glass[:, :1600] = pixels
    clean = looked_for(glass)
    glass[:, 2208:2272] = 90
    glass[:, 2230:2240] = 150
    found = looked_for(glass)
    assert area(found.left_out, found) == pytest.approx(1600 * 64 * MPP**2 / 1e6, rel=0.3)
    assert area(found.measured, found) == pytest.approx(area(clean.measured, clean), rel=0.01)


def test_grey_slides_keep_their_tissue() -> None:
    grey = tissue_pixels().mean(axis=-1).astype(np.uint8)
    found = looked_for(grey)
    assert not found.left_out.any()
    assert found.measured.mean() > 0.3


@pytest.mark.parametrize("refine", ["none", "all"])
def test_nothing_is_labelled_on_ink_and_the_record_says_so(tmp_path: Path, refine: str) -> None:
    marked, inside = stroke(tissue_pixels(), "blue", grain=0)
    slide = open_slide(marked[:800, :800], mpp=MPP)
    seg = ts.segment(slide, "nuclei", tmp_path / "pen.zarr", refine=refine)
    labels = seg.read_labels(seg.grid.box)
    assert labels.any()
    # a pixel of the overview, 8 µm, may be ink and tissue
    assert labels[inside[:800, :800]].mean() < 0.001
    found = seg.record.tissue
    assert found.left_out_mm2 == pytest.approx(inside[:800, :800].sum() * MPP**2 / 1e6, rel=0.2)
    assert any("pen marks" in notice for notice in seg.record.runs[-1].notices)
