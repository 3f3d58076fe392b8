"""Choice of the constants of folds and focus, on training splits only."""

from __future__ import annotations

import sys
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_twostage.method import focus, folds
from napari_twostage.method.artefacts import Artefact, find_in_tissue
from napari_twostage.method.tissue import find_tissue
from napari_twostage.slides import open_slide
from training.artefacts.drawing import draw_blur, draw_fold
from training.artefacts.measuring import coarse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

    from numpy.typing import NDArray

    from napari_twostage.method.tissue import Tissue
    from napari_twostage.slides.base import Slide
    from training.artefacts.pictures import Picture

MOST_ALARMS = 0.005
"""Most false alarms of a set, as a share of clean tissue; half of what is promised."""
GRIDS: tuple[tuple[ModuleType, Artefact, dict[str, tuple[float, ...]]], ...] = (
    (
        folds,
        Artefact.FOLD,
        {
            "DENSER": (1.5, 1.6, 1.75),
            "STILL_DENSER": (1.3, 1.4, 1.5),
            "SAME_HUE": (0.98, 0.992),
            "ROUGHEST": (0.25, 0.3, 0.35, 0.4),
        },
    ),
    (
        focus,
        Artefact.OUT_OF_FOCUS,
        {"FINE": (-2.25, -2.0, -1.75, -1.5), "MIDDLE": (-1.1, -0.95, -0.85, -0.75)},
    ),
)
"""Constants of a module, and the values that are tried."""


class _Case(NamedTuple):
    """A slide on which an artefact was drawn, or none."""

    name: str
    slide: Slide
    tissue: Tissue
    inside: NDArray[np.bool_] | None


def choose(pictures: Iterable[Picture]) -> Iterator[str]:
    """Lines that name the values with the highest recall of those that raise few false alarms.

    Parameters
    ----------
    pictures : iterable of Picture
        Slides of training splits.
    """
    pictures = list(pictures)
    for module, kind, grid in GRIDS:
        cases = [case for n, picture in enumerate(pictures) for case in _cases(picture, kind, n)]
        before = {name: getattr(module, name) for name in grid}
        tried = []
        for values in product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            _set(module, chosen)
            recall, alarms = _score(cases, kind)
            tried.append((alarms <= MOST_ALARMS, recall, -alarms, chosen))
            sys.stderr.write(f"{chosen} recall {recall:.3f}, most alarms {alarms:.4f}\n")
        _set(module, before)
        fits, recall, alarms, chosen = max(tried, key=lambda one: one[:3])
        yield f"{kind.words}: {chosen}, recall {recall:.2f}, most alarms {-alarms:.2%}, {fits=}"


def _set(module: ModuleType, values: dict[str, float]) -> None:
    for name, value in values.items():
        setattr(module, name, value)


def _cases(picture: Picture, kind: Artefact, seed: int) -> Iterator[_Case]:
    rng, mpp = np.random.default_rng(seed), picture.mpp
    slide = open_slide(picture.pixels, mpp=mpp)
    clean = find_tissue(slide)
    yield _Case(picture.name, slide, clean, None)
    if kind is Artefact.FOLD:
        sizes = [75.0, 150.0]
        images = [draw_fold(picture.pixels, picture.glass, um / mpp, rng) for um in sizes]
    else:
        images = [draw_blur(picture.pixels, "gaussian", um / mpp, rng) for um in (3.0, 6.0)]
    for pixels, inside in images:
        covered = (coarse(inside, clean) > 0.5) & clean.measured
        slide = open_slide(pixels, mpp=mpp)
        yield _Case(picture.name, slide, find_tissue(slide), covered)


def _score(cases: list[_Case], kind: Artefact) -> tuple[float, float]:
    """Mean recall, and the most false alarms of a set."""
    recalls, alarms = [], dict[str, list[float]]()
    for case in cases:
        found = find_in_tissue(case.slide, case.tissue.measured, case.tissue.grid, kinds=(kind,))
        marked = found == kind
        if case.inside is None:
            tissue = case.tissue.measured
            alarms.setdefault(case.name, []).append(float(marked[tissue].mean()))
        else:
            recalls.append(float(marked[case.inside].mean()))
    return float(np.mean(recalls)), max(float(np.mean(of_set)) for of_set in alarms.values())
