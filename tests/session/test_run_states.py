"""Transitions of a run's state: those of the diagram, and no others."""

from __future__ import annotations

from itertools import product

import pytest

from napari_twostage.errors import SelectionError
from napari_twostage.session import RunState
from napari_twostage.session.run_states import RunMachine

IDLE, COARSE, REFINING, PAUSED, CANCELLING = RunState
TRANSITIONS = {
    (IDLE, COARSE), (IDLE, REFINING), (COARSE, PAUSED), (REFINING, PAUSED),
    (COARSE, CANCELLING), (REFINING, CANCELLING), (PAUSED, CANCELLING),
    (COARSE, IDLE), (REFINING, IDLE), (PAUSED, IDLE), (CANCELLING, IDLE),
}  # fmt: skip
PATHS = {
    IDLE: [], COARSE: [COARSE], REFINING: [REFINING], PAUSED: [REFINING, PAUSED],
    CANCELLING: [COARSE, CANCELLING],
}  # fmt: skip


def machine_in(state: RunState) -> tuple[RunMachine, list[RunState]]:
    changes: list[RunState] = []
    machine = RunMachine(changes.append)
    for step in PATHS[state]:
        machine.enter(step)
    changes.clear()
    return machine, changes


@pytest.mark.parametrize(("before", "after"), list(product(RunState, RunState)))
def test_a_transition_is_made_and_told_or_refused(before: RunState, after: RunState) -> None:
    machine, changes = machine_in(before)
    allowed = (before, after) in TRANSITIONS or (before, after) == (PAUSED, REFINING)
    assert machine.can_enter(after) == allowed
    if allowed:
        machine.enter(after)
        assert changes == [after]
    else:
        busy = after in (COARSE, REFINING)
        reason = "something runs already" if busy else f"a run that is {before.value} cannot"
        with pytest.raises(SelectionError, match=reason):
            machine.enter(after)
        assert changes == []
    assert machine.state is (after if allowed else before)
    assert machine.running == (machine.state is not IDLE)


@pytest.mark.parametrize("stage", [COARSE, REFINING])
def test_a_pause_ends_in_the_stage_it_began_in(stage: RunState) -> None:
    machine, _ = machine_in(IDLE)
    machine.enter(stage)
    machine.enter(PAUSED)
    assert machine.stage is stage
    assert {state for state in RunState if machine.can_enter(state)} == {stage, CANCELLING, IDLE}
