"""Areas out of focus are told from sound tissue, stay in it, and are recorded."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage

import napari_twostage as ts
from napari_twostage.geometry import Box
from napari_twostage.method.artefacts import Artefact, find_in_tissue, kinds_shown_by
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


def looked_for(pixels: np.ndarray) -> tuple[Tissue, np.ndarray]:
    """Tissue, and the artefacts in it."""
    slide = open_slide(pixels, mpp=MPP)
    tissue = find_tissue(slide)
    return tissue, find_in_tissue(slide, tissue.measured, tissue.grid)


def share(found: np.ndarray, kind: Artefact, inside: np.ndarray) -> float:
    """Share of the tissue in a part of the overview that is marked."""
    return float((found[inside & sound().measured] == kind).mean())


def test_a_sound_section_has_no_artefacts() -> None:
    tissue, found = looked_for(section())
    assert not tissue.artefacts.any()
    assert not found.any()


@pytest.mark.parametrize("sigma_um", [3.0, 6.0])
def test_an_area_out_of_focus_is_found_and_stays_in_the_tissue(sigma_um: float) -> None:
    pixels, sigma = section().copy(), sigma_um / MPP
    pixels[:1600] = ndimage.gaussian_filter(pixels[:1600], (sigma, sigma, 0))
    tissue, found = looked_for(pixels)
    above = np.zeros(tissue.grid.shape, bool)
    above[: 1600 // STEP] = True
    assert share(found, Artefact.OUT_OF_FOCUS, above) > 0.7
    assert share(found, Artefact.OUT_OF_FOCUS, ~above) < 0.05
    assert tissue.measured.sum() == pytest.approx(sound().measured.sum(), rel=0.05)


def test_slides_of_large_pixels_show_no_blur() -> None:
    slide = open_slide(section()[::4, ::4].copy(), mpp=4 * MPP)
    tissue = find_tissue(slide)
    found = find_in_tissue(slide, tissue.measured, tissue.grid)
    assert Artefact.OUT_OF_FOCUS not in kinds_shown_by(slide)
    assert not (found == Artefact.OUT_OF_FOCUS).any()


def test_a_search_that_is_not_wanted_any_more_reads_nothing_more() -> None:
    slide = open_slide(section(), mpp=MPP)
    asked: list[bool] = []

    def wanted_once() -> bool:
        asked.append(True)
        return len(asked) < 2

    find_in_tissue(slide, sound().measured, sound().grid, is_wanted=wanted_once)
    assert len(asked) == 2


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
    assert set(areas) == {"pen", "edge", "out of focus"}
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
    newer = replace(older, artefacts_mm2={"pen": 0.14, "edge": 0.0, "out of focus": 0.5})
    assert newer.notices() == [
        "0.14 mm² of pen marks left out",
        "the tissue has 0.5 mm² out of focus (25.0%): counts there are unreliable",
    ]
    assert replace(newer, left_out_mm2=None, artefacts_mm2={"pen": 0.0}).notices() == []
