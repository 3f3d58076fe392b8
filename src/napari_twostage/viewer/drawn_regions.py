"""Regions of the chosen slide on one Shapes layer: drawn, moved, deleted and selected there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from napari.layers import Shapes

from napari_twostage.io.annotations import bounds_of, even_odd
from napari_twostage.viewer.settings import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari.components import ViewerModel
    from napari.layers import Image
    from napari.utils.events import Event
    from numpy.typing import NDArray

    from napari_twostage.session import Session
    from napari_twostage.session.regions import Regions

    Points = NDArray[np.float64]

NAME = "regions"
LINE_PX, SELECTED_PX = 2.0, 4.0
"""Width of the lines of a region, and of one that is selected, in screen pixels."""
_ZOOM_STEP = 1.25
"""Change of the zoom from which on lines are drawn anew."""
TOOLS = {
    "Polygon": ("add_polygon", "Click the corners; a double-click closes the polygon."),
    "Rectangle": ("add_rectangle", "Drag from one corner to the other."),
    "Freehand": ("add_polygon_lasso", "Drag around the area; release to close it."),
}
"""Ways to draw: mode of the layer, and a hint."""
_ELLIPSE_CORNERS = 64
_METADATA = {"role": "region", "result": None}
"""Our entry in the layer's metadata."""


class RegionHost(Protocol):
    """Panel as seen by the regions on the canvas."""

    @property
    def session(self) -> Session:
        """Session of the chosen slide; an empty session without a slide."""

    @property
    def slide_layer(self) -> Image | None:
        """Layer of the chosen slide; None without a slide."""

    def do(self, action: Callable[[], object]) -> None:
        """Call an action and update the panel; an error is shown as a message."""


