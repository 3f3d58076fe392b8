"""What the foot of a panel says: the state of a session in one message that names the next step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from napari_twostage.session.run_states import RunState

if TYPE_CHECKING:
    from napari_twostage.session.events import Kind
    from napari_twostage.session.state import SessionState


class FootState(Enum):
    """State of the foot."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Foot:
    """The state and its message."""

    state: FootState
    text: str
    kind: Kind


def foot_of(session: SessionState) -> Foot:
    """Read the foot from a session, so that it cannot be out of date.

    ::

        IDLE     nothing was said: the next step
        RUNNING  a run, or a task that says that it is at work
        PAUSED   a run that waits
        FAILED   an error, until the next command
        DONE     what was done last, and the next step
    """
    notice, progress = session.notice, session.progress
    if session.state is RunState.PAUSED:
        at = "" if progress is None else f" at {progress.describe_count()}"
        return Foot(FootState.PAUSED, f"Paused{at}. Continue goes on.", "warning")
    if session.state is RunState.CANCELLING:
        return Foot(FootState.RUNNING, "Stopping after the tiles at work.", "busy")
    if notice.kind == "error":
        return Foot(FootState.FAILED, _sentence(notice.text), "error")
    if session.running or notice.kind == "busy":
        return Foot(FootState.RUNNING, _sentence(notice.text or "at work"), "busy")
    if notice.text:
        text = f"{_sentence(notice.text)} {next_step(session)}".strip()
        return Foot(FootState.DONE, text, notice.kind)
    return Foot(FootState.IDLE, next_step(session), "next")


def next_step(session: SessionState) -> str:
    """What to do next, in a sentence; empty if the notice says it already."""
    if session.slide is None:
        return "Open a slide: drop a file on the window."
    if session.card is None:
        return "Choose a model."
    if session.seg is None:
        return "Press Quick pass to segment the whole slide."
    if session.missing and session.standing is not None and not session.standing.writer:
        return f"{session.missing[:1].upper()}{session.missing[1:]}; press Continue to go on."
    if not session.coarse_done:
        return "Press Continue to go on."
    forecast = session.forecast
    if forecast is not None and forecast.n_tiles:
        tiles = "tile is" if forecast.n_tiles == 1 else "tiles are"
        return f"{forecast.n_tiles:,} doubtful {tiles} left: refine, or look at them one by one."
    return "No tile is above the threshold: correct, measure or export the labels."


def _sentence(text: str) -> str:
    """A notice as a sentence: a full stop, and a capital letter unless it begins with a path."""
    text = text.strip()
    if not text:
        return ""
    end = "" if text[-1] in ".!?…" else "."
    first = text.split(maxsplit=1)[0].rstrip(".:")
    is_path = any(mark in first for mark in "./\\_")
    return (text if is_path else text[:1].upper() + text[1:]) + end
