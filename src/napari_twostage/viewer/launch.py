"""A napari window with slides and the panel, from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari

from napari_twostage.viewer.commands import open_panel
from napari_twostage.viewer.settings import PLUGIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def launch(paths: Sequence[Path]) -> None:
    """Open slides or results in a new window, with the panel, and wait until it is closed.

    Raises
    ------
    TwoStageError
        If one cannot be opened.
    """
    viewer = napari.Viewer(title="napari-twostage")
    for path in paths:
        viewer.open(str(path), plugin=PLUGIN)
    open_panel(viewer)
    napari.run()
