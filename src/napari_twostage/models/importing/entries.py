"""Entries of a package's description: what is of another kind than expected is no description.

YAML can name a list a thousand times over in a few lines, so nothing but words becomes text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_twostage.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_TEXT = 1000
"""Characters of a text that are taken."""


def step_name(step: object) -> str:
    """Name of a step of either version."""
    stated = entries(step)
    return text(stated, "id") or text(stated, "name") or ""


def only(value: object, what: str) -> dict[str, Any]:
    """Only item of a list."""
    found = items(value)
    if len(found) != 1:
        raise ModelError(f"it has {len(found)} {what}, expected one image")
    return entries(found[0])


def items(value: object) -> list[Any]:
    """Value that must be a list."""
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return value


def entries(value: object) -> dict[str, Any]:
    """Value that must have names."""
    if not isinstance(value, dict):
        raise TypeError("expected named entries")
    return value


def text(stated: Mapping[str, Any], name: str) -> str | None:
    """Word or number of an entry; None where there is something else."""
    return word(stated.get(name))


def word(value: object) -> str | None:
    """Word or number as a text; None for something else."""
    return str(value)[:LONGEST_TEXT] if isinstance(value, str | int | float) else None
