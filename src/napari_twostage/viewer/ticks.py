"""Round numbers on the axes of a plot."""

from __future__ import annotations

import math


def round_step(extent: float) -> float:
    """Give the round step, 1, 2 or 5 times a power of ten, that fits 2 to 4 times into `extent`."""
    if extent <= 0:
        return 0.1
    power = 10.0 ** math.floor(math.log10(extent / 5))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if extent < 5 * factor * power)


def ticks(span: tuple[float, float], step: float) -> list[float]:
    """Multiples of `step` in a closed range."""
    low, high = span
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def number(value: float, step: float) -> str:
    """Write a value with the decimals that tell neighbours `step` apart."""
    if abs(value) < step / 1e6:
        return "0"
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def time_ticks(longest: float) -> list[tuple[float, str]]:
    """Times on an axis from 0 to `longest` seconds, in the largest unit that needs no fractions."""
    units = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))
    unit, name = next((u, n) for u, n in units if longest >= 4 * u or u == 1)
    count = longest / unit
    # beyond an hour of minutes, or a minute of seconds, halves and wholes of it are round
    step = round_step(count) if count < 60 or unit == 3600 else 30.0 if count < 120 else 60.0
    return [
        (value * unit, f"{number(value, step)} {name}" if value else "0")
        for value in ticks((0.0, count), step)
    ]
