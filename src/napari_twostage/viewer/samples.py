"""Sample data for napari's File menu; they come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.samples import sample_slide
from napari_twostage.viewer.reader import read_slide

if TYPE_CHECKING:
    from napari_twostage.viewer.reader import LayerData


def skin() -> list[LayerData]:
    """Open the H&E-stained skin: 2220 × 2967 pixels at 0.499 µm."""
    return read_slide(str(sample_slide()))
