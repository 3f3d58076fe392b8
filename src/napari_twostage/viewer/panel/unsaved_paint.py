"""Question before a window is closed in which something was painted and not saved."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

import numpy as np
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_twostage.session import EditState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_twostage.viewer.slide_context import SlideContext

_SAVE, _DISCARD, _CANCEL = (
    QMessageBox.StandardButton.Save,
    QMessageBox.StandardButton.Discard,
    QMessageBox.StandardButton.Cancel,
)
SAVE_S = 30.0
"""Longest wait, in seconds, for what was painted to be written while the window closes."""


def has_unsaved_paint(context: SlideContext) -> bool:
    """Whether something was painted on a slide and neither committed nor discarded."""
    session, edit = context.session, context.layers.edit
    return (
        edit is not None
        and session.edit_state is EditState.OPEN
        and session.is_painted(np.asarray(edit.data))
    )


def save_paint(context: SlideContext) -> None:
    """Begin to write what was painted on a slide; raises as `Session.commit_edit`."""
    edit = context.layers.edit
    if edit is not None:
        context.session.commit_edit(np.asarray(edit.data))


class UnsavedPaint(QObject):
    """Asks whether to save, discard or cancel when napari's window is being closed.

    A closed dock cannot be asked about: napari removes it without an event that could be refused.
    A window that a script closes cannot either: napari has taken it apart before Qt closes it.
    In both, what was painted is saved.

    Parameters
    ----------
    panel : QWidget
        Owner, in the window.
    contexts : callable
        Returns the slides of the panel.
    """

    def __init__(self, panel: QWidget, contexts: Callable[[], Iterable[SlideContext]]) -> None:
        super().__init__(panel)
        self._contexts = contexts
        self._window: ref[QWidget] | None = None
        """Not kept alive: napari expects a closed window to go away."""

    def watch(self, window: QWidget) -> None:
        """Ask when this window is being closed."""
        self._window = ref(window)
        window.installEventFilter(self)

    def stop(self) -> None:
        """Ask no more."""
        if (window := self._closing) is not None:
            window.removeEventFilter(self)
        self._window = None

    @property
    def _closing(self) -> QWidget | None:
        return None if self._window is None else self._window()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Hold back the event that closes the window until the question is answered."""
        if event is None or event.type() != QEvent.Type.Close or watched is not self._closing:
            return False
        painted = [one for one in self._contexts() if has_unsaved_paint(one)]
        if not painted or self._may_close(painted):
            return False
        event.ignore()
        return True

    def _may_close(self, painted: list[SlideContext]) -> bool:
        answer = self._ask(painted) if self._can_ask else _SAVE
        if answer == _DISCARD:
            for context in painted:
                context.session.discard_edit()
        elif answer == _SAVE:
            saved = [_is_saved(context) for context in painted]
            return all(saved) or not self._can_ask
        return answer != _CANCEL

    @property
    def _can_ask(self) -> bool:
        """Whether the window still stands: napari closes the viewer first for a script."""
        inside = getattr(self._closing, "_qt_viewer", None)
        return isinstance(inside, QWidget) and inside.isVisible()

    def _ask(self, painted: list[SlideContext]) -> QMessageBox.StandardButton:
        names = ", ".join(one.session.slide.name for one in painted if one.session.slide)
        return QMessageBox.question(
            self._closing,
            "Save what you painted?",
            f"What you painted on {names} is not saved yet. Save it as an edit?",
            _SAVE | _DISCARD | _CANCEL,
            _SAVE,
        )


def _is_saved(context: SlideContext) -> bool:
    """Write what was painted; whether it is on disk. If not, the panel says why."""
    try:
        save_paint(context)
        context.session.wait(SAVE_S)
    except Exception as error:  # noqa: BLE001 - logged there
        context.session.report(error)
        return False
    return True
