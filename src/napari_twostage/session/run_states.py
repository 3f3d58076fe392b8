"""States of a session's run, and the transitions between them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from napari_twostage.errors import SelectionError

if TYPE_CHECKING:
    from collections.abc import Callable


class RunState(Enum):
    """State of a session's run."""

    IDLE = "idle"
    COARSE = "coarse"
    REFINING = "refining"
    PAUSED = "paused"
    CANCELLING = "cancelling"


_STAGES = frozenset({RunState.COARSE, RunState.REFINING})
_BEFORE: dict[RunState, frozenset[RunState]] = {
    RunState.COARSE: frozenset({RunState.IDLE, RunState.PAUSED}),
    RunState.REFINING: frozenset({RunState.IDLE, RunState.PAUSED}),
    RunState.PAUSED: _STAGES,
    RunState.CANCELLING: _STAGES | {RunState.PAUSED},
    RunState.IDLE: _STAGES | {RunState.PAUSED, RunState.CANCELLING},
}
"""States from which each state may be entered."""


class RunMachine:
    """State machine of the one run that a session may have.

    ::

                start   +-------------------+   pause    +--------+
         IDLE --------> | COARSE | REFINING | ---------> | PAUSED |
          ^             |                   | <--------- |        |
          |             +-------------------+   resume   +--------+
          |               |               |               |      |
          |    end        |               | cancel        |      |
          +<--------------+               v               |      |
          |    end                  +------------+ cancel |      |
          +<------------------------| CANCELLING |<-------+      |
          |                         +------------+               |
          |    end                                               |
          +<-----------------------------------------------------+

    A paused run resumes the stage that it was paused in. A run may end in any state: its last
    batch may finish, or fail, just before a pause or a cancellation takes effect.

    Parameters
    ----------
    changed : callable
        Called with the new state after each transition.
    """

    def __init__(self, changed: Callable[[RunState], None]) -> None:
        self._changed = changed
        self._state = RunState.IDLE
        self._stage = RunState.IDLE

    @property
    def state(self) -> RunState:
        """State of the run."""
        return self._state

    @property
    def stage(self) -> RunState:
        """Stage that runs, is paused or is being cancelled: ``COARSE`` or ``REFINING``."""
        return self._stage

    @property
    def running(self) -> bool:
        """Whether there is a run, paused or not."""
        return self._state is not RunState.IDLE

    def can_enter(self, state: RunState) -> bool:
        """Whether there is a transition from the present state to this one."""
        if self._state is RunState.PAUSED and state in _STAGES:
            return state is self._stage
        return self._state in _BEFORE[state]

    def require(self, state: RunState) -> None:
        """Refuse a transition that does not exist.

        Raises
        ------
        SelectionError
            If there is no transition from the present state to this one.
        """
        if self.can_enter(state):
            return
        if state in _STAGES:
            self.require_idle()
        raise SelectionError(f"a run that is {self._state.value} cannot become {state.value}")

    def require_idle(self) -> None:
        """Refuse if there is a run.

        Raises
        ------
        SelectionError
            If there is one.
        """
        if self.running:
            raise SelectionError("something runs already; wait for it, or cancel it first")

    def enter(self, state: RunState) -> None:
        """Make a transition; refuses as `require` does."""
        self.require(state)
        self._state = state
        if state in _STAGES:
            self._stage = state
        self._changed(state)
