"""Choice of the constants of focus, on training splits and the sample slide only."""

from __future__ import annotations

import sys
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_twostage.method import focus
from napari_twostage.method.artefacts import Artefact, find_in_tissue
from napari_twostage.method.tissue import find_tissue
from napari_twostage.slides import open_slide
from training.artefacts.drawing import draw_blur
from training.artefacts.measuring import coarse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_twostage.method.tissue import Tissue
    from napari_twostage.slides.base import Slide
    from training.artefacts.pictures import Picture

MOST_ALARMS = 0.005
"""Most false alarms of a set, as a share of clean tissue; half of what is promised."""
FINE, MIDDLE = (-2.25, -2.0, -1.75, -1.5), (-1.1, -0.95, -0.85, -0.75)
"""Values that are tried for the constants of `focus`."""
BLUR_UM = (3.0, 6.0)


class _Case(NamedTuple):
    """A slide of which a part is out of focus, or none."""

    name: str
    slide: Slide
    tissue: Tissue
    inside: NDArray[np.bool_] | None


def choose(pictures: Iterable[Picture]) -> str:
    """Line with the values of the highest recall of those that raise few false alarms.

    Parameters
    ----------
    pictures : iterable of Picture
        Slides to choose on.
    """
    cases = [case for seed, picture in enumerate(pictures) for case in _cases(picture, seed)]
    tried = []
    for focus.FINE, focus.MIDDLE in product(FINE, MIDDLE):
        recall, alarms = _score(cases)
        tried.append((alarms <= MOST_ALARMS, recall, -alarms, focus.FINE, focus.MIDDLE))
        sys.stderr.write(f"{focus.FINE} {focus.MIDDLE} {recall:.3f} {alarms:.4f}\n")
    _, recall, alarms, fine, middle = max(tried)
    return f"{fine} {middle}: recall {recall:.2f}, most alarms {-alarms:.2%}"


def _cases(picture: Picture, seed: int) -> Iterator[_Case]:
    """The slide as it is, and with parts out of focus."""
    rng = np.random.default_rng(seed)
    slide = open_slide(picture.pixels, mpp=picture.mpp)
    clean = find_tissue(slide)
    yield _Case(picture.name, slide, clean, None)
    for um in BLUR_UM:
        pixels, inside = draw_blur(picture.pixels, "gaussian", um / picture.mpp, rng)
        slide = open_slide(pixels, mpp=picture.mpp)
        covered = (coarse(inside, clean) > 0.5) & clean.measured
        yield _Case(picture.name, slide, find_tissue(slide), covered)


def _score(cases: list[_Case]) -> tuple[float, float]:
    """Mean recall, and the most false alarms of a set."""
    recalls: list[float] = []
    alarms: dict[str, list[float]] = {}
    for case in cases:
        tissue = case.tissue.measured
        marked = find_in_tissue(case.slide, tissue, case.tissue.grid) == Artefact.OUT_OF_FOCUS
        if case.inside is None:
            alarms.setdefault(case.name, []).append(float(marked[tissue].mean()))
        else:
            recalls.append(float(marked[case.inside].mean()))
    return float(np.mean(recalls)), max(float(np.mean(of_set)) for of_set in alarms.values())
