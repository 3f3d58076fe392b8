"""Screenshots of the panel for the README, taken while it segments the sample slide.

Needs a display; without one:

    xvfb-run -a -s "-screen 0 1500x950x24" python docs/make_screenshots.py docs/images
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import napari
from PIL import Image
from qtpy.QtWidgets import QAbstractButton, QApplication

from napari_twostage.models.model import Model
from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.viewer import TwoStageWidget

SIZE = 1480, 930


def main(folder: Path) -> None:
    """Run the workflow and save a picture of each step."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        slide = shutil.copy(sample_slide(), work)
        viewer = napari.Viewer(show=True)
        viewer.window.resize(*SIZE)
        walk(viewer, slide, folder)
        viewer.close()


@contextmanager
def slow_refinement() -> Iterator[None]:
    """Delay stage 2, which would finish on the sample slide before a picture is taken."""
    refine = Model.refine

    def delayed(model: Model, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        time.sleep(1.0)
        return refine(model, windows)

    with patch.object(Model, "refine", delayed):
        yield


def walk(viewer: napari.Viewer, slide: str, folder: Path) -> None:
    """Open the slide, run stage 1, choose a threshold, refine, correct and measure."""

    def shoot(name: str) -> None:
        settle()
        path = str(folder / f"{name}.png")
        viewer.window.screenshot(path, flash=False, canvas_only=False)
        # a quarter of the size; the default, median cut, loses the colours of small spots
        pixels = Image.open(path).convert("RGB")
        pixels.quantize(256, Image.Quantize.FASTOCTREE).save(path, optimize=True)

    viewer.open(slide, plugin="napari-twostage")
    _, panel = viewer.window.add_plugin_dock_widget("napari-twostage", "Two-stage")
    settle()
    viewer.reset_view()
    wait_for(lambda: not panel.session.busy)
    show(panel, "slide", "model", "coarse")
    shoot("panel-1-open")

    press(panel, "run_coarse")
    wait_for(lambda: not panel.session.busy and panel.layers.tissue is not None)
    show(panel, "coarse", "uncertainty")
    shoot("panel-2-coarse")

    panel.session.threshold = 0.08
    panel.show_session()
    show(panel, "uncertainty", "refine")
    panel.layers.redraw()  # after slow painting the panel pauses longer than a picture waits
    settle(1.0)
    shoot("panel-3-threshold")

    with slow_refinement():
        press(panel, "refine_uncertain")
        wait_for(lambda: panel.session.seg.refined.sum() > 15)
        shoot("panel-4-refining")
        wait_for(lambda: not panel.session.busy)

    panel.session.threshold = 0.05  # the places that are left
    settle()
    press(panel, "next_place")
    settle(1.0)
    press(panel, "edit_here")
    wait_for(lambda: panel.session.editing is not None)
    show(panel, "correct")
    edit = panel.layers.edit
    height, width = edit.data.shape
    edit.brush_size = max(6, height // 18)
    for step in range(12):
        edit.paint((height * 0.7 + step, width * 0.25 + step * width / 60), 1)
    shoot("panel-5-correct")
    press(panel, "commit_edit")
    wait_for(lambda: not panel.session.busy)

    press(panel, "measure")
    wait_for(lambda: not panel.session.busy)
    show(panel, "results", "display")
    shoot("panel-6-results")


def press(panel: TwoStageWidget, name: str) -> None:
    """Click a button; exit if it is not enabled."""
    button = panel.findChild(QAbstractButton, name)
    if not button.isEnabled():
        sys.exit(f"{name} is not enabled: {panel.session.notice.text}")
    button.click()


def show(panel: TwoStageWidget, *names: str) -> None:
    """Open these sections and close the others."""
    panel.accordion.show_only(getattr(panel, f"{name}_section") for name in names)


def wait_for(done: Callable[[], bool], seconds: float = 120) -> None:
    """Process events until a condition holds."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            sys.exit("that took too long")
        QApplication.processEvents()
        time.sleep(0.01)
    settle()


def settle(seconds: float = 0.5) -> None:
    """Process events for some time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        QApplication.processEvents()
        time.sleep(0.01)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
