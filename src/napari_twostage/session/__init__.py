"""Live state of one slide for panels, notebooks and scripts; no Qt, no napari."""

from napari_twostage.session.advice import WayOn
from napari_twostage.session.editing import EditState
from napari_twostage.session.events import Notice, Patch, Progress
from napari_twostage.session.foot import FootState, foot_of
from napari_twostage.session.memory import RunMemory
from napari_twostage.session.run_states import RunState
from napari_twostage.session.session import Session
from napari_twostage.session.slide_runs import SlideRun

__all__ = [
    "EditState",
    "FootState",
    "Notice",
    "Patch",
    "Progress",
    "RunMemory",
    "RunState",
    "Session",
    "SlideRun",
    "WayOn",
    "foot_of",
]
