"""Another focal plane of a slide, shown in the layers that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari_twostage.slides.first_picture import first_focus
from napari_twostage.viewer.channel_layers import slide_of_reader
from napari_twostage.viewer.reader import displayed_levels, other_picture
from napari_twostage.viewer.settings import METADATA_KEY
from napari_twostage.viewer.slide_of_layer import planes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Image

    Focus = int | Literal["max"]


def show_focus(viewer: ViewerModel, layers: Sequence[Image], focus: Focus) -> None:
    """Show another focal plane, or the maximum over all, in the layers of a slide.

    Layers of our reader get the pixels of that plane, so that one plane after another does not
    fill the list of layers. In a stack of others, napari's slider is moved to the plane.

    Parameters
    ----------
    viewer : ViewerModel
        Viewer that the layers are in.
    layers : sequence of Image
        All channels of the slide.
    focus : int or "max"
        Number of the plane; or the maximum.

    Raises
    ------
    SlideError
        If the file cannot be opened any more; then nothing is changed.
    """
    before = [(layer, slide) for layer in layers if (slide := slide_of_reader(layer)) is not None]
    opened = [(layer, other_picture(slide, z=focus)) for layer, slide in before]
    for layer, slide in opened:
        # a result that was dropped is that of another plane
        layer.metadata[METADATA_KEY] |= {"slide": slide, "result": None}
        layer.data = displayed_levels(slide)
    if not opened and focus != "max" and all(planes_of(layer) > 1 for layer in layers):
        viewer.dims.set_current_step(0, focus)


def focus_of(layer: Image, chosen: Focus | None) -> tuple[int, Focus]:
    """Number of focal planes of a layer's slide, and the one that is segmented.

    Parameters
    ----------
    layer : Image
        Layer of a slide.
    chosen : int or "max" or None
        What was chosen of a layer of others; None for the default.
    """
    slide = slide_of_reader(layer)
    if slide is not None:
        return slide.focal_planes, slide.picture.z or 0
    planes = planes_of(layer)
    return planes, first_focus(planes, grey=not layer.rgb) if chosen is None else chosen
