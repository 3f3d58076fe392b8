"""Layers over a slide that follow the slide's layer: they stay aligned, and named after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.viewer.transforms import layer_transform

if TYPE_CHECKING:
    from napari.layers import Image, Layer

    from napari_twostage.geometry import Box, Grid
    from napari_twostage.viewer.transforms import LayerTransform

_MOVING = ("units", "scale", "translate", "rotate", "shear", "affine")
"""Events of a layer that change where its pixels lie; each is named as the property."""


class AlignedLayers:
    """Places and names of layers, each of which holds the pixels of a grid over the slide.

    Parameters
    ----------
    slide_layer : Image
        Layer of the slide.
    """

    def __init__(self, slide_layer: Image) -> None:
        self._slide_layer = slide_layer
        self._name = slide_layer.name
        self._grids: dict[Layer, tuple[Grid, Box | None]] = {}
        for name in _MOVING:
            getattr(slide_layer.events, name).connect(self._align)
        slide_layer.events.name.connect(self._rename)

    def place(self, grid: Grid, box: Box | None = None) -> LayerTransform:
        """Arguments of a layer of a grid's pixels, or of those in a box."""
        return layer_transform(self._slide_layer, grid, box)

    def keep(self, layer: Layer, grid: Grid, box: Box | None = None) -> None:
        """Keep a layer aligned from now on."""
        self._grids[layer] = grid, box

    def forget(self, layer: Layer) -> None:
        """Leave a layer where it is."""
        self._grids.pop(layer, None)

    def close(self) -> None:
        """Follow the slide's layer no more."""
        for name in _MOVING:
            getattr(self._slide_layer.events, name).disconnect(self._align)
        self._slide_layer.events.name.disconnect(self._rename)

    def _rename(self, _event: object = None) -> None:
        """Rename layers that are named after the slide; names that a user gave stay."""
        before, self._name = self._name, self._slide_layer.name
        for layer in self._grids:
            if layer.name.startswith(f"{before} "):
                layer.name = self._name + layer.name.removeprefix(before)

    def _align(self, _event: object = None) -> None:
        for layer, (grid, box) in self._grids.items():
            place = self.place(grid, box)
            for name in _MOVING:
                setattr(layer, name, place[name])
