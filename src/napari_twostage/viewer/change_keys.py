"""Keys on the canvas that compare, undo and redo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app_model.types import KeyCode, KeyMod
from napari.layers import Image, Labels

from napari_twostage.viewer.settings import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils.events import Event

    from napari_twostage.viewer.panel.host import PanelHost

COMPARE = ("C", "Shift-C")
"""Keys that show the labels before refinement while held. Napari has C for the contrast of the
active Image layer; there, only the second one is ours, unless the layer is RGB or of ours."""
UNDO = KeyMod.CtrlCmd | KeyCode.KeyZ
REDO = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ


class ChangeKeys:
    """Keys of a viewer and of those layers whose own keys would do nothing.

    A layer's keys come before the viewer's. Napari's Ctrl+Z on Labels layers undoes a brush
    stroke, and stays so on all layers that can be painted on: those of the user, and the open edit.

    Parameters
    ----------
    host : PanelHost
        Panel with the chosen slide.
    viewer : ViewerModel
        Viewer of the panel.
    """

    def __init__(self, host: PanelHost, viewer: ViewerModel) -> None:
        self._host = host
        self._viewer = viewer
        self._bound: dict[Layer, list[Any]] = {}
        for key, action in self._actions().items():
            viewer.bind_key(key, action, overwrite=True)
        for layer in viewer.layers:
            self._bind(layer)
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.layers.events.removed.connect(self._removed)

    def close(self) -> None:
        """Give all keys back."""
        self._viewer.layers.events.inserted.disconnect(self._inserted)
        self._viewer.layers.events.removed.disconnect(self._removed)
        for key in self._actions():
            self._viewer.bind_key(key, None)
        for layer in list(self._bound):
            self._release(layer)

    def _actions(self) -> dict[Any, Any]:
        return {**dict.fromkeys(COMPARE, self._compare), UNDO: self._undo, REDO: self._redo}

    def _inserted(self, event: Event) -> None:
        self._bind(event.value)

    def _removed(self, event: Event) -> None:
        self._release(event.value)

    def _bind(self, layer: Layer) -> None:
        """Bind the keys of a layer that napari has, though they do nothing useful there."""
        role = layer.metadata.get(METADATA_KEY, {}).get("role", "slide")
        keys: list[Any] = []
        if isinstance(layer, Image) and (layer.rgb or role != "slide"):
            keys = [COMPARE[0]]
        elif isinstance(layer, Labels) and role not in ("slide", "edit"):
            keys = [UNDO, REDO]
        actions = self._actions()
        for key in keys:
            layer.bind_key(key, actions[key], overwrite=True)
        if keys:
            self._bound[layer] = keys

    def _release(self, layer: Layer) -> None:
        for key in self._bound.pop(layer, ()):
            layer.bind_key(key, None)

    def _compare(self, _at: object) -> Iterator[None]:
        """Show the labels before refinement while a key is held."""
        layers = self._host.layers
        comparison = None if layers is None or layers.edit is not None else layers.comparison
        before = comparison is not None and comparison.shows_before
        if comparison is not None:
            comparison.show_before(not before)
        yield
        if comparison is not None:
            comparison.show_before(before)

    def _undo(self, _at: object) -> None:
        """Undo a brush stroke of the open edit, else our last change."""
        layers = self._host.layers
        if layers is not None and layers.edit is not None:
            layers.edit.undo()
        else:
            self._host.do(self._host.session.history.undo)

    def _redo(self, _at: object) -> None:
        """Redo a brush stroke of the open edit, else our change that was undone last."""
        layers = self._host.layers
        if layers is not None and layers.edit is not None:
            layers.edit.redo()
        else:
            self._host.do(self._host.session.history.redo)
