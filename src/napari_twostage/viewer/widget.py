"""Dock widget: one panel for all slides of a viewer, one session for each slide."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

import napari.viewer  # noqa: TC002 - napari reads the annotation to pass its viewer
import numpy as np
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_twostage.errors import MissingPixelSizeError
from napari_twostage.models.bundle import bundled_names
from napari_twostage.session import Notice, Session, WayOn
from napari_twostage.viewer.layers import ResultLayers
from napari_twostage.viewer.other_scenes import show_scene
from napari_twostage.viewer.panel.coarse_section import CoarseSection
from napari_twostage.viewer.panel.correct_section import CorrectSection
from napari_twostage.viewer.panel.display_section import DisplaySection
from napari_twostage.viewer.panel.footer import Footer
from napari_twostage.viewer.panel.model_section import ModelSection
from napari_twostage.viewer.panel.refine_section import RefineSection
from napari_twostage.viewer.panel.regions_section import RegionsSection
from napari_twostage.viewer.panel.results_section import ResultsSection
from napari_twostage.viewer.panel.slide_section import SlideSection
from napari_twostage.viewer.panel.uncertainty_section import UncertaintySection
from napari_twostage.viewer.panel.view_actions import ViewActions
from napari_twostage.viewer.settings import METADATA_KEY, device, precision
from napari_twostage.viewer.slide_context import SlideContext
from napari_twostage.viewer.slide_of_layer import slide_of_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.components import ViewerModel
    from napari.utils.events import Event

    from napari_twostage.viewer.panel.section import Section


SLIDE_ALONE = "H"
"""Key that hides our layers while it is held."""
POLL_MS = 50
"""Interval, in milliseconds, at which events of the sessions are polled."""
REDRAW_S = 0.05
"""Pause, in seconds, after a redraw and its painting: about ten redraws a second."""
PAINT_REST = 3.0
"""Pause after slow painting during a run, as a multiple of the painting time: software OpenGL
takes CPU cores from the model."""


class TwoStageWidget(QWidget):
    """Panel that segments the slides of a viewer in two stages.

    Parameters
    ----------
    viewer : napari.Viewer
        Viewer whose image layers are offered as slides.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        # napari passes plugins a proxy whose layers are new proxies on every access: unwrap it
        viewer = getattr(viewer, "__wrapped__", viewer)
        self._viewer = viewer
        self._contexts: dict[Image, SlideContext] = {}
        self._closing: list[Session] = []
        self._chosen: Image | None = None
        self._empty_session = Session(device=device(), precision=precision())
        self._dirty = True
        self._redraw_at = 0.0
        self._painting_since: float | None = None
        self._closed = False
        self._docked = False
        self._actions = ViewActions(self, viewer, self)
        self._build()
        self._bind_keys()
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._layers_changed)
        viewer.layers.events.removed.connect(self._layer_removed)
        for event in (viewer.scene.camera.events.center, viewer.scene.camera.events.zoom):
            event.connect(self._view_changed)
        # a closing window deletes its docks without notice; a bound slot would be deleted too
        self.destroyed.connect(partial(TwoStageWidget._abandon, self))
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)
        self._timer.start(POLL_MS)
        # napari's Labels layers need pandas: import it early, or the first result blocks the window
        Thread(target=import_module, args=("pandas",)).start()
        self._layers_changed()
        self.show_session()

    # -- called by the sections ----------------------------------------------------------------

    @property
    def session(self) -> Session:
        """Session of the chosen slide; an empty session without a slide."""
        context = self.context
        return self._empty_session if context is None else context.session

    @property
    def layers(self) -> ResultLayers | None:
        """Layers of the session; None without a slide."""
        context = self.context
        return None if context is None else context.layers

    @property
    def context(self) -> SlideContext | None:
        """Session, layers and pixel size of the chosen slide; None without a slide."""
        return None if self._chosen is None else self._contexts.get(self._chosen)

    @property
    def slide_layer(self) -> Image | None:
        """Layer of the chosen slide; None without a slide."""
        return self._chosen

    def do(self, action: Callable[[], object]) -> None:
        """Call an action and update the panel; an error is shown as a message."""
        self._try(action)
        self.show_session()

    def choose_layer(self, layer: Image | None) -> None:
        """Choose the slide of this layer; sessions of other slides keep running."""
        self._chosen = layer
        if layer is not None and layer not in self._contexts:
            self._open(layer)
        self._view_changed()
        self.show_session()

    def set_mpp(self, mpp: float | None) -> None:
        """Set the pixel size of the chosen slide, in micrometres; None takes the file's."""
        layer, context = self._chosen, self.context
        if layer is not None and context is not None:
            self.do(lambda: self._set_slide(layer, context, mpp))

    def choose_scene(self, number: int) -> None:
        """Show another scene of the chosen slide's file, and choose it."""
        layer, before = self._chosen, self.context
        if layer is None or before is None:
            return
        self._try(partial(self._change_scene, layer, before, number))
        self._layers_changed()

    def _change_scene(self, layer: Image, before: SlideContext, number: int) -> None:
        shown = show_scene(self._viewer, layer, number)
        before.layers.set_aside()
        self.choose_layer(shown)
        self._contexts[shown].layers.bring_back()

    # -- building -----------------------------------------------------------------------------

    def _build(self) -> None:
        self.slide_section = SlideSection(self)
        self.model_section = ModelSection(self)
        self.regions_section = RegionsSection(self, self._actions)
        self.coarse_section = CoarseSection(self)
        self.uncertainty_section = UncertaintySection(self)
        self.refine_section = RefineSection(self, self._actions)
        self.correct_section = CorrectSection(self, self._actions)
        self.results_section = ResultsSection(self)
        self.display_section = DisplaySection(self)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        self._sections: tuple[Section, ...] = (
            self.slide_section,
            self.model_section,
            self.regions_section,
            self.coarse_section,
            self.uncertainty_section,
            self.refine_section,
            self.correct_section,
            self.results_section,
            self.display_section,
        )
        for number, section in enumerate(self._sections, 1):
            column.addWidget(section)
            if section is not self.display_section:  # no step of the workflow
                section.set_number(number)
        column.addStretch()
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(scroll, stretch=1)
        self.footer = Footer(self, self._actions)
        layout.addWidget(self.footer)
        self.setMinimumWidth(320)

    def _bind_keys(self) -> None:
        # napari uses Alt+C, S and T; Alt+F, V, L, P, W and H open its menus
        for section in self._sections:
            for keys, button in section.keys.items():
                shortcut = QShortcut(QKeySequence(keys), self)
                shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
                shortcut.activated.connect(button.click)
        self._viewer.bind_key(SLIDE_ALONE, self._show_slide_alone, overwrite=True)

    def _show_slide_alone(self, _viewer: ViewerModel) -> Iterator[None]:
        """Hide our layers of the chosen slide while a key is held."""
        layers = self.layers
        if layers is not None:
            layers.set_aside()
        yield
        if layers is not None:
            layers.bring_back()

    # -- drawing ------------------------------------------------------------------------------

    def show_session(self) -> None:
        """Update all sections with the state of the session."""
        if self._closed:  # Qt may have deleted the sections
            return
        session = self.session
        for section in self._sections:
            self._try(partial(section.show_session, session))
        self._try(partial(self.footer.show_session, session))

    def _try(self, action: Callable[[], object], session: Session | None = None) -> None:
        """Call an action; an error becomes a message, and the panel goes on.

        Parameters
        ----------
        action : callable
        session : Session, optional
            Session that shows the message; by default that of the chosen slide.
        """
        try:
            action()
        except Exception as error:  # noqa: BLE001 - logged there
            (session or self.session).report(error)

    def _tick(self) -> None:
        """Poll all sessions, and redraw as often as painting allows."""
        now = time.monotonic()
        for session in self._sessions:
            self._try(session.poll, session)
        for session in [one for one in self._closing if not one.busy]:
            self._closing.remove(session)
            self._pass_on(session.notice)
        if self._painting_since is not None:
            # painting delayed this tick: pause long enough to leave most of the time to the run
            late = max(0.0, now - self._painting_since - POLL_MS / 1000)
            self._redraw_at = now + max(REDRAW_S, PAINT_REST * late)
            self._painting_since = None
        elif now >= self._redraw_at or not any(session.busy for session in self._sessions):
            for context in self._contexts.values():
                self._try(partial(context.layers.redraw, new=1), context.session)
            if self._dirty:
                self._dirty = False
                self.show_session()
            self._painting_since = time.monotonic()

    # -- slides are added and removed ---------------------------------------------------------

    @property
    def _sessions(self) -> list[Session]:
        """Sessions of all slides, and of removed ones whose work has not ended yet."""
        return [*self._closing, *(context.session for context in self._contexts.values())]

    def _layers_changed(self, _event: object = None) -> None:
        """Offer all image layers that are not ours; choose the first if none is chosen."""
        slides = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image)
            and layer.metadata.get(METADATA_KEY, {}).get("role", "slide") == "slide"
        ]
        if self._chosen not in slides:
            self.choose_layer(slides[0] if slides else None)
        self.slide_section.set_layers(slides, self._chosen)

    def _layer_removed(self, event: Event) -> None:
        """Stop the session of a removed slide; its result stays on disk."""
        context = self._contexts.pop(event.value, None)
        if context is not None:
            self._leave(context)
            self.show_session()

    def _leave(self, context: SlideContext) -> None:
        session = context.session
        session.say("")  # what is said from now on is passed on
        self._save_painting(context)
        context.layers.close()
        session.leave()
        self._closing.append(session)

    def _save_painting(self, context: SlideContext) -> None:
        """Write an edit once more that could not be written: its layer is being removed."""
        session, edit = context.session, context.layers.edit
        if WayOn.SAVE in session.ways and edit is not None:
            self._try(partial(session.commit_edit, np.asarray(edit.data)), session)

    def _pass_on(self, notice: Notice) -> None:
        """Show an error of a slide that was removed."""
        if notice.kind == "error":
            self.session.say(notice.text, notice.kind)
            self.show_session()

    def _open(self, layer: Image) -> None:
        session = Session(device=device(), precision=precision())
        context = self._contexts[layer] = SlideContext(
            session, ResultLayers(self._viewer, layer, session)
        )
        events = session.events
        events.all.connect(self._mark)
        # these enable or disable buttons: update them before the user can click
        for signal in (events.state_changed, events.edit_started, events.edit_ended):
            signal.connect(self.show_session)
        self.do(lambda: self._set_slide(layer, context, None))

    def _set_slide(self, layer: Image, context: SlideContext, mpp: float | None) -> None:
        session = context.session
        try:
            slide = slide_of_layer(layer, mpp=mpp)
        except MissingPixelSizeError:
            context.mpp_missing = True
            session.say("this image states no pixel size; enter it under Slide to go on")
            return
        context.mpp_missing, context.mpp_given = False, mpp is not None
        if mpp is None:
            context.stated = slide.mpp, slide.mpp_source
        session.set_slide(slide)
        result = layer.metadata.get(METADATA_KEY, {}).get("result")
        if result is not None and mpp is None:
            session.open_result(result)
        elif session.card is None:
            session.set_model(bundled_names()[0])
        session.get_ready()

    def _mark(self) -> None:
        self._dirty = True

    def _view_changed(self, _event: object = None) -> None:
        """Pass the visible area to the session, which computes it first."""
        if self.context is not None and self.session.slide is not None:
            self.session.look_at(self._actions.visible_area())

    # -- the end ------------------------------------------------------------------------------

    def event(self, event: QEvent | None) -> bool:
        """Shut down when napari closes the dock, which unparents the widget without closing it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and not self._closed:
            if self.parent() is None and self._docked:
                self.shut_down()
                self.deleteLater()  # else the garbage collector deletes it, in any thread
            self._docked = self.parent() is not None
        return bool(super().event(event))

    def closeEvent(self, event: object) -> None:  # noqa: N802 - Qt's name
        """Shut down before closing."""
        self.shut_down()
        super().closeEvent(event)  # type: ignore[arg-type]

    def _abandon(self) -> None:
        """Cancel all sessions after the window was deleted; nothing is drawn any more."""
        self._closed = True
        for session in self._sessions:
            session.cancel()

    def shut_down(self) -> None:
        """Cancel all work and wait for its threads; results stay on disk, and nothing is raised."""
        if self._closed:
            return
        self._closed = True
        self._timer.stop()
        self._viewer.bind_key(SLIDE_ALONE, None)
        layers = self._viewer.layers
        for event in (layers.events.inserted, layers.events.removed):
            event.disconnect(self._layers_changed)
        layers.events.removed.disconnect(self._layer_removed)
        self._actions.close()
        camera = self._viewer.scene.camera
        for event in (camera.events.center, camera.events.zoom):
            event.disconnect(self._view_changed)
        for context in self._contexts.values():
            self._save_painting(context)
            self._try(context.layers.close, context.session)
        for session in self._sessions:
            session.events.noticed.connect(_notify)
            self._try(session.close, session)
        self._contexts.clear()


def _notify(notice: Notice) -> None:
    """Show an error in napari's window: the panel is gone."""
    if notice.kind == "error":
        with suppress(Exception):  # the window may be gone, too; it is in the log
            show_error(notice.text)
