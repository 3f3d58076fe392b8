"""napari window with slides and the panel, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from napari.layers import Layer

from napari_twostage.errors import SlideError
from napari_twostage.viewer.menu_commands import open_panel
from napari_twostage.viewer.reader import get_reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.io.paths import Location


def launch(paths: Sequence[Location]) -> None:
    """Open slides or results in a new window with the panel; return when it is closed.

    Raises
    ------
    TwoStageError
        If a path cannot be opened.
    """
    layers = [layer for path in paths for layer in _layers_of(path)]
    viewer = napari.Viewer(title="napari-twostage")
    viewer.canvas.overlays.scale_bar.visible = True
    for layer in layers:
        viewer.add_layer(layer)
    open_panel(viewer)
    napari.run()


def _layers_of(path: Location) -> list[Layer]:
    read = get_reader(str(path))
    if read is None:
        raise SlideError(
            f"{path} is neither a slide nor a result; a slide file, an OME-Zarr or a result folder "
            "was expected"
        )
    return [Layer.create(data, options, kind) for data, options, kind in read(str(path))]
