"""Time that the panel takes on the GUI thread; prints Markdown.

    xvfb-run -a -s "-screen 0 1280x1024x24" python tests/benchmarks/panel.py [--show] [SLIDE]

Without SLIDE, every tile of the sample slide is refined. Nothing is painted without --show: the
time of a software OpenGL is not ours. A gap is the time between two iterations of the event loop,
in which a timer fires every 5 ms.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtWidgets import QApplication

from napari_twostage.method.ranking import Ranking
from napari_twostage.method.tiling import TileGrid
from napari_twostage.method.uncertainty import TileStatistics
from napari_twostage.samples import sample_slide
from napari_twostage.viewer.menu_commands import open_panel
from napari_twostage.viewer.tile_overlay import TileOverlay

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_twostage.viewer import TwoStageWidget

TURN_MS = 5
TILES = (400, 500)
MOVES = 200


def main(given: str | None, *, show: bool) -> None:
    """Measure opening, gaps while idle, coarse and refining, and the slider."""
    with tempfile.TemporaryDirectory() as folder:
        slide = shutil.copy(given or sample_slide(), folder)
        viewer = napari.Viewer(show=show)
        started = time.perf_counter()
        viewer.open(slide, plugin="napari-twostage")
        opened = time.perf_counter() - started
        panel = open_panel(viewer)
        wait(panel)
        gaps = {"idle": gaps_for(1.0)}
        panel.session.run_coarse()
        gaps["coarse"] = gaps_while(panel)
        panel.session.threshold = 0.0
        panel.session.refine_uncertain()
        gaps["refining"] = gaps_while(panel)
        moves = slider(panel)
        report(opened, gaps, moves)
        panel.shut_down()
        viewer.close()


def gaps_for(seconds: float) -> np.ndarray:
    """Gaps during a number of seconds, in milliseconds."""
    deadline = time.perf_counter() + seconds
    return _gaps(lambda: time.perf_counter() < deadline)


def gaps_while(panel: TwoStageWidget) -> np.ndarray:
    """Gaps until the session is idle, in milliseconds."""
    return _gaps(lambda: panel.session.busy)


def _gaps(more: Callable[[], bool]) -> np.ndarray:
    times: list[float] = []
    loop = QEventLoop()

    def turn() -> None:
        times.append(time.perf_counter())
        if not more():
            loop.quit()

    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(turn)
    timer.start(TURN_MS)
    loop.exec()
    timer.stop()
    return np.diff(times) * 1000


def slider(panel: TwoStageWidget) -> np.ndarray:
    """Milliseconds of each move of the threshold with 200,000 tiles, with all its effects."""
    rng = np.random.default_rng(0)
    scores = rng.beta(2, 8, TILES).astype(np.float32)
    counts = [rng.uniform(0, 100, TILES).astype(np.float32) for _ in range(3)]
    refined = np.zeros(TILES, bool)
    curve = Ranking(TileStatistics(scores, *counts), 0.5).curve(refined, 0.02)
    session, layers = panel.session, panel.layers
    side = session.card.tile_px
    overlay = TileOverlay(TileGrid((TILES[0] * side, TILES[1] * side), side, 0))
    overlay.set_tiles(np.ones(TILES, np.uint8), scores)
    layers.tile_overlay, layers.tiles.data = overlay, overlay.levels
    session.curve = curve
    panel.show_session()
    spent = []
    for value in np.linspace(0.01, 0.6, MOVES):
        started = time.perf_counter()
        panel.uncertainty_section.slider.setValue(float(value))
        spent.append(time.perf_counter() - started)
    return np.array(spent) * 1000


def wait(panel: TwoStageWidget) -> None:
    """Process events until the session is idle."""
    while panel.session.busy:
        QApplication.processEvents()


def report(opened: float, gaps: dict[str, np.ndarray], moves: np.ndarray) -> None:
    """Print a table."""
    rows = [f"| opening the slide | {opened * 1000:.0f} | | |"]
    rows += [f"| gap, {name} | {_figures(values)} |" for name, values in gaps.items()]
    rows.append(f"| a move of the slider, {np.prod(TILES):,} tiles | {_figures(moves)} |")
    heading = [
        "| milliseconds on the GUI thread | median | 99 % | longest |",
        "|---|---|---|---|",
    ]
    sys.stdout.write("\n".join([*heading, *rows]) + "\n")


def _figures(values: np.ndarray) -> str:
    figures = np.median(values), np.percentile(values, 99), values.max()
    return " | ".join(f"{figure:.1f}" for figure in figures)


if __name__ == "__main__":
    slides = [argument for argument in sys.argv[1:] if argument != "--show"]
    main(slides[0] if slides else None, show="--show" in sys.argv)