class DrawnRegions:
    """Regions of the session of the chosen slide, in step with a Shapes layer.

    A region has one shape for each of its outlines. All slides share the layer, which is hidden
    when there is nothing in it and never removed: drawing after a Shapes layer was removed crashes
    Mesa's software OpenGL.

    Parameters
    ----------
    host : RegionHost
        Panel with the chosen slide and its session.
    viewer : ViewerModel
        Viewer to draw in.
    """

    def __init__(self, host: RegionHost, viewer: ViewerModel) -> None:
        self._host = host
        self._viewer = viewer
        self._layer: Shapes | None = None
        self._keys: list[str] = []
        """Id of the region of each shape; a shape that is being drawn has none yet."""
        self._shown: object = None
        """What the layer shows: the slide's layer, and its regions."""
        self._zoom = 0.0
        self._updating = False
        viewer.scene.camera.events.zoom.connect(self._zoomed)
        viewer.mouse_drag_callbacks.append(self._clicked)

    def close(self) -> None:
        """Leave the viewer alone from now on; the layer stays."""
        self._viewer.scene.camera.events.zoom.disconnect(self._zoomed)
        if self._clicked in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._clicked)
        if self._layer is not None:
            self._layer.events.data.disconnect(self._edited)
            self._layer.selected_data.events.items_changed.disconnect(self._selected)

    # -- drawing -------------------------------------------------------------------------------

    def draw(self, tool: str) -> None:
        """Show the layer, and select one of `TOOLS`."""
        slide_layer = self._host.slide_layer
        if slide_layer is None:
            return
        self.show()
        layer = self._ready_layer(slide_layer)
        layer.visible = True
        self._viewer.layers.selection.active = layer
        layer.selected_data = set()
        layer.mode = TOOLS[tool][0]

    @property
    def drawing(self) -> bool:
        """Whether a tool to draw is selected."""
        layer = self._present_layer
        return layer is not None and str(layer.mode).startswith("add_")

    def show(self) -> None:
        """Show the regions of the chosen slide, unless one is just being drawn."""
        slide_layer, regions = self._host.slide_layer, self._host.session.regions
        known = () if slide_layer is None else regions.all
        if not known and self._present_layer is None:
            return
        unfinished = self._present_layer is not None and self._present_layer.nshapes > len(
            self._keys
        )
        if slide_layer is None or unfinished:
            return
        wanted = slide_layer, known
        layer = self._ready_layer(slide_layer)
        if wanted != self._shown:
            self._fill(layer, slide_layer, regions)
            self._shown = wanted
        self._show_selection(layer, regions)

    def _fill(self, layer: Shapes, slide_layer: Image, regions: Regions) -> None:
        """Replace all shapes of the layer, and put it on top."""
        layers = self._viewer.layers
        if layers[-1] is not layer:
            layers.move(layers.index(layer), len(layers))
        to_world = _affine(lambda place: slide_layer.data_to_world(place)[-2:])
        shapes = [(one, ring) for one in regions.all for ring in one.rings]
        first = {one.id: one.rings[0] for one, _ in shapes}
        self._updating = True
        try:
            layer.selected_data = set()
            layer.data = []
            layer.units = slide_layer.units
            if shapes:
                colors = [one.color for one, _ in shapes]
                layer.add_polygons(
                    [to_world(np.array(ring) - 0.5) for _, ring in shapes],
                    edge_color=colors,
                    edge_width=LINE_PX / max(self._zoom, 1e-9),
                    face_color="transparent",
                )
                layer.features = {
                    "name": [one.name if ring is first[one.id] else "" for one, ring in shapes],
                    "color": colors,
                }
            self._keys = [one.id for one, _ in shapes]
            if not shapes and not self.drawing:
                layer.visible = False
            elif shapes and self._shown is None:
                layer.visible = True
        finally:
            self._updating = False

    def _show_selection(self, layer: Shapes, regions: Regions) -> None:
        """Draw what is selected with wider lines; select it in napari while its tools are used.

        Else nothing is selected there: napari's slider, which counts in whole micrometres, would
        set the width of the lines.
        """
        chosen = {index for index, key in enumerate(self._keys) if key in regions.selected}
        selected = chosen if str(layer.mode) != "pan_zoom" else set()
        zoom = max(self._zoom, 1e-9)
        widths = [
            (SELECTED_PX if index in chosen else LINE_PX) / zoom for index in range(layer.nshapes)
        ]
        self._updating = True
        try:
            if selected != set(layer.selected_data):
                layer.selected_data = selected
            if widths != list(layer.edge_width):
                layer.edge_width = widths
        finally:
            self._updating = False

    @property
    def _present_layer(self) -> Shapes | None:
        """The layer; None if there is none yet, or the user removed it."""
        layer = self._layer
        return layer if layer is not None and layer in self._viewer.layers else None

    def _ready_layer(self, slide_layer: Image) -> Shapes:
        layer = self._present_layer
        if layer is not None:
            return layer
        self._zoom = float(self._viewer.scene.camera.zoom)
        self._keys, self._shown = [], None
        layer = self._layer = self._earlier_layer() or self._new_layer(slide_layer)
        layer.events.data.connect(self._edited)
        layer.selected_data.events.items_changed.connect(self._selected)
        return layer

    def _earlier_layer(self) -> Shapes | None:
        """Layer that a panel left which was closed, without its shapes; None if there is none."""
        for layer in self._viewer.layers:
            if isinstance(layer, Shapes) and layer.metadata.get(METADATA_KEY) == _METADATA:
                layer.data = []
                return layer
        return None

    def _new_layer(self, slide_layer: Image) -> Shapes:
        layer = Shapes(
            name=NAME,
            ndim=2,
            edge_color="#00a5dc",
            edge_width=LINE_PX / max(self._zoom, 1e-9),
            face_color="transparent",
            opacity=1.0,
            features={"name": np.array([], object), "color": np.array([], object)},
            feature_defaults={"name": "", "color": "#00a5dc"},
            text={
                "string": "{name}",
                "color": {"feature": "color"},
                "size": 11,
                "anchor": "upper_left",
            },
            units=slide_layer.units,
            metadata={METADATA_KEY: _METADATA},
        )
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        self._viewer.layers.selection.active = active
        return layer

    def _zoomed(self, _event: object = None) -> None:
        """Keep the lines as wide as they were on the screen."""
        layer, zoom = self._present_layer, float(self._viewer.scene.camera.zoom)
        if layer is None or 1 / _ZOOM_STEP < zoom / max(self._zoom, 1e-9) < _ZOOM_STEP:
            return
        self._zoom = zoom
        if layer.nshapes == len(self._keys):  # none is being drawn
            self._show_selection(layer, self._host.session.regions)

    # -- what the user does --------------------------------------------------------------------

    def _edited(self, event: Event) -> None:
        """Take in what was drawn, moved or deleted with napari's tools."""
        layer = self._present_layer
        if self._updating or layer is None or self._host.slide_layer is None:
            return
        action = str(event.action)
        if action.endswith("added"):
            self._host.do(lambda: self._take_new(layer))
        elif action.endswith("changed"):
            changed = [i for i in event.data_indices if 0 <= i < len(self._keys)]
            self._host.do(lambda: self._reshape(layer, {self._keys[i] for i in changed}))
        elif action.endswith("removed"):
            gone = {i % max(1, len(self._keys)) for i in event.data_indices}
            self._host.do(lambda: self._remove(layer, gone))

    def _take_new(self, layer: Shapes) -> None:
        """Make regions of shapes that are complete; what is too small for one is dropped."""
        regions = self._host.session.regions
        new = range(len(self._keys), layer.nshapes)
        rings = [self._ring(layer, index) for index in new]
        self._keys += [""] * len(new)
        self._shown = None  # names and colours are to be drawn
        layer.mode = "pan_zoom"
        for ring in rings:
            if len(ring) >= 3 and even_odd((tuple(map(tuple, ring)),)).area > 0:
                regions.add([ring])

    def _reshape(self, layer: Shapes, keys: set[str]) -> None:
        regions = self._host.session.regions
        for key in keys:
            own = [index for index, known in enumerate(self._keys) if known == key]
            regions.reshape(key, [self._ring(layer, index) for index in own])
        self._shown = self._host.slide_layer, regions.all  # as it is drawn already

    def _remove(self, layer: Shapes, gone: set[int]) -> None:
        regions, before = self._host.session.regions, set(self._keys)
        cut = {self._keys[index] for index in gone if index < len(self._keys)}
        self._keys = [key for index, key in enumerate(self._keys) if index not in gone]
        regions.remove(before - set(self._keys))
        self._reshape(layer, cut & set(self._keys))

    def _selected(self, _event: object) -> None:
        layer = self._present_layer
        if self._updating or layer is None or self.drawing:
            return
        chosen = {self._keys[i] for i in layer.selected_data if i < len(self._keys)}
        self._host.session.regions.select(chosen)

    def _clicked(self, viewer: ViewerModel, event: Any) -> Iterator[None]:  # noqa: ANN401 - vispy's
        """Select the smallest region at a click; a drag moves the view as ever."""
        place, start = event.position, np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        layer, slide_layer = self._present_layer, self._host.slide_layer
        active = viewer.layers.selection.active
        calm = active is None or str(getattr(active, "mode", "pan_zoom")) == "pan_zoom"
        moved = np.abs(np.array(event.pos) - start).max() > 3
        if moved or not calm or layer is None or not layer.visible or slide_layer is None:
            return
        point = np.array(slide_layer.world_to_data(place)[-2:]) + 0.5
        self._host.session.regions.select(_smallest_at(self._host.session.regions, point))

    def _ring(self, layer: Shapes, index: int) -> Points:
        """Corners (y, x) of a shape, on level 0 of the chosen slide."""
        slide_layer = self._host.slide_layer
        corners = np.asarray(layer.data[index], float)
        if layer.shape_type[index] == "ellipse":
            corners = _ellipse(corners)
        if slide_layer is None or len(corners) < 3:
            return corners
        to_world = _affine(lambda place: layer.data_to_world(place)[-2:])
        to_slide = _affine(lambda place: slide_layer.world_to_data(place)[-2:])
        return to_slide(to_world(corners)) + 0.5


