"""Long sessions: hours of refining, editing and undoing leave memory, handles and disk as they are.

``python -m tests.campaigns long_session --count 500`` plays as many rounds in a session, and in a
window if there is a screen. After each round memory, open files, threads and the bytes of a result
are sampled; over the last two thirds none of them may grow by more than its noise.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import random
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from tests.campaigns.runner import Outcome, WrongResultError, run_case
from tests.fakes import FakeModel, noise, noise_slide

import napari_twostage as ts
from napari_twostage.session import EditState, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

COUNT = 400
ROUND_S = 30
"""Longest time of a round, on a busy machine."""
TURN_MS = 60
ALLOWED = {"memory": 8 << 20, "handles": 2, "threads": 2, "disk": 4096}
"""Growth over the last two thirds that counts as none, whatever the noise: allocators keep some."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process and a result hold after a round."""

    memory: int
    """Resident bytes, after a collection and with free memory given back to the system."""
    handles: int
    threads: int
    disk: int
    """Bytes of the result that is kept, without its journal, to which every edit adds a line."""
    journal: int
    """Bytes of the journal."""


def campaign(count: int, seed: int, folder: Path) -> Iterable[Outcome]:
    """Play rounds in a session, then in a window, and judge what they left."""
    players: dict[str, Callable[..., None]] = {"session": play_session}
    if os.environ.get("DISPLAY"):
        players["window"] = play_window
    for name, play in players.items():
        file = folder / f"{name}.json"
        limit = {"seconds": 120 + ROUND_S * count, "extra_bytes": 3 << 30}
        outcome = run_case(play, count, seed, file, name=f"{name}/{count} rounds", **limit)
        yield outcome
        if outcome.is_good:
            samples = [Sample(**sample) for sample in json.loads(file.read_text())]
            yield from judged(name, samples)


def judged(name: str, samples: list[Sample]) -> Iterator[Outcome]:
    """One outcome for each thing that must not grow."""
    for thing, allowed in ALLOWED.items():
        values = np.array([getattr(sample, thing) for sample in samples], float)
        growth, noise_of = growth_of(values)
        message = f"{values[0]:,.0f} at first, {values[-1]:,.0f} in the end, {growth:+,.0f}"
        kind = "right" if growth <= max(allowed, 2 * noise_of) else "wrong"
        yield Outcome(f"{name}/{thing}", kind, message)  # type: ignore[arg-type]


