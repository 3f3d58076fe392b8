"""One step open at a time: the sections that belong to a step open together, others close."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtWidgets import QApplication, QScrollArea

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_twostage.viewer.panel.section import Section


class Accordion(QObject):
    """Opens the sections of one step, and closes those of the others.

    A click with Shift held opens a section beside those that are open.

    Parameters
    ----------
    steps : sequence of sequence of Section
        Sections that open together, in the order of the workflow.
    scroll : QScrollArea
        Area that the sections are in; it scrolls to those that open.
    changed : callable
        Called with the open sections after some were opened or closed.
    """

    def __init__(
        self,
        steps: Sequence[Sequence[Section]],
        scroll: QScrollArea,
        changed: Callable[[list[Section]], None],
    ) -> None:
        super().__init__(scroll)
        self._steps = [list(step) for step in steps]
        self._scroll = scroll
        self._changed = changed
        self._moving = False
        self._scrolling = QTimer(self)  # once the layout has the new sizes
        self._scrolling.setSingleShot(True)
        self._scrolling.timeout.connect(self._scroll_to_open)
        for section in self._sections:
            section.toggled.connect(partial(self._toggled, section))
        self.show(self._steps[0])

    @property
    def open_sections(self) -> list[Section]:
        """Sections that are open."""
        return [section for section in self._sections if section.is_open]

    def show(self, sections: Iterable[Section]) -> None:
        """Open these sections and close all others."""
        wanted = list(sections)
        self._moving = True
        for section in self._sections:
            section.set_open(section in wanted)
        self._moving = False
        self._changed(self.open_sections)
        self._scrolling.start(0)

    def show_step_of(self, section: Section) -> None:
        """Open the step that a section belongs to."""
        self.show(next(step for step in self._steps if section in step))

    def move_on(self, done: Section, following: Section) -> None:
        """Open the following step if the user still looks at the one that is done."""
        if self.open_sections == next(step for step in self._steps if done in step):
            self.show_step_of(following)

    @property
    def _sections(self) -> list[Section]:
        return [section for step in self._steps for section in step]

    def _toggled(self, section: Section, is_open: bool) -> None:
        if self._moving:
            return
        beside = QApplication.keyboardModifiers() & Qt.KeyboardModifier.ShiftModifier
        if is_open and not beside:
            self.show_step_of(section)
        else:
            self._changed(self.open_sections)

    def _scroll_to_open(self) -> None:
        """Show as much of the open sections as fits, their top in any case; never sideways."""
        opened = self.open_sections
        bar, viewport = self._scroll.verticalScrollBar(), self._scroll.viewport()
        if not opened or bar is None or viewport is None:
            return
        top, bottom = opened[0].geometry().top(), opened[-1].geometry().bottom()
        bar.setValue(min(top, max(bar.value(), bottom - viewport.height())))
