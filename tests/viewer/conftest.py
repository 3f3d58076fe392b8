"""Fixtures for viewer tests: slides, results, and napari windows with only this plugin."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
import tifffile
from tests.fakes import FakeModel, noise, noise_slide

import napari_twostage as ts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from qtpy.QtWidgets import QWidget

MANIFEST = str(files("napari_twostage") / "napari.yaml")


@pytest.fixture
def plugin(npe2pm):
    """Our plugin, registered as the only one."""
    with npe2pm.tmp_plugin(manifest=MANIFEST) as registered:
        yield registered


@pytest.fixture
def write_pyramid(tmp_path: Path):
    """Function that writes RGB or grey pixels as a tiled TIFF; each level is 4 times as coarse."""

    def write(pixels: np.ndarray, *, levels: int = 3, mpp: float | None = 0.5, name="slide.tif"):
        path = tmp_path / name
        options = {
            "photometric": "rgb" if pixels.ndim == 3 else "minisblack",
            "tile": (64, 64),
            "metadata": None,
        }
        if mpp:
            options |= {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
        with tifffile.TiffWriter(path) as tif:
            tif.write(pixels, subifds=levels - 1, **options)
            for level in range(1, levels):
                step = 4**level
                options |= {"subfiletype": 1, "resolution": None, "resolutionunit": None}
                tif.write(_thinned(pixels, step), **options)
        return path

    return write


def _thinned(pixels: np.ndarray, step: int) -> np.ndarray:
    rows, columns = (n // step * step for n in pixels.shape[:2])
    blocks = pixels[:rows, :columns].reshape(rows // step, step, columns // step, step, -1)
    thin = blocks.mean(axis=(1, 3)).astype(pixels.dtype)
    return thin if pixels.ndim == 3 else thin[..., 0]


@pytest.fixture
def result(write_pyramid, tmp_path: Path) -> ts.Segmentation:
    """Refined result of a slide in a file."""
    slide = ts.open_slide(write_pyramid(noise(150, 130), levels=1, name="cells.tif"))
    return ts.segment(
        slide, FakeModel(), tmp_path / "cells.twostage.zarr", refine="all", tissue=False
    )


@pytest.fixture
def array_result(tmp_path: Path) -> ts.Segmentation:
    """Result of an array, which has no slide file."""
    out = tmp_path / "array.twostage.zarr"
    return ts.segment(noise_slide(), FakeModel(), out, refine="none", tissue=False)


PATIENCE_MS = 20_000


class Window:
    """napari window with our panel; its widgets are found by Qt object name."""

    def __init__(self, viewer: Any, panel: Any, qtbot: Any) -> None:
        self.viewer = viewer
        self.panel = panel
        self.qtbot = qtbot

    def part(self, name: str) -> Any:
        """Widget of the panel with this object name."""
        from qtpy.QtWidgets import QWidget

        found = self.panel.findChild(QWidget, name)
        assert found is not None, name
        return found

    def enabled(self, name: str) -> bool:
        return bool(self.part(name).isEnabled())

    def press(self, name: str) -> None:
        """Click a button once it is enabled."""
        self.until(lambda: self.enabled(name))
        self.part(name).click()

    @property
    def status(self) -> str:
        return str(self.part("status").text())

    def until(self, reached: Callable[[], bool], timeout_ms: int = PATIENCE_MS) -> None:
        """Process events until a condition holds."""
        self.qtbot.waitUntil(reached, timeout=timeout_ms)

    def settle(self) -> None:
        """Wait until the chosen session is idle and the panel is up to date."""
        self.until(lambda: not self.panel.session.busy)
        self.until(lambda: not self.panel._dirty)

    def use(self, model: Any, *, tissue_only: bool = False) -> None:
        """Set the model of the chosen slide."""
        self.panel.session.set_model(model)
        self.panel.session.set_options(tissue_only=tissue_only)
        self.settle()

    def run_coarse(self) -> None:
        self.press("run_coarse")
        self.until(lambda: self.panel.session.coarse_done)
        self.settle()

    def close_panel(self) -> None:
        """Close the dock, as its close button does."""
        self.viewer.window.remove_dock_widget(self.panel)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Home folder, where results of arrays are written."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setattr("pathlib.Path.home", lambda: folder)
    place = "napari_twostage.session.memory.platformdirs.user_state_path"
    monkeypatch.setattr(place, lambda _name: folder / "state")
    return folder


@pytest.fixture
def open_window(plugin, home, make_napari_viewer, qtbot):  # noqa: ARG001 - needed for their effect
    """Function that opens a window with the panel from the manifest."""

    def open_it(viewer: Any = None, **options: Any) -> Window:
        if viewer is None:
            viewer = make_napari_viewer(strict_qt=True, **options)
        _, panel = viewer.window.add_plugin_dock_widget("napari-twostage")
        return Window(viewer, panel, qtbot)

    return open_it


@pytest.fixture
def window(open_window) -> Window:
    """Window with a small slide at 0.5 µm/px and the fake model."""
    opened = open_window()
    opened.viewer.add_image(noise(150, 130), name="slide", scale=(0.5, 0.5), units=("um", "um"))
    opened.use(FakeModel())
    return opened


def clipped(panel: QWidget) -> list[str]:
    """Descriptions of visible widgets that the panel cuts off at a side."""
    from qtpy.QtCore import QPoint
    from qtpy.QtWidgets import QSizePolicy, QWidget

    cut = []
    for child in panel.findChildren(QWidget):
        parent = child.parentWidget()
        if parent is None or not child.isVisible() or child.window() is not panel.window():
            continue
        left = child.mapTo(panel, QPoint(0, 0)).x()
        if left < 0 or left + child.width() > panel.width():
            cut.append(f"{type(child).__name__} {child.objectName()} {left} + {child.width()}")
        elif (
            child.sizePolicy().horizontalPolicy() != QSizePolicy.Policy.Ignored
            and child.minimumSizeHint().width() > child.width() + 1
        ):
            cut.append(
                f"{type(child).__name__} {child.objectName()} needs "
                f"{child.minimumSizeHint().width()}, has {child.width()}"
            )
    return cut
