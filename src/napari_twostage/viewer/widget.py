"""The dock: one panel for all slides of a viewer, one session for each slide."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

import napari.viewer  # noqa: TC002 - napari reads the annotation to hand its viewer over
import numpy as np
from napari.layers import Image
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QFrame,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_twostage.errors import MissingPixelSizeError, SelectionError, TwoStageError
from napari_twostage.models.bundle import bundled_names
from napari_twostage.session import Session
from napari_twostage.viewer.camera import view_of, visible_box
from napari_twostage.viewer.drawn_regions import Regions
from napari_twostage.viewer.flight import Flight
from napari_twostage.viewer.layers import ResultLayers
from napari_twostage.viewer.panel.coarse import CoarseSection
from napari_twostage.viewer.panel.correct import CorrectSection
from napari_twostage.viewer.panel.display import LookSection
from napari_twostage.viewer.panel.footer import Foot
from napari_twostage.viewer.panel.model import ModelSection
from napari_twostage.viewer.panel.refine import RefineSection
from napari_twostage.viewer.panel.results import ResultsSection
from napari_twostage.viewer.panel.slide import SlideSection
from napari_twostage.viewer.panel.uncertainty import UncertaintySection
from napari_twostage.viewer.settings import KEY, device, precision
from napari_twostage.viewer.source import slide_of_layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.utils.events import Event
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box

POLL_MS = 50
"""How often news of the sessions is taken."""
REDRAW_S = 0.05
"""Rest after a redraw and its painting: some ten redraws a second."""
PAINT_REST = 3.0
"""Rest after slow painting while anything runs, as a multiple of it: software OpenGL takes the
cores from the model."""


@dataclass
class Bench:
    """What belongs to one slide."""

    session: Session
    layers: ResultLayers
    mpp_missing: bool = False


class TwoStageWidget(QWidget):
    """Segment the slides of a viewer in two stages.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose image layers are offered as slides.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        # napari hands plugins a proxy, whose layers are proxies too: none is the same object twice
        viewer = getattr(viewer, "__wrapped__", viewer)
        self._viewer = viewer
        self._benches: dict[Image, Bench] = {}
        self._leaving: list[Session] = []
        self._chosen: Image | None = None
        self._nobody = Session(device=device(), precision=precision())
        self._dirty = True
        self._redraw_at = 0.0
        self._painting_since: float | None = None
        self._closed = False
        self._docked = False
        self._flight = Flight(viewer, self)
        self._regions = Regions(viewer, self._mark)
        self._build()
        self._bind_keys()
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._layers_changed)
        viewer.layers.events.removed.connect(self._layer_removed)
        for event in (viewer.scene.camera.events.center, viewer.scene.camera.events.zoom):
            event.connect(self._moved)
        # a window that is closed takes its docks along, untold; a bound slot would go with them
        self.destroyed.connect(partial(TwoStageWidget._let_go, self))
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._tick)
        self._timer.start(POLL_MS)
        # napari's labels need it: now, so that the first result does not hold the window for it
        Thread(target=import_module, args=("pandas",)).start()
        self._layers_changed()
        self.show_session()

    # -- what sections ask for ----------------------------------------------------------------

    @property
    def session(self) -> Session:
        """Of the slide that is chosen; an empty one without a slide."""
        bench = self._bench
        return self._nobody if bench is None else bench.session

    @property
    def layers(self) -> ResultLayers | None:
        """The layers that show the session; None without a slide."""
        bench = self._bench
        return None if bench is None else bench.layers

    def do(self, action: Callable[[], object]) -> None:
        """Call something; what it refuses is shown in one line."""
        try:
            action()
        except TwoStageError as error:
            self.session.say(str(error), "error")
        self.show_session()

    def choose_layer(self, layer: Image | None) -> None:
        """Work on the slide of this layer; the sessions of others go on."""
        self._chosen = layer
        if layer is not None and layer not in self._benches:
            self._open(layer)
        self._moved()
        self.show_session()

    def set_mpp(self, mpp: float) -> None:
        """Open the chosen layer's slide with this pixel size, in micrometres."""
        layer, bench = self._chosen, self._bench
        if layer is not None and bench is not None:
            self.do(lambda: self._set_slide(layer, bench, mpp))

    # -- building -----------------------------------------------------------------------------

    def _build(self) -> None:
        self.slide_section = SlideSection(self)
        self.model_section = ModelSection(self)
        self.coarse_section = CoarseSection(self)
        self.uncertainty_section = UncertaintySection(self)
        self.refine_section = RefineSection(
            self,
            visible=self._refine_visible,
            region=self._refine_region,
            draw=self._draw_region,
            next_place=self._fly_to_next,
        )
        self.correct_section = CorrectSection(self, edit=self._edit_here, commit=self._commit)
        self.results_section = ResultsSection(self)
        self.look_section = LookSection(self)
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for section in (
            self.slide_section,
            self.model_section,
            self.coarse_section,
            self.uncertainty_section,
            self.refine_section,
            self.correct_section,
            self.results_section,
            self.look_section,
        ):
            column.addWidget(section)
        column.addStretch()
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inside)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(scroll, stretch=1)
        self.foot = Foot(self)
        layout.addWidget(self.foot)
        self.setMinimumWidth(320)

    def _bind_keys(self) -> None:
        # napari has Alt+C, S and T, and Alt+F, V, L, P, W and H open its menus
        for keys, pressed in {
            "Alt+1": self.coarse_section.run,
            "Alt+U": self.refine_section.uncertain,
            "Alt+R": self.refine_section.visible,
            "Alt+N": self.refine_section.place,
            "Alt+E": self.correct_section.edit,
            "Alt+Return": self.correct_section.commit,
        }.items():
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
            shortcut.activated.connect(pressed.click)

    # -- drawing ------------------------------------------------------------------------------

    def show_session(self) -> None:
        """Bring the panel up to date with the session."""
        if self._closed:  # its parts may be gone
            return
        session, bench = self.session, self._bench
        self.slide_section.show_session(
            session, mpp_missing=bench is not None and bench.mpp_missing
        )
        self.model_section.show_session(session)
        self.coarse_section.show_session(session)
        self.uncertainty_section.show_session(session)
        self.refine_section.show_session(session, region_drawn=bool(self._drawn()))
        self.correct_section.show_session(session)
        self.results_section.show_session(session)
        self.look_section.show_layers()
        self.foot.show_session(session)

    def _tick(self) -> None:
        """Take the news of all sessions, and show it as often as painting allows."""
        now = time.monotonic()
        for session in self._sessions:
            session.poll()
        self._leaving = [session for session in self._leaving if session.busy]
        if self._painting_since is not None:
            # this turn came late by what painting took: leave most of the time to the work
            late = max(0.0, now - self._painting_since - POLL_MS / 1000)
            self._redraw_at = now + max(REDRAW_S, PAINT_REST * late)
            self._painting_since = None
        elif now >= self._redraw_at or not any(session.busy for session in self._sessions):
            for bench in self._benches.values():
                bench.layers.redraw(new=1)
            if self._dirty:
                self._dirty = False
                self.show_session()
            self._painting_since = time.monotonic()

    # -- slides come and go -------------------------------------------------------------------

    @property
    def _sessions(self) -> list[Session]:
        """Those of all slides, and those that still end."""
        return [*self._leaving, *(bench.session for bench in self._benches.values())]

    @property
    def _bench(self) -> Bench | None:
        return None if self._chosen is None else self._benches.get(self._chosen)

    def _layers_changed(self, _event: object = None) -> None:
        """Offer all image layers that are not ours; take the first where none is chosen."""
        slides = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image)
            and layer.metadata.get(KEY, {}).get("role", "slide") == "slide"
        ]
        if self._chosen not in slides:
            self.choose_layer(slides[0] if slides else None)
        self.slide_section.set_layers(slides, self._chosen)

    def _layer_removed(self, event: Event) -> None:
        """Stop what worked on a slide that is gone; its result stays on disk."""
        bench = self._benches.pop(event.value, None)
        if bench is not None:
            self._leave(bench)
            self.show_session()

    def _leave(self, bench: Bench) -> None:
        bench.layers.close()
        bench.session.leave()
        self._leaving.append(bench.session)

    def _open(self, layer: Image) -> None:
        session = Session(device=device(), precision=precision())
        bench = self._benches[layer] = Bench(session, ResultLayers(self._viewer, layer, session))
        events = session.events
        events.all.connect(self._mark)
        # what may be pressed changes with these, and a user may be quick
        for signal in (events.state_changed, events.edit_started, events.edit_ended):
            signal.connect(self.show_session)
        self.do(lambda: self._set_slide(layer, bench, None))

    def _set_slide(self, layer: Image, bench: Bench, mpp: float | None) -> None:
        session = bench.session
        try:
            slide = slide_of_layer(layer, mpp=mpp)
        except MissingPixelSizeError:
            bench.mpp_missing = True
            session.say("this image states no pixel size; enter it under Slide to go on")
            return
        bench.mpp_missing = False
        session.set_slide(slide)
        result = layer.metadata.get(KEY, {}).get("result")
        if result is not None and mpp is None:
            session.open_result(result)
        elif session.card is None:
            session.set_model(bundled_names()[0])
        session.get_ready()

    def _mark(self) -> None:
        self._dirty = True

    def _moved(self, _event: object = None) -> None:
        """Tell the session what is in view: it is computed first."""
        if self._bench is not None and self.session.slide is not None:
            self.session.look_at(self._view())

    # -- what needs the viewer ----------------------------------------------------------------

    def _view(self) -> Box:
        layer, slide = self._chosen, self.session.slide
        if layer is None or slide is None:
            raise SelectionError("there is no slide; open one first")
        return visible_box(self._viewer, layer, slide.level_shapes[0])

    def _refine_visible(self) -> None:
        view = self._view()
        if not view.area:
            raise SelectionError("the slide is out of view; move it into view first")
        self.session.refine_region(view)

    def _draw_region(self) -> None:
        if self._chosen is not None:
            self._regions.draw(self._chosen)

    def _drawn(self) -> list[NDArray[np.float64]]:
        return [] if self._chosen is None else self._regions.polygons(self._chosen)

    def _refine_region(self) -> None:
        drawn = self._drawn()
        if not drawn:
            raise SelectionError("nothing is drawn; press Draw region and draw a polygon first")
        self.session.refine_region(drawn)
        self._regions.put_away()

    def _fly_to_next(self) -> None:
        place = self.session.next_place()
        if self._chosen is not None:
            self._flight.go(*view_of(self._viewer, self._chosen, place))

    def _edit_here(self) -> None:
        self.session.edit(self._view())

    def _commit(self) -> None:
        layers = self.layers
        if layers is None or layers.edit is None:
            raise SelectionError("no edit is open; begin one with Edit here")
        self.session.commit_edit(np.asarray(layers.edit.data))

    # -- the end ------------------------------------------------------------------------------

    def event(self, event: QEvent | None) -> bool:
        """Stop when napari closes the dock: it takes the widget out without closing it."""
        if event is not None and event.type() == QEvent.Type.ParentChange and not self._closed:
            if self.parent() is None and self._docked:
                self.shut_down()
                self.deleteLater()  # else it is left to the garbage collector, in any thread
            self._docked = self.parent() is not None
        return bool(super().event(event))

    def closeEvent(self, event: object) -> None:  # noqa: N802 - Qt's name
        """Stop all work."""
        self.shut_down()
        super().closeEvent(event)  # type: ignore[arg-type]

    def _let_go(self) -> None:
        """Cancel what is under way once the window is gone; nothing is drawn any more."""
        self._closed = True
        for session in self._sessions:
            session.cancel()

    def shut_down(self) -> None:
        """Cancel all work and wait for its threads; results are on disk."""
        if self._closed:
            return
        self._closed = True
        self._timer.stop()
        layers = self._viewer.layers
        for event in (layers.events.inserted, layers.events.removed):
            event.disconnect(self._layers_changed)
        layers.events.removed.disconnect(self._layer_removed)
        camera = self._viewer.scene.camera
        for event in (camera.events.center, camera.events.zoom):
            event.disconnect(self._moved)
        for bench in self._benches.values():
            bench.layers.close()
        for session in self._sessions:
            session.close()
        self._benches.clear()
