"""Whatever must be told apart over a slide differs for people who see fewer colours, too."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_twostage.models.bundle import read_bundle
from napari_twostage.viewer.colormaps import CHOSEN, INKS, UNCERTAINTY, Ink

SIGHT = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
}
"""Matrices of linear RGB of Machado et al. 2009, at full severity."""
GROUNDS = {"white": "#ffffff", "pink": "#e8a0c0", "purple": "#6a3d8f", "black": "#000000"}
LINES = (Ink.SELECTED, Ink.REFINED, Ink.EDITED, Ink.FAILED, Ink.TISSUE, Ink.CHANGED)
LEAST = 20.0


def rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def over(color: np.ndarray, opacity: float, ground: np.ndarray) -> np.ndarray:
    return opacity * color + (1 - opacity) * ground


def seen(color: np.ndarray, sight: str) -> np.ndarray:
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    found = np.clip(SIGHT[sight] @ linear, 0, 1)
    return np.where(found <= 0.0031308, 12.92 * found, 1.055 * found ** (1 / 2.4) - 0.055)


def difference(one: np.ndarray, other: np.ndarray, sight: str) -> float:
    pair = (rgb2lab(seen(color, sight)[None, None]) for color in (one, other))
    return float(deltaE_ciede2000(*pair)[0, 0])


def drawn(ground: np.ndarray) -> dict[str, np.ndarray]:
    """Colours on the screen over a ground, at the opacities that are used."""
    colors = {"labels": rgb(read_bundle("nuclei").card.classes[0].color)}
    for ink in LINES:
        colors[ink.name] = over(rgb(INKS[ink]), int(INKS[ink][7:], 16) / 255, ground)
    *strongest, opacity = UNCERTAINTY.colors[-1]
    colors["uncertainty"] = over(np.array(strongest), opacity, ground)
    return colors


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("ground", GROUNDS)
def test_all_that_is_drawn_can_be_told_apart(ground: str, sight: str) -> None:
    for (one, first), (other, second) in combinations(drawn(rgb(GROUNDS[ground])).items(), 2):
        assert difference(first, second, sight) >= LEAST, (one, other)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("ground", GROUNDS)
def test_every_line_or_its_rim_stands_out_from_the_ground(ground: str, sight: str) -> None:
    below = rgb(GROUNDS[ground])
    for name, color in drawn(below).items():
        own = Ink.CHANGED_RIM if name == Ink.CHANGED.name else Ink.RIM
        rim = over(rgb(INKS[own]), int(INKS[own][7:], 16) / 255, below)
        best = max(difference(color, below, sight), difference(rim, below, sight))
        if name != "uncertainty":
            assert best >= LEAST, name


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("ground", GROUNDS)
def test_doubt_can_be_seen_on_the_ground(ground: str, sight: str) -> None:
    below = rgb(GROUNDS[ground])
    assert difference(drawn(below)["uncertainty"], below, sight) >= 10


@pytest.mark.parametrize("sight", SIGHT)
def test_the_selected_object_differs_from_the_others(sight: str) -> None:
    labels = rgb(read_bundle("nuclei").card.classes[0].color)
    assert difference(np.array(CHOSEN.colors[-1][:3]), labels, sight) >= 2 * LEAST
