"""Section with classes, measurements and export."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QDialog, QFileDialog, QLabel, QPlainTextEdit, QVBoxLayout

from napari_twostage.session import Session
from napari_twostage.viewer.panel.parts import ClassRow, button, button_grid, session_button
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from napari_twostage.measure.areas import ClassArea
    from napari_twostage.models import LabelClass
    from napari_twostage.viewer.panel.host import PanelHost

EXPORT_FORMATS = {
    "Objects for QuPath (*.geojson)": ".geojson",
    "Objects for QuPath, compressed (*.geojson.gz)": ".geojson.gz",
    "Objects as GeoParquet (*.parquet)": ".parquet",
    "Objects as AnnData (*.h5ad)": ".h5ad",
    "Labels as OME-Zarr (*.ome.zarr)": ".ome.zarr",
    "Labels as OME-TIFF (*.ome.tif)": ".ome.tif",
    "Areas per class (*.areas.csv)": ".areas.csv",
    "Table of objects (*.objects.csv)": ".objects.csv",
    "Density of objects (*.density.tif)": ".density.tif",
    "Picture of the density (*.density.png)": ".density.png",
    "Overview picture (*.png)": ".png",
}
"""Formats in the file dialog, and the suffix of each."""


class ResultsSection(Section):
    """Visibility and measurements of each class, and buttons for export.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    """

    def __init__(self, host: PanelHost) -> None:
        super().__init__("Results")
        self._host = host
        self._classes: tuple[LabelClass, ...] = ()
        self._rows: dict[int, ClassRow] = {}
        self._row_box = QVBoxLayout()
        self._row_box.setSpacing(4)
        self._note = QLabel()
        self._note.setWordWrap(True)
        grid, layout = button_grid()
        self.measure = session_button(
            host, "measure", "Measure", "Areas and object counts of the labels as they stand",
            Session.measure,
        )  # fmt: skip
        self.export = button(
            "export", "Export…", "Labels, objects for QuPath, tables or a picture", self._export
        )
        self.script = button(
            "copy_python", "Copy as Python", "The script that makes this result again", self._copy
        )
        self.record = button(
            "show_record", "Run record", "Slide, model, settings, versions and times", self._record
        )
        layout.addWidget(self.measure, 0, 0)
        layout.addWidget(self.export, 0, 1)
        layout.addWidget(self.script, 1, 0)
        layout.addWidget(self.record, 1, 1)
        self.body.addLayout(self._row_box)
        self.body.addWidget(self._note)
        self.body.addWidget(grid)

    def show_session(self, session: Session) -> None:
        """Show the classes of a session's model, and their measurements."""
        self._show_classes(() if session.card is None else session.card.classes)
        has_result = session.seg is not None and session.seg.tissue_known
        for one in (self.measure, self.export, self.script, self.record):
            one.setEnabled(has_result)
        so_far = session.objects.so_far
        tally = session.tally if so_far is None else so_far.classes
        self._show_tally(tally)
        note = _note(session, has_result=has_result)
        found = session.seg.record.tissue if session.seg is not None else None
        artefacts = found.artefact_notices() if found is not None else []
        note = "\n".join([note] * bool(note) + [f"{one}." for one in artefacts])
        self._note.setVisible(bool(note))
        self._note.setText(note)
        total = sum(entry.objects for entry in tally or [])
        self.set_status(f"{total:,} objects{' so far' * (so_far is not None)}" if tally else "")

    def _show_classes(self, classes: tuple[LabelClass, ...]) -> None:
        if classes == self._classes:
            return
        self._classes = classes
        for row in self._rows.values():
            row.deleteLater()
        self._rows = {}
        for entry in classes:
            row = ClassRow(entry.value, entry.name, entry.color)
            row.toggled_class.connect(self._toggle)
            self._row_box.addWidget(row)
            self._rows[entry.value] = row

    def _show_tally(self, tally: list[ClassArea] | None) -> None:
        known = {entry.value: entry for entry in tally or []}
        for value, row in self._rows.items():
            entry = known.get(value)
            row.set_detail("" if entry is None else _described(entry))

    def _toggle(self, value: int, visible: bool) -> None:
        if self._host.layers is not None:
            self._host.layers.show_class(value, visible=visible)

    def _export(self) -> None:
        session = self._host.session
        if session.seg is None:
            return
        start = session.seg.path.with_name(session.seg.path.name.removesuffix(".twostage.zarr"))
        name, chosen = QFileDialog.getSaveFileName(
            self, "Export", str(start) + ".geojson", ";;".join(EXPORT_FORMATS)
        )
        if name:
            ending = EXPORT_FORMATS.get(chosen, "")
            known = name.lower().endswith(
                (*EXPORT_FORMATS.values(), ".ome.tiff", ".geoparquet", ".csv")
            )
            self._host.do(lambda: session.export(name if known else name + ending))

    def _copy(self) -> None:
        def copy() -> None:
            clipboard = QGuiApplication.clipboard()
            if clipboard is not None:
                clipboard.setText(self._host.session.as_python())
                self._host.session.say("the script is on the clipboard")

        self._host.do(copy)

    def _record(self) -> None:
        seg = self._host.session.seg
        if seg is None:
            return
        window = QDialog(self)
        window.setWindowTitle("Run record")
        window.resize(560, 640)
        text = QPlainTextEdit(json.dumps(seg.record.as_dict(), indent=2), window)
        text.setReadOnly(True)
        QVBoxLayout(window).addWidget(text)
        window.exec()
        window.deleteLater()


def _described(area: ClassArea) -> str:
    return f"{area.describe_area()}\n{area.objects:,} objects"


def _note(session: Session, *, has_result: bool) -> str:
    """Line above the buttons: what measurements leave out; empty if that is nothing."""
    if not has_result:
        return "There is no result yet."
    if (so_far := session.objects.so_far) is not None:
        return f"So far, {so_far.share:.0%} of the tissue.".replace("%", " %")
    missing = session.missing
    if session.tally:
        notes = [f"{one.name}: {one.describe_left_out()}." for one in session.tally if one.left_out]
        return " ".join([*notes, f"Only of what is done ({missing})."] if missing else notes)
    if missing:
        return f"Not complete ({missing}): measurements and exports show what is done."
    return "Measure to see areas and counts."
