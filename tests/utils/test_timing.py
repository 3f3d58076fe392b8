"""Turns, clocks, and what is told of the machine."""

from __future__ import annotations

import subprocess
import sys
import time

from napari_twostage.utils.system import describe_processor
from napari_twostage.utils.timing import Seconds, time_in_turn, timed

SPIN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def test_candidates_take_turns_and_say_what_counts() -> None:
    calls: list[str] = []

    def candidate(name: str, seconds: float) -> Seconds:
        calls.append(name)
        return Seconds(seconds, 2 * seconds)

    timings = time_in_turn({"a": lambda: candidate("a", 1), "b": lambda: candidate("b", 2)}, 3)
    assert calls == ["a", "b"] * 3
    assert timings["a"].rounds == (Seconds(1, 2),) * 3
    assert timings["b"].median == 2
    assert timings["b"].cpu == 4


def test_a_slow_spell_of_the_machine_does_not_change_a_ratio() -> None:
    spells = iter([1, 1, 1, 5, 5, 5])  # from the fourth turn on it takes five times as long
    slowly = {
        name: lambda part=part: Seconds(next(spells) * part, 0)
        for name, part in (("a", 1), ("b", 2))
    }
    timings = time_in_turn(slowly, 3)
    assert timings["b"].ratios(timings["a"]) == [2, 10, 2]
    assert timings["b"].over(timings["a"]) == 2
    assert timings["b"].median / timings["a"].median == 10


def test_sleeping_takes_time_and_no_processor() -> None:
    seconds = timed(lambda: time.sleep(0.3))
    assert seconds.wall >= 0.3
    assert seconds.cpu < 0.2


def test_what_a_child_computes_is_counted() -> None:
    seconds = timed(lambda: subprocess.run([sys.executable, "-c", SPIN], check=True))
    assert seconds.cpu >= 0.28  # the system counts children in hundredths


def test_the_processor_is_named_in_one_line() -> None:
    described = describe_processor()
    assert "processors" in described
    assert "\n" not in described