def growth_of(values: np.ndarray) -> tuple[float, float]:
    """Growth over the last two thirds by their slope, and the noise around it."""
    late = values[len(values) // 3 :]
    if len(late) < 3:
        return 0.0, 0.0
    steps = np.arange(len(late))
    line = np.polyfit(steps, late, 1)
    return float(line[0] * len(late)), float((late - np.polyval(line, steps)).std())


# -- a session -------------------------------------------------------------------------------------


def play_session(count: int, seed: int, file: Path) -> None:
    """Play rounds in sessions: one result is kept, another is made and removed in each round."""
    rng = random.Random(seed)
    kept, passing = file.parent / "kept", file.parent / "passing"
    model = FakeModel()
    session = _opened(kept, model)
    _run(session, session.run_coarse)
    samples = []
    for number in range(count):
        if number % 5 == 4:  # another window
            session.close()
            session = _opened(kept, model)
        _edit_and_undo(session, rng)
        _work_on_another(passing, model, rng)
        _run(session, session.measure)
        samples.append(_sample(kept))
    session.close()
    file.write_text(json.dumps([asdict(sample) for sample in samples]))


def _opened(out: Path, model: FakeModel) -> Session:
    session = Session()
    session.set_slide(noise_slide())
    session.set_model(model)
    session.set_options(tissue_only=False)
    session.set_out(out)
    return session.wait(ROUND_S)


def _run(session: Session, start: Callable[[], None]) -> None:
    start()
    session.wait(ROUND_S)


def _edit_and_undo(session: Session, rng: random.Random) -> None:
    """Paint and undo; the labels must be what they were."""
    assert session.seg is not None
    whole = session.seg.grid.box
    before = session.seg.read_labels(whole)
    made = 0
    for _ in range(rng.randint(1, 3)):
        place = ts.Box.at(rng.randrange(50), rng.randrange(60), 20, 30)
        _run(session, lambda place=place: session.edit(place))  # type: ignore[misc]
        assert session.editing is not None
        labels = session.editing.labels.copy()
        labels[: rng.randint(1, 20)] ^= 1
        _run(session, lambda labels=labels: session.commit_edit(labels))  # type: ignore[misc]
        made += 1
    for _ in range(made):
        _run(session, session.undo_edit)
    if (session.seg.read_labels(whole) != before).any() or session.seg.edit_boxes:
        raise WrongResultError("edits that were undone show")


def _work_on_another(out: Path, model: FakeModel, rng: random.Random) -> None:
    """Make a result, refine it in parts, export it, check it, close it, and remove it."""
    session = _opened(out, model)
    _run(session, session.run_coarse)
    _run(session, lambda: session.refine_next(rng.randint(1, 10)))
    session.refine_next(20)
    session.cancel()
    session.wait(ROUND_S)
    _run(session, session.resume)
    _run(session, lambda: session.export(out.with_suffix(".geojson")))
    _run(session, session.repair)
    session.close()
    shutil.rmtree(out)


def _sample(kept: Path) -> Sample:
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc keeps what is freed, an arena for each thread
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    process = psutil.Process()
    handles = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
    files = [path for path in kept.rglob("*") if path.is_file()]
    journal = sum(path.stat().st_size for path in files if path.name == "journal.jsonl")
    return Sample(
        process.memory_info().rss,
        handles,
        threading.active_count(),
        sum(path.stat().st_size for path in files) - journal,
        journal,
    )


# -- a window --------------------------------------------------------------------------------------


def play_window(count: int, seed: int, file: Path) -> None:
    """Play rounds in a window: slides come and go, results are made, painted and undone."""
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_twostage.viewer import TwoStageWidget

    rng = random.Random(seed)
    kept, passing = file.parent / "kept-in-window", file.parent / "passing-in-window"
    viewer = napari.Viewer(show=True)
    panel = TwoStageWidget(viewer)
    viewer.window.add_dock_widget(panel)
    table = _Table(viewer, panel, QApplication.instance())
    samples = []
    for number in range(count):
        table.put_slide(kept)
        table.coarse()
        table.edit_and_undo(rng)
        table.put_slide(passing)
        table.coarse()
        panel.session.refine_next(rng.randint(1, 10))
        table.settle()
        if number % 2:
            table.measure()
        table.take_slide()
        shutil.rmtree(passing)
        samples.append(_sample(kept))
    viewer.close()
    table.turn()
    file.write_text(json.dumps([asdict(sample) for sample in samples]))


class _Table:
    """Hands of a user: what is done in the window, and the wait until it is done."""

    def __init__(self, viewer: Any, panel: Any, app: Any) -> None:
        self._viewer, self._panel, self._app = viewer, panel, app
        self._model = FakeModel()
        self._pixels = noise(150, 130)

    @property
    def _session(self) -> Session:
        return self._panel.session

    def put_slide(self, out: Path) -> None:
        """Replace the slide by a new layer, with results in this folder."""
        self.take_slide()
        self._viewer.add_image(self._pixels, name="slide", scale=(0.5, 0.5), units=("um", "um"))
        self._session.set_model(self._model)
        self._session.set_options(tissue_only=False)
        self._session.set_out(out)
        self.settle()

    def take_slide(self) -> None:
        # not the hidden Shapes layer: with Mesa, drawing after its removal crashes
        if self._panel.slide_layer is not None:
            self._viewer.layers.remove(self._panel.slide_layer)
        self.settle()

    def coarse(self) -> None:
        if not self._session.coarse_done:
            self._session.run_coarse()
        self.settle()

    def measure(self) -> None:
        self._session.measure()
        self.settle()

    def edit_and_undo(self, rng: random.Random) -> None:
        """Paint on the edit layer as its tools do, commit, and undo."""
        self._panel._actions.start_edit()
        self.settle()
        layer = self._panel.layers.edit
        layer.paint((rng.randrange(20, 80), rng.randrange(20, 80)), rng.choice((0, 1)))
        layer.paint((40, 40), 1 - int(np.asarray(layer.data)[40, 40]))
        self._panel._actions.commit_edit()
        self.settle()
        if self._session.edit_state is not EditState.NONE:
            raise WrongResultError(f"the edit stays open: {self._session.notice.text}")
        self._session.undo_edit()
        self.settle()

    def settle(self) -> None:
        """Turn until nothing is under way, and all is drawn."""
        deadline = time.monotonic() + ROUND_S
        self.turn()
        while self._session.busy or self._panel._dirty or self._panel._closing:
            if time.monotonic() > deadline:
                raise WrongResultError(f"it does not end: {self._session.notice.text}")
            self.turn()
        self.turn()

    def turn(self) -> None:
        """Let the window work for a moment, in a loop as its own: only that deletes old widgets."""
        from qtpy.QtCore import QEvent, QEventLoop, QTimer

        loop = QEventLoop()
        QTimer.singleShot(TURN_MS, loop.quit)
        loop.exec()
        self._app.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
