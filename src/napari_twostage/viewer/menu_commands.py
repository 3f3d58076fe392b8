"""Commands for napari's palette and menus: each opens the panel and presses one of its buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.viewer.settings import PLUGIN

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

PANEL = "Two-stage"
"""Display name of the widget in the manifest."""


def open_panel(viewer: napari.Viewer) -> QWidget:
    """Open the panel, or raise it if it is open already."""
    dock, panel = viewer.window.add_plugin_dock_widget(PLUGIN, PANEL)
    dock.show()
    dock.raise_()
    widget: QWidget = panel
    return widget


def run_coarse(viewer: napari.Viewer) -> None:
    """Run stage 1 on the whole slide."""
    press(viewer, "run_coarse")


def refine_uncertain(viewer: napari.Viewer) -> None:
    """Run stage 2 on all tiles above the threshold."""
    press(viewer, "refine_uncertain")


def refine_visible(viewer: napari.Viewer) -> None:
    """Run stage 2 on all tiles in view."""
    press(viewer, "refine_visible")


def draw_region(viewer: napari.Viewer) -> None:
    """Draw a region on the slide."""
    press(viewer, "draw_region")


def coarse_region(viewer: napari.Viewer) -> None:
    """Run stage 1 in the selected regions, or in all."""
    press(viewer, "coarse_region")


def refine_region(viewer: napari.Viewer) -> None:
    """Run stage 2 on all tiles that the selected regions touch, or all regions."""
    press(viewer, "refine_region")


def refine_next(viewer: napari.Viewer) -> None:
    """Run stage 2 on the 20 most uncertain tiles not yet refined."""
    press(viewer, "refine_next")


def next_place(viewer: napari.Viewer) -> None:
    """Move the camera to the next uncertain place."""
    press(viewer, "next_place")


def previous_place(viewer: napari.Viewer) -> None:
    """Move the camera back to the uncertain place before."""
    press(viewer, "previous_place")


def accept_place(viewer: napari.Viewer) -> None:
    """Leave the labels of the uncertain place as they are, and go to the next."""
    press(viewer, "accept_place")


def refine_place(viewer: napari.Viewer) -> None:
    """Run stage 2 on the uncertain place."""
    press(viewer, "refine_place")


def retry_failed(viewer: napari.Viewer) -> None:
    """Run stage 2 on all tiles that failed, once more."""
    press(viewer, "retry_failed")


def edit_here(viewer: napari.Viewer) -> None:
    """Open the visible area for manual correction."""
    press(viewer, "edit_here")


def commit_edit(viewer: napari.Viewer) -> None:
    """Save the correction."""
    press(viewer, "commit_edit")


def discard_edit(viewer: napari.Viewer) -> None:
    """Close the correction without saving it."""
    press(viewer, "discard_edit")


def pause(viewer: napari.Viewer) -> None:
    """Pause the run, or resume it."""
    press(viewer, "pause")


def cancel(viewer: napari.Viewer) -> None:
    """Stop the run; finished tiles are kept."""
    press(viewer, "cancel")


def export_result(viewer: napari.Viewer) -> None:
    """Export labels, objects and areas."""
    press(viewer, "export")


def press(viewer: napari.Viewer, name: str) -> None:
    """Press a button of the panel; a message says so if the button is disabled.

    Parameters
    ----------
    viewer : napari.Viewer
        The panel is opened in its window if it is not open yet.
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
