"""Live state of one slide for panels, notebooks and scripts; no Qt, no napari."""

from napari_twostage.session.events import Notice, Patch, Progress, RunState
from napari_twostage.session.session import Session

__all__ = ["Notice", "Patch", "Progress", "RunState", "Session"]
