"""Offer of the panel in a window in which a slide was opened without it."""

from __future__ import annotations

from functools import partial
from weakref import ref

import napari
from napari.utils.notifications import Notification, notification_manager
from qtpy.QtCore import QTimer

from napari_twostage.viewer.menu_commands import PANEL, open_panel

WAIT_MS = 1000
"""Time for whoever opened the slide to open the panel, too."""


def offer_panel() -> None:
    """Tell of the panel in a moment, if there is a window, and it is still without one."""
    viewer = napari.current_viewer()
    if viewer is not None and not _has_panel(viewer):
        # twice: the first may come in the middle of opening the panel
        QTimer.singleShot(WAIT_MS, partial(_offer_later, ref(viewer)))


def _offer_later(asked: ref[napari.Viewer]) -> None:
    QTimer.singleShot(WAIT_MS, partial(_offer, asked))


def _offer(asked: ref[napari.Viewer]) -> None:
    viewer = asked()
    if viewer is None or viewer is not napari.current_viewer() or _has_panel(viewer):
        return

    def open_it(_notification: object) -> None:
        open_panel(viewer)

    message = "This slide can be segmented in two stages."
    notification_manager.dispatch(Notification(message, "info", (("Open the panel", open_it),)))


def _has_panel(viewer: napari.Viewer) -> bool:
    return any(PANEL in name for name in viewer.window.dock_widgets)
