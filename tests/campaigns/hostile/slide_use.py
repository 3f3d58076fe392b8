"""Uses of a slide that a hostile file must survive: what `info`, a run and the viewer do."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

import numpy as np
from tests.campaigns.runner import WrongResultError

from napari_twostage.cli.commands import info
from napari_twostage.geometry import Box
from napari_twostage.io.paths import locate
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.slides.base import Slide

_BOX_PX = 256
_THUMBNAIL_PX = 2048


def use_slide(path: str | Path, *, mpp: float | None = None, channel: int | None = None) -> None:
    """Open a slide as `info` and a run do, and read from each level."""
    words = Namespace(path=locate(path), mpp=mpp, channel=channel, check=False, repair=False)
    info(Namespace(**vars(words), scene=None, z=None, t=None, intensity=None))
    with open_slide(path, mpp=mpp, channel=channel) as slide:
        _check_facts(slide)
        slide.fingerprint()
        for level, shape in enumerate(slide.level_shapes):
            for box in _boxes(*shape):
                _read(slide, box, level)
        if max(slide.level_shapes[-1]) <= _THUMBNAIL_PX:
            _read(slide, Box(0, 0, *slide.level_shapes[-1]), len(slide.level_shapes) - 1)
        low, high = slide.intensity_range
        if not low < high:
            raise WrongResultError(f"intensities from {low} to {high}")
        _ = slide.levels[0].shape


def _boxes(height: int, width: int) -> list[Box]:
    """A box in the middle and one over the last corner."""
    side = _BOX_PX
    return [
        Box.at(max(0, height // 2 - side // 2), max(0, width // 2 - side // 2), side, side),
        Box.at(height - side // 2, width - side // 2, side, side),
    ]


def _read(slide: Slide, box: Box, level: int) -> None:
    pixels = slide.read(box, level)
    if pixels.shape != (*box.shape, slide.channels) or pixels.dtype != slide.dtype:
        raise WrongResultError(f"{pixels.shape} pixels of {pixels.dtype} for {box}")


def _check_facts(slide: Slide) -> None:
    """Facts of a slide that other code relies on."""
    sides = np.array([slide.level_shapes, slide.factors], float)
    if not (np.isfinite(sides).all() and (sides > 0).all()):
        raise WrongResultError(f"levels {slide.level_shapes}, factors {slide.factors}")
    if not all(0 < size < np.inf for size in slide.mpp):
        raise WrongResultError(f"a pixel size of {slide.mpp}")
