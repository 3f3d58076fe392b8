"""Shares of drawn artefacts that are found, and of sound tissue that is lost or marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_twostage.errors import SlideError
from napari_twostage.method.artefacts import Artefact, find_in_tissue
from napari_twostage.method.tissue import Tissue, find_tissue
from napari_twostage.slides import open_slide
from training.artefacts.drawing import PENS, draw_blur, draw_pen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from training.artefacts.drawing import Drawn
    from training.artefacts.pictures import Picture

STROKE_UM = (200.0, 400.0)
BLUR_UM = {"gaussian": (2.0, 3.0, 6.0), "disk": (8.0,)}
BESIDE_UM = 50.0
"""Micrometres from a stroke beyond which tissue must be kept."""


@dataclass(frozen=True)
class Found:
    """Tissue of a slide, and all artefacts."""

    tissue: Tissue
    artefacts: NDArray[np.uint8]
    """`Artefact` of each pixel of the overview, or 0."""

    def share(self, kind: Artefact) -> float:
        """Area of an artefact as a share of the tissue."""
        return float((self.artefacts == kind).sum() / max(1, self.tissue.measured.sum()))


def found_on(pixels: NDArray[np.uint8], mpp: float) -> Found | None:
    """Tissue and artefacts; None where there is no tissue."""
    slide = open_slide(pixels, mpp=mpp)
    try:
        tissue = find_tissue(slide)
    except SlideError:
        return None
    artefacts = tissue.artefacts
    if tissue.bright_field:
        inside = find_in_tissue(slide, tissue.measured, tissue.grid)
        artefacts = np.where(artefacts > 0, artefacts, inside)
    return Found(tissue, np.broadcast_to(artefacts, tissue.mask.shape))


def drawn(picture: Picture, seed: int) -> Iterator[tuple[str, Artefact, Drawn]]:
    """Each artefact, drawn on a picture."""
    rng, mpp = np.random.default_rng(seed), picture.mpp
    for pen in PENS:
        for strength in (0.5, 1.0):
            width = STROKE_UM[int(rng.integers(2))] / mpp
            image = draw_pen(picture.pixels, pen, strength, width, rng)
            yield f"{pen} pen, density {strength:g}", Artefact.PEN, image
    for kind, radii in BLUR_UM.items():
        for radius in radii:
            image = draw_blur(picture.pixels, kind, radius / mpp, rng)
            yield f"blur {kind} {radius:g} µm", Artefact.OUT_OF_FOCUS, image


def coarse(mask: NDArray[np.bool_], tissue: Tissue) -> NDArray[np.float32]:
    """Share of each pixel of the overview that a mask of the slide covers."""
    step = round(tissue.grid.downsample[0])
    height, width = tissue.grid.shape
    around = np.zeros((height * step, width * step), np.float32)
    around[: mask.shape[0], : mask.shape[1]] = mask
    return np.asarray(around.reshape(height, step, width, step).mean(axis=(1, 3)))


def shares(
    kind: Artefact, inside: NDArray[np.bool_], clean: Tissue, found: Found
) -> dict[str, float]:
    """Shares of an artefact's area that are found; for pens also of the tissue beside, lost."""
    covered = coarse(inside, clean)
    on_tissue = (covered > 0.5) & clean.measured
    if kind is not Artefact.PEN:
        return {"": _share(found.artefacts == kind, on_tissue)}
    um = ndimage.distance_transform_edt(covered == 0) * clean.grid.mpp[0]
    left_out = ~found.tissue.measured
    return {
        ", on tissue": _share(left_out, on_tissue),
        ", on glass": _share(left_out, (covered > 0.5) & ~clean.mask),
        ", tissue beside lost": _share(left_out, (um > BESIDE_UM) & clean.measured),
    }


def _share(mask: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float(mask[of].mean()) if of.any() else float("nan")
