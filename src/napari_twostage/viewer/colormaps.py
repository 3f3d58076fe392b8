"""Colours of everything that is drawn over a slide, as napari's colormaps.

What must be told apart differs by a ΔE2000 of 20 and more for people with normal, deuteranopic and
protanopic sight (Machado et al. 2009), with `nuclei`'s colour of labels.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import Colormap, DirectLabelColormap

if TYPE_CHECKING:
    from napari_twostage.models import LabelClass


class Ink(IntEnum):
    """Values of the pixels of what is drawn with lines."""

    NOTHING = 0
    RIM = 1
    SELECTED = 2
    REFINED = 3
    EDITED = 4
    FAILED = 5
    TISSUE = 6
    SELECTED_FILL = 7
    REFINED_FILL = 8
    EDITED_FILL = 9
    FAILED_FILL = 10
    PLACE = 11
    CHANGED = 12
    CHANGED_RIM = 13


INKS: dict[Ink, str] = {
    Ink.NOTHING: "#00000000",
    Ink.RIM: "#0a0a0ae0",
    Ink.SELECTED: "#c85014ff",
    Ink.REFINED: "#2d5fe6ff",
    Ink.EDITED: "#f4a1ffff",
    Ink.FAILED: "#7d1000ff",
    Ink.TISSUE: "#ffffffff",
    # where tiles are too small for lines
    Ink.SELECTED_FILL: "#c8501480",
    Ink.REFINED_FILL: "#2d5fe650",
    Ink.EDITED_FILL: "#f4a1ff80",
    Ink.FAILED_FILL: "#7d1000a0",
    # white as the tissue's outline, but a frame of straight double lines
    Ink.PLACE: "#ffffffff",
    # the only light that is left to tell from all others is none: dark, with a light rim
    Ink.CHANGED: "#00002dff",
    Ink.CHANGED_RIM: "#ffffffc0",
}
"""Colour of each, #rrggbbaa."""
INK_LIMITS = (-0.5, len(INKS) - 0.5)
"""Contrast limits of a layer of inks, for which each lies in the middle of its band."""
LABEL_RIM = 255
"""Value of a pixel beside an outline of labels, which is no class."""
FILLED = 0.5
"""Opacity of labels that are filled."""
# transparent where stage 1 is certain; differs from H&E, DAB and common label colours
UNCERTAINTY = Colormap(
    [[0, 0.655, 0.549, 0], [0, 0.655, 0.549, 0.35], [0, 0.655, 0.549, 0.85]], name="uncertainty"
)
# transparent where there are no objects; green differs from stains and from the uncertainty
DENSITY = Colormap(
    [[0.1, 0.6, 0.1, 0], [0.1, 0.65, 0.1, 0.5], [0.9, 0.9, 0.1, 0.75]], name="density of objects"
)
# nothing, a dark rim, and what differs most from the labels that it surrounds, for all eyes
CHOSEN = Colormap(
    ["#00000000", INKS[Ink.RIM], "#00f0ffff"],
    controls=[0, 1 / 3, 2 / 3, 1],
    interpolation="zero",
    name="selected object",
)
CHOSEN_LIMITS = (-0.5, 2.5)


def ink_colormap() -> Colormap:
    """Colormap over `INK_LIMITS` with a band for each ink."""
    return Colormap(
        list(INKS.values()),
        controls=np.linspace(0, 1, len(INKS) + 1),
        interpolation="zero",
        name="inks",
    )


def class_colormap(
    classes: tuple[LabelClass, ...],
    hidden: set[int] | frozenset[int] = frozenset(),
    *,
    opacity: float = 1.0,
) -> DirectLabelColormap:
    """Colormap of the classes; the background and hidden classes are transparent."""
    colors: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for entry in classes:
        shown = (
            "transparent" if entry.value in hidden else f"{entry.color}{round(255 * opacity):02x}"
        )
        colors[entry.value] = shown
    colors[LABEL_RIM] = INKS[Ink.RIM]
    return DirectLabelColormap(color_dict=colors)
