"""Figures that the paper prints in its tables."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any


def read_printed(table: str) -> dict[str, Any]:
    """Read the figures of ``table1`` to ``table4`` from ``printed.toml``."""
    path = Path(__file__).with_name("printed.toml")
    printed: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))[table]
    return printed
