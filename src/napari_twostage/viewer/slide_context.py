"""Session and layers of one slide of the viewer, and where its pixel size comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari_twostage.geometry import Scale
    from napari_twostage.session import Session
    from napari_twostage.viewer.layers import ResultLayers


@dataclass
class SlideContext:
    """Session and layers of one slide."""

    session: Session
    layers: ResultLayers
    mpp_missing: bool = False
    """Whether the slide waits for the user to enter a pixel size."""
    mpp_given: bool = False
    """Whether the user typed a pixel size."""
    step: str = ""
    """Title of the section that comes next; empty before the panel showed the slide."""
    looked_back: bool = False
    """Whether the view and the sections of an earlier session were shown again."""
    focus: int | Literal["max"] | None = None
    """Plane that was chosen of a layer that is a stack; None for its default."""
    stated: tuple[Scale, str] | None = None
    """Pixel size (y, x) of the layer or its file, and its source."""
