"""One step open at a time: the sections that belong to a step open together, others close."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QFrame, QScrollArea, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from napari_twostage.viewer.panel.section import Section


class Accordion(QScrollArea):
    """All sections, of which those of one step are open.

    A click with Shift held opens a section beside those that are open.

    Parameters
    ----------
    steps : sequence of sequence of Section
        Sections that open together, in the order of the workflow. They are numbered but for those
        of the last, which is no step.
    changed : callable
        Called with the open sections after some were opened or closed.
    """

    def __init__(
        self, steps: Sequence[Sequence[Section]], changed: Callable[[list[Section]], None]
    ) -> None:
        super().__init__()
        self._steps = [list(step) for step in steps]
        self.sections = [section for step in self._steps for section in step]
        """All sections, in their order."""
        self._changed = changed
        self._moving = False
        self._scrolling = QTimer(self)  # once the layout has the new sizes
        self._scrolling.setSingleShot(True)
        self._scrolling.timeout.connect(self._scroll_to_open)
        self._build()
        self.show_only(self._steps[0])

    def _build(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for number, section in enumerate(self.sections, 1):
            column.addWidget(section)
            if section not in self._steps[-1]:
                section.set_number(number)
            section.toggled.connect(partial(self._toggled, section))
        column.addStretch()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(inside)

    @property
    def open_sections(self) -> list[Section]:
        """Sections that are open."""
        return [section for section in self.sections if section.is_open]

    def show_only(self, sections: Iterable[Section]) -> None:
        """Open these sections and close all others."""
        wanted = list(sections)
        self._moving = True
        for section in self.sections:
            section.set_open(section in wanted)
        self._moving = False
        self._changed(self.open_sections)
        self._scrolling.start(0)

    def show_step_of(self, section: Section) -> None:
        """Open the step that a section belongs to."""
        self.show_only(next(step for step in self._steps if section in step))

    def show_section(self, section: Section) -> None:
        """Open the step of a section unless the section is open."""
        if not section.is_open:
            self.show_step_of(section)

    def show_titled(self, titles: Collection[str]) -> None:
        """Open the sections with these titles and close all others."""
        self.show_only(section for section in self.sections if section.title in titles)

    def move_on(self, done: str, following: Section) -> None:
        """Open the following step if the user still looks at the one that is done.

        Parameters
        ----------
        done : str
            Title of a section of that step; empty if no step was shown yet.
        following : Section
        """
        titles = [section.title for section in self.open_sections]
        steps = [[section.title for section in step] for step in self._steps]
        if not done or titles == next(step for step in steps if done in step):
            self.show_step_of(following)

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
        bar, viewport = self.verticalScrollBar(), self.viewport()
        if not opened or bar is None or viewport is None:
            return
        top, bottom = opened[0].geometry().top(), opened[-1].geometry().bottom()
        bar.setValue(min(top, max(bar.value(), bottom - viewport.height())))
