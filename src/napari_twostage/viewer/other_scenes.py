"""Layers of the other scenes of a slide's file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Layer

from napari_twostage.errors import SlideError
from napari_twostage.viewer.channel_layers import slide_of_reader
from napari_twostage.viewer.reader import read_slide

if TYPE_CHECKING:
    import napari
    from napari.layers import Image


def show_scene(viewer: napari.Viewer, layer: Image, number: int) -> Image:
    """Show one scene of a file alone: its layer, which is made if it is not there yet.

    Parameters
    ----------
    viewer : napari.Viewer
        Viewer that the layers are in.
    layer : Image
        Layer of another scene of the file; it is hidden.
    number : int
        Number of the scene.

    Returns
    -------
    Image
        Layer of the scene; of several channels the nuclear one.

    Raises
    ------
    SlideError
        If the scene cannot be opened, or the layer is none of our reader's.
    """
    shown = slide_of_reader(layer)
    path = None if shown is None else shown.path
    if path is None:
        raise SlideError(f"layer {layer.name} is no file that was opened here; it has one scene")
    there = [
        other
        for other in viewer.layers
        if (slide := slide_of_reader(other)) is not None
        and slide.path == path
        and slide.picture.scene == number
    ]
    new = not there
    if new:
        there = [
            viewer.add_layer(Layer.create(*data)) for data in read_slide(str(path), scene=number)
        ]
    for other in viewer.layers:
        slide = slide_of_reader(other)
        if slide is not None and slide.path == path and slide.picture.scene != number:
            other.visible = False
    layer.visible = False
    if not new:
        for one in there:
            one.visible = True
    viewer.reset_view()
    return there[0]
