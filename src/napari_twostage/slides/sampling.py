"""Name of a slide's pixels, from a sample of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from napari_twostage.slides.base import Slide

_SAMPLES_PER_AXIS = 4
_SAMPLE_PX = 64


def sampled_fingerprint(slide: Slide, *facts: object) -> str:
    """SHA-256 of facts, in words that are the same for the same file, and of a sample of pixels.

    Parameters
    ----------
    slide : Slide
        Slide whose finest level is sampled in evenly spread blocks.
    *facts : object
        Shapes, type and choices, whose ``repr`` names them.
    """
    digest = hashlib.sha256(repr(facts).encode())
    height, width = slide.level_shapes[0]
    rows, columns = min(height, _SAMPLE_PX), min(width, _SAMPLE_PX)
    for top in np.linspace(0, height - rows, _SAMPLES_PER_AXIS).astype(int):
        for left in np.linspace(0, width - columns, _SAMPLES_PER_AXIS).astype(int):
            digest.update(slide.read(Box.at(int(top), int(left), rows, columns)).tobytes())
    return digest.hexdigest()
