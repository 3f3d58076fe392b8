"""Timing: in turn, and only what is asked for."""

from __future__ import annotations

import time

import torch

from training.item_timing import machine_line, time_per_item


def test_candidates_take_turns_after_a_warm_up() -> None:
    calls: list[tuple[str, int]] = []
    timings = time_per_item(
        {"a": lambda item: calls.append(("a", item)), "b": lambda item: calls.append(("b", item))},
        [1, 2],
        rounds=2,
    )
    warm_up = [("a", 1), ("b", 1)]
    each = [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert calls == warm_up + each + each
    assert all(len(timing.rounds) == 2 for timing in timings.values())


def test_seconds_are_per_image_and_the_warm_up_is_free() -> None:
    pauses = iter([0.2, 0.01, 0.01, 0.01, 0.01])
    timing = time_per_item({"nap": lambda _: time.sleep(next(pauses))}, [0, 0], rounds=2)["nap"]
    assert all(0.01 <= seconds.wall < 0.1 for seconds in timing.rounds)


def test_the_caption_tells_the_machine() -> None:
    facts = machine_line()
    assert f"{torch.get_num_threads()} threads" in facts
    assert torch.__version__ in facts
    assert "\n" not in facts
