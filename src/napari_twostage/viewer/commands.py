"""Commands of the palette and the menus: they open the panel and press its buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.viewer.settings import PLUGIN

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

PANEL = "Two-stage segmentation"
"""Display name of the widget in the manifest."""


def open_panel(viewer: napari.Viewer) -> QWidget:
    """Open the panel, or bring it to the front where it is open."""
    dock, panel = viewer.window.add_plugin_dock_widget(PLUGIN, PANEL)
    dock.show()
    dock.raise_()
    widget: QWidget = panel
    return widget


def run_coarse(viewer: napari.Viewer) -> None:
    """Segment the whole slide coarsely."""
    press(viewer, "run_coarse")


def refine_uncertain(viewer: napari.Viewer) -> None:
    """Refine the tiles above the threshold."""
    press(viewer, "refine_uncertain")


def refine_visible(viewer: napari.Viewer) -> None:
    """Refine the visible area."""
    press(viewer, "refine_visible")


def refine_region(viewer: napari.Viewer) -> None:
    """Refine the drawn region."""
    press(viewer, "refine_region")


def refine_next(viewer: napari.Viewer) -> None:
    """Refine the 20 most uncertain tiles that are left."""
    press(viewer, "refine_next")


def next_place(viewer: napari.Viewer) -> None:
    """Fly to the next uncertain place."""
    press(viewer, "next_place")


def edit_here(viewer: napari.Viewer) -> None:
    """Open the visible area for correction."""
    press(viewer, "edit_here")


def commit_edit(viewer: napari.Viewer) -> None:
    """Keep the correction."""
    press(viewer, "commit_edit")


def discard_edit(viewer: napari.Viewer) -> None:
    """Drop the correction."""
    press(viewer, "discard_edit")


def pause(viewer: napari.Viewer) -> None:
    """Pause the run, or go on."""
    press(viewer, "pause")


def cancel(viewer: napari.Viewer) -> None:
    """Stop the run; what is done stays."""
    press(viewer, "cancel")


def export(viewer: napari.Viewer) -> None:
    """Export labels, objects and areas."""
    press(viewer, "export")


def press(viewer: napari.Viewer, name: str) -> None:
    """Press a button of the panel, which knows best whether that is possible now.

    Parameters
    ----------
    viewer : napari.Viewer
        Its window gets the panel where it has none yet.
    name : str
        Qt object name of the button.
    """
    from napari.utils.notifications import show_info
    from qtpy.QtWidgets import QAbstractButton

    button = open_panel(viewer).findChild(QAbstractButton, name)
    if button.isEnabled():
        button.click()
    else:
        show_info(f"{button.text()} is not possible now; the panel says what comes first")
