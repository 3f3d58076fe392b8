"""Values from files of others: checked against annotations, and shown in messages."""

from __future__ import annotations

import reprlib
import sys
from types import NoneType, UnionType
from typing import Literal, Union, cast, get_args, get_origin

UNIONS = (UnionType, Union)
"""Origins of annotations like ``int | None``: the latter where a Literal is part of it."""
LONGEST = 80
"""Characters of a value in a message."""
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60


def fits(value: object, hint: object) -> bool:
    """Whether a value is of an annotated type; floats are finite, and may be written as ints.

    Parameters
    ----------
    value : object
        Lists must have become tuples.
    hint : type
        A type, Literal, union, fixed or open tuple, or dict, whose contents are not looked at.

    Examples
    --------
    >>> fits((1, 0.5), tuple[float, float]), fits(True, int), fits(float("nan"), float)
    (True, False, False)
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in UNIONS:
        return any(fits(value, kind) for kind in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if inner[-1] is Ellipsis:
            return all(fits(item, inner[0]) for item in value)
        return len(value) == len(inner) and all(map(fits, value, inner))
    if hint is float:
        return type(value) in (int, float) and abs(cast("float", value)) <= sys.float_info.max
    return type(value) is (origin or hint)


def words(hint: object) -> str:
    """Name of an annotated type, for messages."""
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(get_args(hint))
    if get_origin(hint) in UNIONS:
        return " or ".join(words(kind) for kind in get_args(hint) if kind is not NoneType)
    kind = hint if get_origin(hint) in (None, tuple) else get_origin(hint)
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def shown(value: object) -> str:
    r"""A value in one short line, whatever it is.

    Examples
    --------
    >>> shown("a\n"), len(shown(["long"] * 1000)) <= LONGEST
    ("'a\\n'", True)
    """
    try:
        text = _REPR.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
