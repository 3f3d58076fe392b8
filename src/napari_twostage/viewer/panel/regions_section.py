"""Section with the regions of a slide: drawn or imported, segmented and measured one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QColor, QIcon, QKeySequence, QPixmap, QShortcut
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHeaderView,
    QLabel,
    QStyledItemDelegate,
    QTreeWidget,
    QTreeWidgetItem,
)

from napari_twostage.measure.annotations import (
    AREA,
    CLASS_AREA,
    DENSITY,
    OBJECTS,
    SHARE,
    TISSUE,
    area_mm2,
)
from napari_twostage.viewer.drawn_regions import TOOLS
from napari_twostage.viewer.panel.parts import button, button_grid, host_button, session_button
from napari_twostage.viewer.panel.priced_button import PricedButton
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from qtpy.QtCore import QModelIndex
    from qtpy.QtWidgets import QAbstractButton, QStyleOptionViewItem, QWidget

    from napari_twostage.io.annotations import Annotation
    from napari_twostage.session import Session
    from napari_twostage.viewer.panel.host import PanelHost
    from napari_twostage.viewer.panel.view_actions import ViewActions

FILES = "Regions as GeoJSON (*.geojson *.json *.geojson.gz);;All files (*)"
_EMPTY = "Draw a region, or import some from QuPath. The quick pass then runs there only."
_KEY = Qt.ItemDataRole.UserRole
_ROWS = 7
"""Lines of the list that are visible at once."""


class _ReadOnly(QStyledItemDelegate):
    """Items that cannot be edited."""

    def createEditor(  # noqa: N802 - Qt's name
        self,
        parent: QWidget | None,  # noqa: ARG002
        option: QStyleOptionViewItem,  # noqa: ARG002
        index: QModelIndex,  # noqa: ARG002
    ) -> QWidget | None:
        return None


class RegionsSection(Section):
    """List of the regions, and buttons that work on those that are selected.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    actions : ViewActions
        Actions that need the viewer.
    """

    def __init__(self, host: PanelHost, actions: ViewActions) -> None:
        super().__init__("Regions")
        self._host = host
        self._actions = actions
        self._shown: object = None
        self._renaming = False
        self._build_list()
        self._hint = QLabel(_EMPTY)
        self._hint.setObjectName("region_hint")
        self._hint.setTextFormat(Qt.TextFormat.PlainText)
        self._hint.setWordWrap(True)
        self.tool = QComboBox()
        self.tool.setObjectName("draw_tool")
        self.tool.addItems(list(TOOLS))
        self.tool.setAccessibleName("Shape of the region")
        self.tool.setToolTip("How to draw: corner by corner, as a rectangle, or freehand")
        grid, layout = button_grid()
        which = "the selected regions, or all of them if none is selected"
        self.draw = host_button(
            host, "draw_region", "Draw region", "Draw what matters to you on the slide (Alt+D)",
            lambda: actions.draw_region(self.tool.currentText()),
        )  # fmt: skip
        self.load = button(
            "import_regions", "Import…", "Regions from QuPath or others, as GeoJSON", self._import
        )
        self.save = button(
            "export_regions", "Export…", f"Write {which} as GeoJSON for QuPath", self._export
        )
        self.coarse = session_button(
            host, "coarse_region", "Quick pass (region)",
            f"Segment {which} at reduced resolution; what was segmented before stays (Alt+Q)",
            lambda session: session.regions.run_coarse(),
        )  # fmt: skip
        self.refine = PricedButton(
            host, "refine_region", "Refine region",
            f"Full resolution on all tiles that touch {which}",
            lambda session: session.regions.refine(),
        )  # fmt: skip
        self.measure = session_button(
            host, "measure_regions", "Measure", f"Areas and objects in {which}",
            lambda session: session.regions.measure(),
        )  # fmt: skip
        self.measure.setAccessibleName("Measure regions")
        self.delete = session_button(
            host, "delete_regions", "Delete",
            "Delete the selected regions; labels stay (Delete, in the list)",
            lambda session: session.regions.remove(session.regions.selected),
        )  # fmt: skip
        key = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self.list)
        key.setContext(Qt.ShortcutContext.WidgetShortcut)
        key.activated.connect(self.delete.click)
        layout.addWidget(self.draw, 0, 0)
        layout.addWidget(self.tool, 0, 1)
        layout.addWidget(self.load, 1, 0)
        layout.addWidget(self.save, 1, 1)
        layout.addWidget(self.list, 2, 0, 1, 2)
        layout.addWidget(self.coarse, 3, 0)
        layout.addWidget(self.refine, 3, 1)
        layout.addWidget(self.measure, 4, 0)
        layout.addWidget(self.delete, 4, 1)
        self.body.addWidget(self._hint)
        self.body.addWidget(grid)

    def _build_list(self) -> None:
        self.list = QTreeWidget()
        self.list.setObjectName("region_list")
        self.list.setAccessibleName("Regions")
        self.list.setToolTip("Click to go there; F2 or a double-click renames")
        self.list.setColumnCount(2)
        self.list.setHeaderHidden(True)
        self.list.setRootIsDecorated(False)
        self.list.setIndentation(14)
        self.list.setStyleSheet("QTreeWidget::item { padding: 2px 0; }")
        self.list.setExpandsOnDoubleClick(False)
        self.list.setItemDelegateForColumn(1, _ReadOnly(self.list))
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.list.header()
        if header is not None:
            header.setStretchLastSection(False)
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
            header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.list.itemSelectionChanged.connect(self._select)
        self.list.itemChanged.connect(self._rename)

    @property
    def keys(self) -> dict[str, QAbstractButton]:
        """Shortcuts of regions."""
        return {"Alt+D": self.draw, "Alt+Q": self.coarse}

    def show_session(self, session: Session) -> None:
        """Show the regions of a session, in the list and on the slide."""
        self._actions.show_regions()
        regions, there = session.regions, session.slide is not None
        ready = there and session.card is not None and not session.running
        known = bool(regions.all)
        has_result = session.seg is not None and session.seg.tissue_known
        for one in (self.draw, self.tool, self.load):
            one.setEnabled(there)
        self.save.setEnabled(known)
        self.delete.setEnabled(bool(regions.selected))
        self.coarse.setEnabled(ready and known)
        self._show_price(session)
        self.measure.setEnabled(known and has_result)
        self._show_list(session)
        self.list.setVisible(known)
        hint = TOOLS[self.tool.currentText()][1] if self._actions.drawing else _EMPTY
        self._hint.setText(hint)
        self._hint.setVisible(there and (self._actions.drawing or not known))
        count = len(regions.all)
        self.set_status(f"{count:,} region{'s' * (count > 1)}" if known else "")

    def _show_price(self, session: Session) -> None:
        """State the price of refining; during a run that from before it stays."""
        if session.running:
            self.refine.setEnabled(False)
            return
        chosen, seg = session.regions.chosen, session.seg
        if seg is not None and not all(seg.is_segmented(one.rings) for one in chosen):
            self.refine.setEnabled(False)
            self.refine.set_price("quick pass first", "A region is not segmented yet")
            return
        rings = [ring for one in chosen for ring in one.rings]
        price = session.price(rings) if rings else None
        without, done = "No tissue is in the region", "Every tile of the region is refined"
        self.refine.offer(price, without, done)

    def _show_list(self, session: Session) -> None:
        """Draw the list anew if regions have changed, but not under the user's hands."""
        if self._renaming or self.list.state() == QAbstractItemView.State.EditingState:
            return
        mpp = None if session.slide is None else session.slide.mpp
        names = () if session.card is None else tuple(kind.name for kind in session.card.classes)
        wanted = session.regions.all, mpp, names
        with QSignalBlocker(self.list):
            if wanted != self._shown and mpp is not None:
                self._shown = wanted
                self.list.clear()
                for one in session.regions.all:
                    self.list.addTopLevelItem(_row(one, area_mm2(one.rings, mpp), names))
                self.list.expandAll()
                self._fit()
            self._show_selection(session)

    def _show_selection(self, session: Session) -> None:
        for item in self._items():
            chosen = item.data(0, _KEY) in session.regions.selected
            if chosen != item.isSelected():
                item.setSelected(chosen)
                if chosen:
                    self.list.scrollToItem(item)

    def _fit(self) -> None:
        """Make the list as high as its lines, up to a limit."""
        # napari applies the font size of the user's preferences to labels, not to lists
        self._hint.ensurePolished()
        self.list.setFont(self._hint.font())
        lines = sum(1 + item.childCount() for item in self._items())
        height = self.list.sizeHintForRow(0) if lines else 0
        self.list.setFixedHeight(height * min(lines, _ROWS) + 2 * self.list.frameWidth() + 2)

    def _items(self) -> list[QTreeWidgetItem]:
        found = (self.list.topLevelItem(row) for row in range(self.list.topLevelItemCount()))
        return [item for item in found if item is not None]

    def _select(self) -> None:
        chosen = [item.data(0, _KEY) for item in self._items() if item.isSelected()]
        self._host.do(lambda: self._actions.go_to_regions(chosen))

    def _rename(self, item: QTreeWidgetItem, _column: int) -> None:
        key, name = item.data(0, _KEY), item.text(0)
        self._shown = None  # the name may become another
        self._renaming = True  # the item is in use until this returns
        self._host.do(lambda: self._host.session.regions.rename(key, name))
        self._renaming = False

    def _import(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Import regions", "", FILES)
        if name:
            self._host.do(lambda: self._host.session.regions.import_from(name))

    def _export(self) -> None:
        slide = self._host.session.slide
        start = "regions.geojson" if slide is None else f"{slide.name}.regions.geojson"
        name, _ = QFileDialog.getSaveFileName(self, "Export regions", start, FILES)
        if name:
            path = name if name.lower().endswith((".geojson", ".json")) else f"{name}.geojson"
            self._host.do(lambda: self._host.session.regions.export_to(path))


def _row(one: Annotation, size_mm2: float, classes: tuple[str, ...]) -> QTreeWidgetItem:
    """Line of a region: colour, name and area; below it a line for each class, once measured."""
    item = QTreeWidgetItem([one.name, f"{size_mm2:.3g} mm²"])
    item.setData(0, _KEY, one.id)
    item.setIcon(0, _square(one.color))
    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
    item.setToolTip(0, one.kind or one.name)
    right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
    item.setTextAlignment(1, right)
    if not one.stamp:
        return item
    numbers = one.measurements
    item.setToolTip(
        1, f"{numbers.get(AREA, 0):.4g} mm², of which {numbers.get(TISSUE, 0):.4g} mm² tissue"
    )
    for name in classes:
        found = {
            what: numbers[f"{name}: {what}"] for what in _MEASURED if f"{name}: {what}" in numbers
        }
        if len(found) < len(_MEASURED):
            continue
        line = QTreeWidgetItem([name, _described(found)])
        line.setFlags(Qt.ItemFlag.ItemIsEnabled)
        line.setTextAlignment(1, right)
        for column in (0, 1):
            line.setToolTip(column, f"{name}: {_explained(found)}")
        item.addChild(line)
    return item


_MEASURED = (OBJECTS, CLASS_AREA, SHARE, DENSITY)


def _described(found: dict[str, float]) -> str:
    return f"{found[OBJECTS]:,.0f} · {found[CLASS_AREA]:.3g} mm² · {found[SHARE]:.1f} %"


def _explained(found: dict[str, float]) -> str:
    return (
        f"{found[OBJECTS]:,.0f} objects, {found[DENSITY]:,.0f} per mm² of the region; "
        f"{found[CLASS_AREA]:.4g} mm², {found[SHARE]:.1f} % of the tissue in it"
    )


def _square(color: str) -> QIcon:
    pixels = QPixmap(12, 12)
    pixels.fill(QColor(color or "#808080"))
    icon = QIcon(pixels)
    icon.addPixmap(pixels, QIcon.Mode.Selected)  # Qt would tint it
    return icon
