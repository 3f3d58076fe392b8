"""Animation for the README: the threshold is dragged, then the selected tiles are refined.

Needs a display; without one:

    xvfb-run -a -s "-screen 0 1500x950x24" python docs/make_animation.py docs/images/refine.gif
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import napari
import numpy as np
from make_screenshots import SIZE, press, settle, show, slow_refinement, wait_for
from PIL import Image

from napari_twostage.samples import sample_slide

WIDTH = 860
"""Width of the frames in pixels."""
COLORS = 128
MOST_FRAMES = 14
"""Frames of the refinement."""


def main(path: Path) -> None:
    """Record the window and save the animation."""
    with tempfile.TemporaryDirectory() as work:
        viewer = napari.Viewer(show=True)
        viewer.window.resize(*SIZE)
        viewer.window._qt_viewer.dockLayerList.hide()  # noqa: SLF001 - they have no public name
        viewer.window._qt_viewer.dockLayerControls.hide()  # noqa: SLF001
        frames, durations = record(viewer, shutil.copy(sample_slide(), work))
        viewer.close()
    save(path, frames, durations)


def record(viewer: napari.Viewer, slide: str) -> tuple[list[Image.Image], list[int]]:
    """Frames of the workflow, and how long each is shown in milliseconds."""
    frames: list[Image.Image] = []
    durations: list[int] = []

    def shoot(shown_ms: int) -> None:
        pixels = viewer.window.screenshot(flash=False, canvas_only=False)
        frame = Image.fromarray(np.asarray(pixels)[..., :3])
        height = round(frame.height * WIDTH / frame.width)
        frames.append(frame.resize((WIDTH, height), Image.Resampling.LANCZOS))
        durations.append(shown_ms)

    viewer.open(slide, plugin="napari-twostage")
    _, panel = viewer.window.add_plugin_dock_widget("napari-twostage", "Two-stage")
    settle()
    viewer.reset_view()
    press(panel, "run_coarse")
    wait_for(lambda: not panel.session.busy and panel.layers.tissue is not None)
    show(panel, "uncertainty", "refine")
    panel.layers.show("uncertainty", visible=False)
    for threshold in np.linspace(0.15, 0.08, 8):
        panel.session.threshold = float(threshold)
        panel.show_session()
        panel.layers.redraw()
        settle(0.8)
        shoot(250)
    durations[0], durations[-1] = 1200, 1200
    with slow_refinement():
        press(panel, "refine_uncertain")
        started = time.monotonic()
        while panel.session.busy and len(durations) < 8 + MOST_FRAMES:
            settle(1.0)
            shoot(350)
        wait_for(lambda: not panel.session.busy or time.monotonic() - started > 300)
    settle(1.0)
    shoot(2500)
    return frames, durations


def save(path: Path, frames: list[Image.Image], durations: list[int]) -> None:
    """Save frames with one palette, so that what does not change is not stored again."""
    sheet = Image.new("RGB", (frames[0].width, 2 * frames[0].height))
    sheet.paste(frames[0], (0, 0))
    sheet.paste(frames[-1], (0, frames[0].height))
    palette = sheet.quantize(COLORS, Image.Quantize.MEDIANCUT)
    reduced = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    reduced[0].save(
        path, save_all=True, append_images=reduced[1:], duration=durations, loop=0, optimize=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
