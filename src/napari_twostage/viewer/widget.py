"""Dock widget: one panel for all slides of a viewer, one session for each slide."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Literal

import napari.viewer  # noqa: TC002 - napari reads the annotation to pass its viewer
from napari.layers import Image
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_twostage.errors import MissingPixelSizeError, SelectionError
from napari_twostage.models.bundle import bundled_names
from napari_twostage.session import Notice, RunMemory, Session
from napari_twostage.slides.pixel_size import GIVEN
from napari_twostage.viewer.apart import place_apart, show_whole
from napari_twostage.viewer.change_keys import ChangeKeys
from napari_twostage.viewer.channel_layers import ChannelGroup, group_channels, slide_of_reader
from napari_twostage.viewer.layers import ResultLayers
from napari_twostage.viewer.object_picking import ObjectPicking
from napari_twostage.viewer.other_planes import show_focus
from napari_twostage.viewer.other_scenes import show_scene
from napari_twostage.viewer.panel.accordion import Accordion
from napari_twostage.viewer.panel.coarse_section import CoarseSection
from napari_twostage.viewer.panel.compare_section import CompareSection
from napari_twostage.viewer.panel.correct_section import CorrectSection
from napari_twostage.viewer.panel.display_section import DisplaySection
from napari_twostage.viewer.panel.footer import Footer
from napari_twostage.viewer.panel.model_section import ModelSection
from napari_twostage.viewer.panel.objects_section import ObjectsSection
from napari_twostage.viewer.panel.refine_section import RefineSection
from napari_twostage.viewer.panel.regions_section import RegionsSection
from napari_twostage.viewer.panel.results_section import ResultsSection
from napari_twostage.viewer.panel.review_section import ReviewSection
from napari_twostage.viewer.panel.slide_section import SlideSection
from napari_twostage.viewer.panel.start_page import StartPage
from napari_twostage.viewer.panel.uncertainty_section import UncertaintySection
from napari_twostage.viewer.panel.unsaved_paint import (
    UnsavedPaint,
    has_unsaved_paint,
    save_paint,
)
from napari_twostage.viewer.panel.view_actions import ViewActions
from napari_twostage.viewer.pointer import Pointer
from napari_twostage.viewer.settings import METADATA_KEY, device, precision
from napari_twostage.viewer.slide_context import SlideContext
from napari_twostage.viewer.slide_of_layer import slide_of_layer, stated_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.events import Event

    from napari_twostage.geometry import Scale
    from napari_twostage.viewer.panel.section import Section


SLIDE_ALONE = "H"
"""Key that hides our layers while it is held."""
POLL_MS = 50
"""Interval, in milliseconds, at which events of the sessions are polled."""
PAINT_KEPT = "what you painted is kept as an edit; Undo last edit takes it back"
"""Message where nobody could be asked."""
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
        self._selected: Layer | None = None
        """Layer that was selected in the layer list when last looked at."""
        self._memory = RunMemory()
        self._groups: list[ChannelGroup] = []
        self._empty_session = Session(device=device(), precision=precision())
        self._dirty = True
        self._redraw_at = 0.0
        self._painting_since: float | None = None
        self._before_edit: list[str] = []
        """Titles of the sections that were open before an edit began."""
        self._closed = False
        self._docked = False
        self._actions = ViewActions(self, viewer, self)
        self._build()
        self._pointer = Pointer(viewer, self, self._show_pointer)
        self._picking = ObjectPicking(viewer, self)
        self._bind_keys()
        viewer.layers.events.inserted.connect(self._layer_inserted)
        viewer.layers.events.removed.connect(self._layers_changed)
        self._unsaved = UnsavedPaint(self, self._contexts.values)
        self._unsaved.watch(viewer.window._qt_window)  # noqa: SLF001 - it has no public name
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

    def describe_other_runs(self) -> str:
        """Slides beside the chosen one on which something runs, and how far it is; else empty."""
        lines = [
            f"{layer.name}: {context.session.progress.describe()}"
            for layer, context in self._contexts.items()
            if layer is not self._chosen and context.session.progress is not None
        ]
        return "" if not lines else f"Also at work: {', '.join(lines)}"

    @property
    def group(self) -> ChannelGroup | None:
        """Layers of the chosen slide's channels; None without a slide."""
        return next((one for one in self._groups if self._chosen in one.layers), None)

    def do(self, action: Callable[[], object]) -> None:
        """Call an action and update the panel; an error is shown as a message."""
        self.session.clear_notice()
        self._try(action)
        self.show_session()

    def choose_layer(self, layer: Image | None) -> None:
        """Choose the slide of this layer; sessions of other slides keep running."""
        self._chosen = layer
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.selection.active = self._selected = layer
        if layer is not None and layer not in self._contexts:
            self._open(layer)
        self._view_changed()
        self.show_session()

    def set_mpp(self, mpp: float | Scale | None) -> None:
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

    def choose_group(self, group: ChannelGroup) -> None:
        """Choose a slide: of its channels the one that was last, else the nuclear one."""
        used = [layer for layer in self._contexts if layer in group.layers]
        self.choose_layer(used[-1] if used else group.nuclear)

    def choose_channel(self, layer: Image) -> None:
        """Segment another channel of the chosen slide; each has a session and a result."""
        before = self.context
        if before is not None and layer is not self._chosen:
            self._try(partial(self._change_channel, layer, before))
            self._layers_changed()

    def _change_channel(self, layer: Image, before: SlideContext) -> None:
        before.layers.set_aside()
        if layer not in self._contexts:
            self._open(layer, like=before)
        self._contexts[layer] = self._contexts.pop(layer)  # the last one used
        self.choose_layer(layer)
        self._contexts[layer].layers.bring_back()

    def choose_focus(self, focus: int | Literal["max"]) -> None:
        """Show and segment another focal plane of the chosen slide, or the maximum over all."""
        self.do(lambda: self._change_focus(focus))

    def _change_focus(self, focus: int | Literal["max"]) -> None:
        group = self.group
        if group is None:
            return
        contexts = {
            layer: self._contexts[layer] for layer in group.layers if layer in self._contexts
        }
        for context in contexts.values():
            if context.session.running or context.session.editing is not None:
                raise SelectionError(
                    "a run or an edit of this plane is open; end it first, then choose another"
                )
        show_focus(self._viewer, group.layers, focus)
        for layer, context in contexts.items():
            context.focus, slide = focus, context.session.slide
            given = slide.mpp if slide is not None and context.mpp_given else None
            self._set_slide(layer, context, given)

    # -- building -----------------------------------------------------------------------------

    def _build(self) -> None:
        self.slide_section = SlideSection(self)
        self.model_section = ModelSection(self)
        self.regions_section = RegionsSection(self, self._actions)
        self.coarse_section = CoarseSection(self)
        self.uncertainty_section = UncertaintySection(self)
        self.refine_section = RefineSection(self, self._actions)
        self.review_section = ReviewSection(self, self._actions)
        self.compare_section = CompareSection(self)
        self.correct_section = CorrectSection(self, self._actions)
        self.objects_section = ObjectsSection(self, self._actions, self._viewer)
        self.results_section = ResultsSection(self)
        self.display_section = DisplaySection(self)
        self.accordion = Accordion(
            (
                [self.slide_section],
                [self.model_section],
                [self.regions_section],
                [self.coarse_section],
                [self.uncertainty_section, self.refine_section],
                [self.review_section],
                [self.compare_section],
                [self.correct_section],
                [self.objects_section],
                [self.results_section],
                [self.display_section],
            ),
            self._sections_changed,
        )
        self._start_page = StartPage(self, self._viewer, self._memory)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self._start_page, stretch=1)
        layout.addWidget(self.accordion, stretch=1)
        self.footer = Footer(self, self._actions)
        layout.addWidget(self.footer)
        self.setMinimumWidth(320)

    def _bind_keys(self) -> None:
        # napari uses Alt+C, S and T; Alt+F, V, L, P, W and H open its menus
        for section in self.accordion.sections:
            for keys, button in section.keys.items():
                shortcut = QShortcut(QKeySequence(keys), self)
                shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
                shortcut.activated.connect(button.click)
        self._viewer.bind_key(SLIDE_ALONE, self._show_slide_alone, overwrite=True)
        self._change_keys = ChangeKeys(self, self._viewer)

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
        for section in self.accordion.sections:
            self._try(partial(section.show_session, session))
        self._try(partial(self.footer.show_session, session))
        self._move_on()

    def _move_on(self) -> None:
        """Open the section of the next step, if the user looks at the one before it."""
        context, step = self.context, self._step
        if context is not None and context.step != step.title:
            before, context.step = context.step, step.title
            self.accordion.move_on(before, step)

    @property
    def _step(self) -> Section:
        """First section of the step that comes next on the chosen slide."""
        session = self.session
        if session.slide is None:
            return self.slide_section
        if session.card is None:
            return self.model_section
        return self.uncertainty_section if session.coarse_done else self.coarse_section

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
        self._follow_selection()
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

    def _layer_inserted(self, event: Event) -> None:
        """Put a second slide beside the first, and offer it."""
        added = event.value
        if place_apart(added, [layer for layer in self._viewer.layers if layer is not added]):
            show_whole(self._viewer, added)
        self._layers_changed()

    def _layers_changed(self, _event: object = None) -> None:
        """Offer all image layers that are not ours; choose the first if none is chosen."""
        slides = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image)
            and layer.metadata.get(METADATA_KEY, {}).get("role", "slide") == "slide"
        ]
        for layer in slides:
            layer.events.name.connect(self._names_changed)
        self._groups = group_channels(slides)
        if self._chosen not in slides:
            self._chosen = None
            if self._groups:
                self.choose_group(self._groups[0])
            else:
                self.choose_layer(None)
        self._prefer_nuclear_channel()
        self.slide_section.set_groups(self._groups, self.group)
        self._start_page.setHidden(bool(slides))
        self.accordion.setVisible(bool(slides))

    def _names_changed(self, _event: object = None) -> None:
        if self._closed:
            return
        self._groups = group_channels(layer for group in self._groups for layer in group.layers)
        self.slide_section.set_groups(self._groups, self.group)

    def _follow_selection(self) -> None:
        """Choose the slide that the user selects in the layer list, by any of its layers.

        Asked at each tick, not told by napari's event: layers that are added are selected for a
        moment.
        """
        layer = self._viewer.layers.selection.active
        if layer is self._selected:
            return
        self._selected = layer
        for slide, context in self._contexts.items():
            if layer is not None and context.layers.owns(layer):
                layer = slide
        group = next((one for one in self._groups if layer in one.layers), None)
        if group is not None and group is not self.group:
            self.choose_group(group)
            self._names_changed()

    def _prefer_nuclear_channel(self) -> None:
        """Choose the nuclear channel of layers of others, which come one after the other."""
        group, layer, context = self.group, self._chosen, self.context
        if group is None or layer is None or context is None or slide_of_reader(layer) is not None:
            return
        untouched = context.session.seg is None and not context.session.running
        if group.is_named and group.nuclear not in self._contexts and untouched:
            self.choose_layer(group.nuclear)

    def _layer_removed(self, event: Event) -> None:
        """Stop the session of a removed slide; its result stays on disk."""
        context = self._contexts.pop(event.value, None)
        if context is not None:
            self._leave(context)
            self.show_session()

    def _leave(self, context: SlideContext) -> None:
        session = context.session
        session.say("")  # what is said from now on is passed on
        if self._save_painting(context):
            self.session.say(PAINT_KEPT)
        context.layers.close()
        session.leave()
        self._closing.append(session)

    def _save_painting(self, context: SlideContext) -> bool:
        """Write what was painted, if anything was: its layer is being removed."""
        painted = has_unsaved_paint(context)
        if painted:
            self._try(partial(save_paint, context), context.session)
        return painted

    def _pass_on(self, notice: Notice) -> None:
        """Show an error of a slide that was removed."""
        if notice.kind == "error":
            self.session.say(notice.text, notice.kind)
            self.show_session()

    def _open(self, layer: Image, like: SlideContext | None = None) -> None:
        """Make the session of a layer; with the pixel size and model of another channel."""
        session = Session(device=device(), precision=precision(), memory=self._memory)
        context = self._contexts[layer] = SlideContext(
            session, ResultLayers(self._viewer, layer, session)
        )
        events = session.events
        events.all.connect(self._mark)
        # these enable or disable buttons: update them before the user can click
        for signal in (events.state_changed, events.edit_started, events.edit_ended):
            signal.connect(self.show_session)
        events.result_changed.connect(partial(self._look_back, context))
        events.object_selected.connect(partial(self._show_object, context))
        events.edit_started.connect(partial(self._show_edit, context))
        events.edit_ended.connect(self._show_before_edit)
        mpp = None
        if like is not None:
            context.focus, context.stated = like.focus, like.stated
            mpp = like.session.slide.mpp if like.session.slide and like.mpp_given else None
            if like.session.bundle is not None:
                session.set_model(like.session.bundle)
        self.do(lambda: self._set_slide(layer, context, mpp))

    def _set_slide(self, layer: Image, context: SlideContext, mpp: float | Scale | None) -> None:
        session = context.session
        stated = context.stated if mpp is None and context.mpp_given else None
        size = mpp if stated is None else stated[0]
        try:
            slide = slide_of_layer(layer, mpp=size, focus=context.focus)
        except MissingPixelSizeError:
            context.mpp_missing = True
            session.say("this image states no pixel size; enter it under Slide to go on")
            return
        context.mpp_missing, context.mpp_given = False, mpp is not None
        if stated is not None:
            slide.mpp_source = stated[1]
        if mpp is None:
            context.stated = slide.mpp, slide.mpp_source
            if slide.mpp_source == GIVEN and (of_file := stated_size(slide)) is not None:
                context.mpp_given, context.stated = True, of_file
        session.set_slide(slide)
        result = layer.metadata.get(METADATA_KEY, {}).get("result")
        if result is not None and mpp is None:
            session.open_result(result)
        elif session.card is None:
            session.open_last_run(otherwise=bundled_names()[0])
        session.get_ready()
        session.look_at_ground()

    def _look_back(self, context: SlideContext) -> None:
        """Show the first result of a slide as it was last looked at: the view, the sections."""
        if context.looked_back or context is not self.context or context.session.seg is None:
            return
        context.looked_back = True
        how = context.session.run_book.recall()
        if how is None:
            return
        if how.view is not None:
            self._actions.show_view(how.view)
        if how.sections:
            self.accordion.show_titled(how.sections)

    def _show_object(self, context: SlideContext) -> None:
        """Open the section in which the object that was clicked on is described."""
        if context is self.context and context.session.objects.selected is not None:
            self.accordion.show_section(self.objects_section)

    def _show_edit(self, context: SlideContext) -> None:
        """Open the section with the brushes until the edit ends."""
        if context is self.context:
            self._before_edit = [section.title for section in self.accordion.open_sections]
            self.accordion.show_section(self.correct_section)

    def _show_before_edit(self) -> None:
        if self._before_edit:
            self.accordion.show_titled(self._before_edit)
            self._before_edit = []

    def _sections_changed(self, opened: list[Section]) -> None:
        """Have the open sections remembered with the run."""
        self.session.run_book.sections = [one.title for one in opened]

    def _show_pointer(self, position: Sequence[float]) -> None:
        """Say what is known about the place under the pointer."""
        layers = self.layers
        self.review_section.show_pointer("" if layers is None else layers.explain(position))

    def _mark(self) -> None:
        self._dirty = True

    def _view_changed(self, _event: object = None) -> None:
        """Pass the visible area to the session, which computes it first."""
        if self.context is not None and self.session.slide is not None:
            self.session.look_at(self._actions.visible_area())
            self.refine_section.view_moved()

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
        self._pointer.close()
        self._viewer.bind_key(SLIDE_ALONE, None)
        self._change_keys.close()
        self._unsaved.stop()
        self._picking.close()
        self.objects_section.close_table()
        layers = self._viewer.layers
        layers.events.inserted.disconnect(self._layer_inserted)
        layers.events.removed.disconnect(self._layers_changed)
        layers.events.removed.disconnect(self._layer_removed)
        self._actions.close()
        camera = self._viewer.scene.camera
        for event in (camera.events.center, camera.events.zoom):
            event.disconnect(self._view_changed)
        for context in self._contexts.values():
            if self._save_painting(context):
                _notify(Notice(PAINT_KEPT))
            self._try(context.layers.close, context.session)
        for session in self._sessions:
            session.events.noticed.connect(_notify)
            self._try(session.close, session)
        self._contexts.clear()


def _notify(notice: Notice) -> None:
    """Show an error, or what became of painted labels, in napari's window: the panel is gone."""
    with suppress(Exception):  # the window may be gone, too; it is in the log
        if notice.kind == "error":
            show_error(notice.text)
        elif notice.text == PAINT_KEPT:
            show_info(notice.text)
