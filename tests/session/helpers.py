"""Sessions, a recorder of their signals, and a model that stops at a test's command."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from tests.fakes import FakeModel, noise_slide

from napari_twostage.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from psygnal import EmissionInfo

    from napari_twostage.slides.base import Slide

PATIENCE_S = 30.0


class HeldModel(FakeModel):
    """Computes one window at a time; while it is held, waits before the next."""

    coarse_batch = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, refine_batch=1, **kwargs)
        self.begun = threading.Semaphore(0)
        """Released when a window is begun."""
        self._free = threading.Event()
        self._free.set()
        self._steps = threading.Semaphore(0)
        self._stages = ("coarse", "refine")

    def hold(self, *stages: str) -> None:
        """Stop before the next window of these stages, or any."""
        self._stages = stages or ("coarse", "refine")
        while self._steps.acquire(blocking=False):
            pass  # what an earlier release left
        while self.begun.acquire(blocking=False):
            pass
        self._free.clear()

    def step(self) -> None:
        """Let one window pass, and go on holding."""
        self._steps.release()

    def release(self) -> None:
        self._free.set()
        self._steps.release()

    def coarse(self, windows: list[np.ndarray]) -> np.ndarray:
        self._wait("coarse")
        return super().coarse(windows)

    def refine(self, windows: list[np.ndarray]) -> np.ndarray:
        self._wait("refine")
        return super().refine(windows)

    def _wait(self, stage: str) -> None:
        self.begun.release()
        if stage in self._stages and not self._free.is_set():
            assert self._steps.acquire(timeout=PATIENCE_S), "the test forgot to go on"

    def wait_begun(self) -> None:
        """Return when one more window was begun."""
        assert self.begun.acquire(timeout=PATIENCE_S), "nothing was begun"


class Recorder:
    """Records the signals of a session, and the threads they came on."""

    def __init__(self, session: Session) -> None:
        self.received: list[tuple[str, Any]] = []
        self.threads: set[int] = set()
        session.events.all.connect(self._receive)

    def _receive(self, emission: EmissionInfo) -> None:
        self.threads.add(threading.get_ident())
        value = emission.args[0] if emission.args else None
        self.received.append((emission.signal.name, value))

    def all(self, name: str) -> list[Any]:
        """Values that one signal brought, in order."""
        return [value for signal, value in self.received if signal == name]

    @property
    def lines(self) -> list[str]:
        """All lines for the user."""
        return [notice.text for notice in self.all("noticed")]

    @property
    def errors(self) -> list[str]:
        return [notice.text for notice in self.all("noticed") if notice.kind == "error"]


def open_session(
    out: Path, slide: Slide | None = None, model: FakeModel | str | None = None, **options: Any
) -> Session:
    """Open one on the noise slide, ready for the coarse pass, without a search for tissue."""
    session = Session()
    session.set_slide(slide or noise_slide())
    session.set_model(model or FakeModel())
    session.set_options(**{"tissue_only": False, **options})
    session.set_out(out)
    return session.wait(PATIENCE_S)


def coarse_session(out: Path, *args: Any, **options: Any) -> Session:
    """Open one with a finished coarse pass."""
    session = open_session(out, *args, **options)
    session.run_coarse()
    return session.wait(PATIENCE_S)


def poll_until(session: Session, reached: Callable[[], bool]) -> None:
    """Poll until something has happened."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline, f"it never happened; last: {session.notice.text}"
        session.poll()
        threading.Event().wait(0.002)


def whole_labels(seg: Any) -> np.ndarray:
    return seg.read_labels(seg.grid.box)
