"""Slides to open in napari, results to show, and napari with nothing but this plugin."""

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
    """Our plugin, and no other, as napari sees it."""
    with npe2pm.tmp_plugin(manifest=MANIFEST) as registered:
        yield registered


@pytest.fixture
def write_pyramid(tmp_path: Path):
    """Write a tiled TIFF of RGB or grey pixels, each level a quarter as fine as the last."""

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
    """A refined result of a slide in a file."""
    slide = ts.open_slide(write_pyramid(noise(150, 130), levels=1, name="cells.tif"))
    return ts.segment(
        slide, FakeModel(), tmp_path / "cells.twostage.zarr", refine="all", tissue=False
    )


@pytest.fixture
def array_result(tmp_path: Path) -> ts.Segmentation:
    """A result of an array: there is no file to go back to."""
    out = tmp_path / "array.twostage.zarr"
    return ts.segment(noise_slide(), FakeModel(), out, refine="none", tissue=False)


PATIENCE_MS = 20_000


class Window:
    """A napari window with our panel: pressed, typed into and read by Qt's object names."""

    def __init__(self, viewer: Any, panel: Any, qtbot: Any) -> None:
        self.viewer = viewer
        self.panel = panel
        self.qtbot = qtbot

    def part(self, name: str) -> Any:
        """A widget of the panel."""
        from qtpy.QtWidgets import QWidget

        found = self.panel.findChild(QWidget, name)
        assert found is not None, name
        return found

    def enabled(self, name: str) -> bool:
        return bool(self.part(name).isEnabled())

    def press(self, name: str) -> None:
        """Click a button that can be clicked."""
        self.until(lambda: self.enabled(name))
        self.part(name).click()

    @property
    def status(self) -> str:
        return str(self.part("status").text())

    def until(self, reached: Callable[[], bool], timeout_ms: int = PATIENCE_MS) -> None:
        """Let the window live until something has happened."""
        self.qtbot.waitUntil(reached, timeout=timeout_ms)

    def settle(self) -> None:
        """Wait until the chosen session has nothing to do, and the panel shows that."""
        self.until(lambda: not self.panel.session.busy)
        self.until(lambda: not self.panel._dirty)

    def use(self, model: Any, *, tissue_only: bool = False) -> None:
        """Work with this model on the chosen slide."""
        self.panel.session.set_model(model)
        self.panel.session.set_options(tissue_only=tissue_only)
        self.settle()

    def run_coarse(self) -> None:
        self.press("run_coarse")
        self.until(lambda: self.panel.session.coarse_done)
        self.settle()

    def close_panel(self) -> None:
        """Press the x of the dock."""
        self.viewer.window.remove_dock_widget(self.panel)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where results of arrays go."""
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setattr("pathlib.Path.home", lambda: place)
    return place


@pytest.fixture
def open_window(plugin, home, make_napari_viewer, qtbot):  # noqa: ARG001 - they must be there
    """Open a window as napari does: the panel from the manifest."""

    def open_it(viewer: Any = None, **options: Any) -> Window:
        if viewer is None:
            viewer = make_napari_viewer(strict_qt=True, **options)
        _, panel = viewer.window.add_plugin_dock_widget("napari-twostage")
        return Window(viewer, panel, qtbot)

    return open_it


@pytest.fixture
def window(open_window) -> Window:
    """One with a small slide in half-micrometre pixels, and the fake model."""
    opened = open_window()
    opened.viewer.add_image(noise(150, 130), name="slide", scale=(0.5, 0.5), units=("um", "um"))
    opened.use(FakeModel())
    return opened


def clipped(panel: QWidget) -> list[str]:
    """Visible widgets of a panel that are cut off at a side."""
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
