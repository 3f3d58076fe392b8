"""Offer of the panel in a window in which a slide was opened without it."""

from __future__ import annotations

import napari
from napari.utils.notifications import Notification, notification_manager

from napari_twostage.viewer.menu_commands import PANEL, open_panel


def offer_panel() -> None:
    """Tell of the panel, with a button that opens it, if there is a window without it."""
    viewer = napari.current_viewer()
    if viewer is None or any(PANEL in name for name in viewer.window.dock_widgets):
        return

    def open_it(_notification: object) -> None:
        open_panel(viewer)

    message = "This slide can be segmented in two stages."
    notification_manager.dispatch(Notification(message, "info", (("Open the panel", open_it),)))
