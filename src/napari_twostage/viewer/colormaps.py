"""Colours of labels, uncertainty, density and the tissue outline, as napari's colormaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.colormaps import Colormap, DirectLabelColormap

if TYPE_CHECKING:
    from napari_twostage.models import LabelClass

# transparent where stage 1 is certain; turquoise differs from H&E, DAB and common label colours
UNCERTAINTY = Colormap(
    [[0, 0.9, 0.8, 0], [0, 0.9, 0.8, 0.25], [0, 0.85, 0.85, 0.6], [0, 0.7, 0.9, 0.8]],
    name="uncertainty",
)
# transparent where there are no objects; green differs from stains and from the uncertainty
DENSITY = Colormap(
    [[0.1, 0.6, 0.1, 0], [0.1, 0.65, 0.1, 0.5], [0.9, 0.9, 0.1, 0.75]], name="density of objects"
)
TISSUE = Colormap([[0.2, 0.3, 0.4, 0], [0.2, 0.3, 0.4, 1]], name="tissue outline")


def class_colormap(
    classes: tuple[LabelClass, ...], hidden: set[int] | frozenset[int] = frozenset()
) -> DirectLabelColormap:
    """Colormap of the classes; the background and hidden classes are transparent."""
    colors: dict[int | None, Any] = {None: "transparent", 0: "transparent"}
    for entry in classes:
        colors[entry.value] = "transparent" if entry.value in hidden else entry.color
    return DirectLabelColormap(color_dict=colors)
