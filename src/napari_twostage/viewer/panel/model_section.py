"""Section to choose the model and show its card."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QSizePolicy, QWidget

from napari_twostage.engine.api import working_grid
from napari_twostage.engine.checks import scale_warning
from napari_twostage.models.bundle import bundled_names, read_bundle
from napari_twostage.viewer.panel.parts import button, form_row
from napari_twostage.viewer.panel.section import Section

if TYPE_CHECKING:
    from napari_twostage.models import ModelCard
    from napari_twostage.session import Session
    from napari_twostage.slides.base import Slide
    from napari_twostage.viewer.panel.host import PanelHost


class ModelSection(Section):
    """Choice of a bundled model, or of one loaded from a file.

    Parameters
    ----------
    host : PanelHost
        Panel that contains the section.
    """

    def __init__(self, host: PanelHost) -> None:
        super().__init__("Model")
        self._host = host
        self._choice = QComboBox()
        self._choice.setObjectName("model")
        self._choice.setAccessibleName("Model")
        self._choice.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        for name in bundled_names():
            self._choice.addItem(name, name)
        self._card = QLabel()
        self._card.setWordWrap(True)
        self._card.setTextFormat(Qt.TextFormat.RichText)
        self._compute = QLabel()
        self._compute.setObjectName("compute")
        self._compute.setWordWrap(True)
        self._compute.hide()
        self._resampling = QLabel()
        self._resampling.setWordWrap(True)
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._choice, stretch=1)
        tip = "Load a model bundle: a zip, or the card.json in its folder"
        layout.addWidget(button("load_model", "Load…", tip, self._load))
        self.body.addWidget(form_row("Model", row, "What segments: stage 1 and stage 2"))
        self.body.addWidget(self._card)
        self.body.addWidget(self._compute)
        self.body.addWidget(self._resampling)
        self._choice.currentIndexChanged.connect(self._chosen)

    def show_session(self, session: Session) -> None:
        """Show the card of a session's model, and how the slide is resampled for it."""
        card = session.card
        if card is None:
            self.set_status("none")
            return
        self._select(session)
        self._card.setText(card_text(card))
        self._card.setToolTip(card_details(card))
        self._compute.setVisible(session.compute is not None)
        if session.compute is not None:
            self._compute.setText(f"Runs on {session.compute}")
            self._compute.setToolTip(f"{session.compute.why}. Preferences > Plugins changes it.")
        note = "" if session.slide is None else resampling_note(session.slide, card)
        self._resampling.setText(note)
        self._resampling.setVisible(bool(note))
        self.set_status(f"{card.name} {card.version}")

    def _select(self, session: Session) -> None:
        """Select the session's model in the list, adding it if it came from a result."""
        source = session.model_source or ""
        with QSignalBlocker(self._choice):
            if self._choice.findData(source) < 0:
                self._choice.addItem(Path(source).name, source)
            self._choice.setCurrentIndex(self._choice.findData(source))

    def _chosen(self, index: int) -> None:
        source = self._choice.itemData(index)
        self._host.do(lambda: self._host.session.set_model(source))

    def _load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self, "Load a model", "", "Model bundles (*.zip card.json)"
        )
        if name:
            path = Path(name)
            source = path.parent if path.name == "card.json" else path
            self._host.do(lambda: self._host.session.set_model(read_bundle(source)))


def card_text(card: ModelCard) -> str:
    """Summary of a card, as rich text, in which words of the card are no tags."""
    classes = " &nbsp; ".join(
        f'<span style="color:{entry.color}">■</span>&nbsp;{escape(entry.name)}'
        for entry in card.classes
    )
    chosen = next((name for name in card.metrics if name.startswith("two stages")), None)
    lines = [
        escape(card.description),
        f"{classes} &nbsp;·&nbsp; {card.fine_mpp:g} µm/px &nbsp;·&nbsp; "
        f"coarse {card.fine_mpp * card.ratio:g} µm/px",
        escape(f"{chosen[0].upper()}{chosen[1:]}: {card.metrics[chosen]}") if chosen else "",
        escape(f"Licence: {card.licence}"),
    ]
    return "<br>".join(line for line in lines if line)


def card_details(card: ModelCard) -> str:
    """Measured qualities and training data of a card, as lines of plain text."""
    measured = [f"{name}: {found}" for name, found in card.metrics.items()]
    return "\n".join(["Measured", *measured, "Trained on", card.training_data])


def resampling_note(slide: Slide, card: ModelCard) -> str:
    """Note on how the slide is resampled for the model; empty if its pixel size fits.

    A pixel size that is far from the model's has a line of its own: see `pixel_size_warning`.
    """
    if scale_warning(slide, card) is not None:
        return ""
    grid = working_grid(slide, card)
    if grid.downsample == (1.0, 1.0):
        return ""
    used = f"{grid.mpp[0]:.3g} µm/px"
    if grid.shape in slide.level_shapes:
        level = slide.level_shapes.index(grid.shape)
        return f"The slide's level {level} ({used}) is used: the model works at {card.fine_mpp:g}."
    way = "reduced" if grid.downsample[0] > 1 else "enlarged"
    return (
        f"The slide has {slide.mpp[0]:.3g} µm/px, the model works at {card.fine_mpp:g}: "
        f"pixels are {way} {max(grid.downsample[0], 1 / grid.downsample[0]):.2g}× while reading."
    )
