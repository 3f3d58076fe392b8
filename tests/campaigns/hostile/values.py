"""Values that files state and programs do not expect."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

NUMBERS = (
    0, 1, -1, 2, 3, 7, 8, 127, 255, 256, 1024, 2**16, 2**20, 2**31, -(2**31), 2**63, 10**30, 0.1,
    -0.5, 1e-308, 1e308, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
TEXTS = (
    "", "a", "../../outside/evil", "/etc/passwd", "a\0b", "\x1b[31mred", "two\nlines", "\u202eabc",
    "CON", ".hidden", "x" * 100_000, "=cmd|' /C calc'!A0", "\ud800", "C:\\x", "NaN", "ends. ",
    "<b>&amp;", "ü" * 70, "1", "#ffb000",
)  # fmt: skip
OTHERS: tuple[Any, ...] = (
    None, True, False, [], [1], [0] * 1000, [float("nan")] * 3, ["a", "b", "c"], {}, {"a": 1},
    {"name": "lite_unet"}, [[[[[[[[[[[[1]]]]]]]]]]]], {"a" * 1000: 1},
)  # fmt: skip


def hostile_value(rng: random.Random, old: Any) -> Any:
    """Value in place of another: near it, or of any kind."""
    if isinstance(old, int | float) and rng.random() < 0.5:
        return rng.choice((old * 2, old // 2, old + 1, -old, old * 16, old + 0.5, old * 2**10))
    return copy.deepcopy(rng.choice(rng.choice((NUMBERS, TEXTS, OTHERS))))
