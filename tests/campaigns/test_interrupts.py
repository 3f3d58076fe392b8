"""A small sample of the campaign of interrupts."""

from __future__ import annotations

import os
import signal

import pytest
from tests.campaigns.interrupts import Interrupt, prepare, try_interrupt

SAMPLE = (
    Interrupt("segment", signal.SIGINT, 0.5, None),
    Interrupt("segment", signal.SIGINT, 1.6, 0.1),
    Interrupt("refine", signal.SIGTERM, 1.2, None),
    Interrupt("info", signal.SIGINT, 0.4, None),
)


@pytest.mark.skipif(os.name == "nt", reason="signals of processes are those of POSIX")
def test_commands_end_in_one_line_whenever_they_are_interrupted(tmp_path):
    prepare(tmp_path)
    outcomes = [try_interrupt(one, tmp_path, str(n)) for n, one in enumerate(SAMPLE)]
    assert [(one.name, one.message) for one in outcomes if one.kind != "right"] == []
