"""Folds and areas out of focus are told from sound tissue, stay in it, and are recorded."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage

import napari_twostage as ts
from napari_twostage.geometry import Box
from napari_twostage.method.artefacts import Artefact
from napari_twostage.method.tissue import Tissue, find_tissue
from napari_twostage.result.record_parts import TissueRecord
from napari_twostage.result.result import Result
from napari_twostage.samples import sample_slide
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

MPP = 0.5
STEP = 16
"""Pixels of the slide in one of the overview."""


@cache
def section() -> np.ndarray:
    """A part of the sample slide, mirrored so that there is enough of it: (3200, 3200, 3)."""
    with open_slide(sample_slide()) as slide:
        part = slide.read(Box(1344, 544, 2944, 1344))
    across = np.concatenate([part, part[:, ::-1]] * 2, axis=1)
    return np.concatenate([across, across[::-1]])


@cache
def sound() -> Tissue:
    return find_tissue(open_slide(section(), mpp=MPP))


def share(found: Tissue, kind: Artefact, inside: np.ndarray) -> float:
    """Share of the tissue in a part of the overview that is marked."""
    return float((found.artefacts[inside & sound().measured] == kind).mean())


def test_a_sound_section_has_no_artefacts() -> None:
    assert not sound().artefacts.any()
    assert set(sound().looked_for) == set(Artefact)


@pytest.mark.parametrize("sigma_um", [3.0, 6.0])
def test_an_area_out_of_focus_is_found_and_stays_in_the_tissue(sigma_um: float) -> None:
    pixels, sigma = section().copy(), sigma_um / MPP
    pixels[:1600] = ndimage.gaussian_filter(pixels[:1600], (sigma, sigma, 0))
    found = find_tissue(open_slide(pixels, mpp=MPP))
    above = np.zeros(found.grid.shape, bool)
    above[: 1600 // STEP] = True
    assert share(found, Artefact.OUT_OF_FOCUS, above) > 0.7
    assert share(found, Artefact.OUT_OF_FOCUS, ~above) < 0.05
    assert found.measured.sum() == pytest.approx(sound().measured.sum(), rel=0.05)


def folded(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The section with a fold 100 µm wide across it, and the fold on the overview.

    The upper layer does not lie in the plane of focus.
    """
    density = np.log10(245 / pixels.clip(1).astype(float)).clip(0)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    inside = np.abs(y - 0.4 * x - 900) < 100
    upper = ndimage.gaussian_filter(np.roll(density, 300, axis=0), (4, 4, 0))
    twice = 245 * 10 ** -(density + inside[..., None] * upper)
    height, width = (length // STEP for length in inside.shape)
    coarse = inside.reshape(height, STEP, width, STEP).mean(axis=(1, 3))
    return twice.clip(0, 255).astype(np.uint8), coarse > 0.5


def test_slides_of_large_pixels_show_no_blur_and_the_record_does_not_speak_of_it() -> None:
    found = find_tissue(open_slide(section()[::4, ::4].copy(), mpp=4 * MPP))
    assert Artefact.OUT_OF_FOCUS not in found.looked_for
    assert not (found.artefacts == Artefact.OUT_OF_FOCUS).any()


def test_the_result_keeps_what_was_found(tmp_path: Path) -> None:
    pixels = section()[:1600, :1600].copy()
    pixels[:, :] = ndimage.gaussian_filter(pixels, (8, 8, 0))
    seg = ts.segment(open_slide(pixels, mpp=MPP), "nuclei", tmp_path / "blur.zarr", refine="none")
    opened = Result.open(seg.path, slide=seg.slide)
    kept, known = opened.artefacts, opened.record.tissue
    assert kept is not None
    assert known is not None
    areas = known.artefacts_mm2
    assert areas is not None
    assert set(areas) == {"pen", "edge", "fold", "out of focus"}
    pixel_mm2 = kept[1].pixel_area_um2 / 1e6
    marked = (kept[0] == Artefact.OUT_OF_FOCUS).sum() * pixel_mm2
    assert areas["out of focus"] == pytest.approx(marked, rel=0.02)
    assert areas["out of focus"] > 0.5 * known.area_mm2
    assert any("out of focus" in notice for notice in known.notices())


def test_notices_name_each_artefact_and_older_results_keep_theirs() -> None:
    older = TissueRecord(
        searched=True, bright_field=True, area_mm2=2.0, tiles=9, intensity_range=(0, 255),
        slide_mm2=2.0, left_out_mm2=0.14,
    )  # fmt: skip
    assert older.notices() == ["0.14 mm² of pen marks, coverslip edges or dust left out"]
    newer = replace(
        older, artefacts_mm2={"pen": 0.14, "edge": 0.0, "fold": 0.02, "out of focus": 0.5}
    )
    assert newer.notices() == [
        "0.14 mm² of pen marks left out",
        "the tissue has 0.02 mm² folded (1.0%) and 0.5 mm² out of focus (25.0%): "
        "counts there are unreliable",
    ]
    assert replace(newer, left_out_mm2=None, artefacts_mm2={"pen": 0.0}).notices() == []


def test_a_fold_is_found_and_stays_in_the_tissue() -> None:
    pixels, inside = folded(section())
    found = find_tissue(open_slide(pixels, mpp=MPP))
    assert share(found, Artefact.FOLD, inside) > 0.5
    assert share(found, Artefact.FOLD, ~ndimage.binary_dilation(inside, iterations=3)) < 0.05
    assert found.measured[inside & sound().measured].mean() > 0.95
