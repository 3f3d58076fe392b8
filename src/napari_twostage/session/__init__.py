"""Live state of one slide for panels, notebooks and scripts; no Qt, no napari."""

from napari_twostage.session.advice import WayOn
from napari_twostage.session.editing import EditState
from napari_twostage.session.events import Notice, Patch, Progress
from napari_twostage.session.run_states import RunState
from napari_twostage.session.session import Session

__all__ = ["EditState", "Notice", "Patch", "Progress", "RunState", "Session", "WayOn"]
