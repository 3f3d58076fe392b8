"""Section with the selected object, the list of all and its limits, and the density map."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_twostage.measure.density import CELL_UM
from napari_twostage.measure.object_filter import AREA, describe_choice
from napari_twostage.models.card_rules import LEAST_OBJECT_UM2
from napari_twostage.viewer.panel.area_histogram import AreaHistogram
from napari_twostage.viewer.panel.density_legend import DensityLegend
from napari_twostage.viewer.panel.number_field import NumberField
from napari_twostage.viewer.panel.object_card import ObjectCard
from napari_twostage.viewer.panel.objects_dock import ObjectsDock
from napari_twostage.viewer.panel.parts import (
    button,
    button_grid,
    form_row,
    in_a_row,
    session_button,
)
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QAbstractButton

    from napari_twostage.measure.object_list import ObjectList
    from napari_twostage.models import LabelClass
    from napari_twostage.session import Session
    from napari_twostage.viewer.panel.host import PanelHost
    from napari_twostage.viewer.panel.view_actions import ViewActions

CELLS_UM = (32, 64, 128, 256, 512)
"""Sides of the cells of a density map that are offered, in micrometres."""
LARGEST_UM2 = LEAST_OBJECT_UM2
"""Largest limit of areas, in µm²: the same as that of exports."""


class ObjectsSection(Section):
    """Card of the selected object, filters and histogram of the list, and the density map.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    actions : ViewActions
        Actions that need the viewer.
    viewer : napari.Viewer
        Viewer whose window gets the table.
    """

    def __init__(self, host: PanelHost, actions: ViewActions, viewer: Viewer) -> None:
        super().__init__("Objects")
        self._host = host
        self._actions = actions
        self._classes: tuple[LabelClass, ...] = ()
        self._plotted: tuple[ObjectList | None, int | None] = (None, None)
        self.dock = ObjectsDock(viewer, self._go_to)
        self.card = ObjectCard()
        self.body.addWidget(self.card)
        self._make_buttons(host)
        self._make_limits()
        self._make_density(host)

    def _make_buttons(self, host: PanelHost) -> None:
        grid, layout = button_grid()
        self.list_all = session_button(
            host, "list_objects", "List objects",
            "Measure all objects and show them in a table below the picture (Alt+O)",
            self._list_all,
        )  # fmt: skip
        self.table = button(
            "show_table",
            "Show table",
            "The table of objects, below the picture",
            lambda: self.dock.show(host.session),
        )
        layout.addWidget(self.list_all, 0, 0)
        layout.addWidget(self.table, 0, 1)
        self.body.addWidget(grid)

    def _make_limits(self) -> None:
        self.histogram = AreaHistogram()
        self.histogram.setObjectName("area_histogram")
        self.histogram.limits_dragged.connect(self._set_areas)
        self.kind = QComboBox()
        self.kind.setObjectName("objects_class")
        self.kind.currentIndexChanged.connect(self._limit)
        self.least = _spin("least_area", "Least area", LARGEST_UM2, 1, 1.0)
        self.most = _spin("most_area", "Largest area", LARGEST_UM2, 1, 1.0)
        self.least_doubt = _spin("least_uncertainty", "Least uncertainty", 1.0, 2, 0.05)
        self.most_doubt = _spin("most_uncertainty", "Largest uncertainty", 1.0, 2, 0.05)
        for one in (self.least, self.most, self.least_doubt, self.most_doubt):
            one.valueChanged.connect(self._limit)
        self.count = QLabel()
        self.count.setObjectName("objects_count")
        self.count.setWordWrap(True)
        self.exports = QCheckBox("Use the least area in exports")
        self.exports.setObjectName("limit_exports")
        self.exports.setToolTip(
            "Exports leave out objects below the least area, and fill holes below it"
        )
        self.exports.toggled.connect(self._limit_exports)
        self._limits = QWidget()
        column = QVBoxLayout(self._limits)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.histogram)
        column.addWidget(self.count)
        column.addWidget(form_row("Class", self.kind, "Objects of this class alone"))
        column.addWidget(
            form_row("Area µm²", _range(self.least, self.most), "Least and largest area")
        )
        doubts = _range(self.least_doubt, self.most_doubt)
        column.addWidget(
            form_row("Uncertainty", doubts, "Least and largest mean uncertainty, 0 to 1")
        )
        column.addWidget(self.exports)
        self.body.addWidget(self._limits)

    def _make_density(self, host: PanelHost) -> None:
        self.density = session_button(
            host, "density", "Density map", "A layer of objects per square millimetre",
            lambda session: session.map_density(float(self.cells.currentData())),
        )  # fmt: skip
        self.cells = QComboBox()
        self.cells.setObjectName("density_cells")
        for side in CELLS_UM:
            self.cells.addItem(f"{side} µm", side)
        self.cells.setCurrentIndex(CELLS_UM.index(round(CELL_UM)))
        self.cells.setAccessibleName("Size of the cells of the density map")
        self.cells.setToolTip("Side of the squares in which objects are counted")
        self.legend = DensityLegend()
        self.body.addWidget(in_a_row(self.density, self.cells))
        self.body.addWidget(self.legend)

    @property
    def keys(self) -> dict[str, QAbstractButton]:
        """Shortcut of the list."""
        return {"Alt+O": self.list_all}

    def close_table(self) -> None:
        """Remove the table's dock: the panel closes."""
        self.dock.close()

    # -- drawing ---------------------------------------------------------------------------------

    def show_session(self, session: Session) -> None:
        """Show the selected object, the limits and what is within them."""
        own = session.objects
        self._show_classes(() if session.card is None else session.card.classes)
        has_result = session.seg is not None and session.seg.tissue_known
        self.list_all.setEnabled(has_result and not own.listing)
        self.table.setEnabled(own.listed is not None)
        self.density.setEnabled(has_result)
        self.cells.setEnabled(has_result)
        found = own.selected
        kinds = [one for one in self._classes if found is not None and one.value == found.value]
        self.card.show_object(found, kinds[0] if kinds else None)
        self._show_limits(session)
        self._show_legend(session)
        self.dock.show_session(session)
        self.set_status("" if own.listed is None else f"{len(own.listed):,} objects")

    def _show_classes(self, classes: tuple[LabelClass, ...]) -> None:
        if classes == self._classes:
            return
        self._classes = classes
        with QSignalBlocker(self.kind):
            self.kind.clear()
            self.kind.addItem("All classes", None)
            for one in classes:
                self.kind.addItem(one.name, one.value)

    def _show_limits(self, session: Session) -> None:
        own = session.objects
        self._limits.setVisible(own.listed is not None)
        if own.listed is None:
            self._plotted = None, None
            return
        limits = own.limits
        shown = {
            self.least: limits.least_um2,
            self.most: 0.0 if math.isinf(limits.most_um2) else limits.most_um2,
            self.least_doubt: limits.least_uncertainty,
            self.most_doubt: 0.0 if limits.most_uncertainty >= 1 else limits.most_uncertainty,
        }
        for spin, value in shown.items():
            with QSignalBlocker(spin):
                spin.setValue(value)
        with QSignalBlocker(self.kind):
            self.kind.setCurrentIndex(max(0, self.kind.findData(limits.value)))
        with QSignalBlocker(self.exports):
            self.exports.setChecked(own.limit_exports)
        if self._plotted[0] is not own.listed or self._plotted[1] != limits.value:
            areas = own.listed.numbers[AREA]
            chosen = slice(None) if limits.value is None else own.listed.values == limits.value
            self.histogram.set_areas(areas[chosen])
            self._plotted = own.listed, limits.value
        self.histogram.set_limits(limits.least_um2, limits.most_um2)
        text = describe_choice(own.listed, own.within)
        again = "\nLabels have changed since: list the objects again."
        self.count.setText(text + again * own.outdated)

    def _show_legend(self, session: Session) -> None:
        layers = self._host.layers
        layer = None if layers is None else layers.density
        self.legend.setVisible(session.density is not None and layer is not None)
        if layer is not None:
            self.legend.set_most(float(layer.contrast_limits[1]))

    # -- asked by the user -----------------------------------------------------------------------

    def _list_all(self, session: Session) -> None:
        session.objects.list_all()
        self.dock.show(session)

    def _go_to(self, place: int) -> None:
        """Move to an object of the list and select it."""
        session = self._host.session
        listed, seg = session.objects.listed, session.seg
        if listed is None or seg is None:
            return
        self._actions.show_box(listed.box(place).scaled(seg.grid.downsample))
        self._host.do(partial(session.objects.select_pixel, *listed.first_pixel(place)))

    def _set_areas(self, least: float, most: float) -> None:
        own = self._host.session.objects
        own.set_limits(replace(own.limits, least_um2=least, most_um2=most))
        self._limits_changed()

    def _limit(self) -> None:
        own = self._host.session.objects
        own.set_limits(
            replace(
                own.limits,
                value=self.kind.currentData(),
                least_um2=self.least.value(),
                most_um2=self.most.value() or math.inf,
                least_uncertainty=self.least_doubt.value(),
                most_uncertainty=self.most_doubt.value() or 1.0,
            )
        )
        self._limits_changed()

    def _limits_changed(self) -> None:
        """Show new limits at once: the count follows the mouse."""
        session = self._host.session
        self._show_limits(session)
        self.dock.show_session(session)

    def _limit_exports(self, wanted: bool) -> None:
        self._host.session.objects.limit_exports = wanted


def _spin(name: str, text: str, most: float, decimals: int, step: float) -> NumberField:
    """Field of a limit; at 0 there is none."""
    made = NumberField()
    made.setObjectName(name)
    made.setAccessibleName(text)
    made.setToolTip(f"{text}; 0 is no limit")
    made.setRange(0.0, most)
    made.setDecimals(decimals)
    made.setSingleStep(step)
    made.setSpecialValueText("any")
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return made


def _range(least: NumberField, most: NumberField) -> QWidget:
    """Two fields with a dash between them."""
    made = QWidget()
    made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    made.setFocusProxy(least)
    layout = QHBoxLayout(made)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    layout.addWidget(least, stretch=1)
    layout.addWidget(QLabel("–"))
    layout.addWidget(most, stretch=1)
    return made