def _affine(place: Callable[[Sequence[float]], Sequence[float]]) -> Callable[[Points], Points]:
    """An affine function of one place (y, x), for many places at once: (n, 2) to (n, 2)."""
    origin, down, across = (np.asarray(place(at), float) for at in ((0, 0), (1, 0), (0, 1)))
    matrix = np.stack([down - origin, across - origin])
    return lambda points: points @ matrix + origin


def _ellipse(corners: Points) -> Points:
    """Polygon of the ellipse in a rectangle of four corners."""
    middle = corners.mean(axis=0)
    down, across = (corners[3] - corners[0]) / 2, (corners[1] - corners[0]) / 2
    turn = np.linspace(0, 2 * np.pi, _ELLIPSE_CORNERS, endpoint=False)[:, None]
    return np.asarray(middle + np.sin(turn) * down + np.cos(turn) * across)


def _smallest_at(regions: Regions, point: Points) -> list[str]:
    """Id of the smallest region that holds a point (y, x) of level 0; none if there is none."""
    import shapely

    y, x = point.tolist()
    found = []
    for one in regions.all:
        top, left, bottom, right = bounds_of(one.rings)
        if top <= y <= bottom and left <= x <= right:
            shape = even_odd(one.rings)
            if shapely.contains_xy(shape, x, y):
                found.append((shape.area, one.id))
    return [min(found)[1]] if found else []
