"""TOML tables as dataclasses, checked against the annotations."""

from __future__ import annotations

import tomllib
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from napari_twostage.errors import TwoStageError, reason_of
from napari_twostage.io.limited import read_limited
from napari_twostage.utils.values import fits, shown, words

if TYPE_CHECKING:
    from pathlib import Path

Section = TypeVar("Section")


class ConfigError(TwoStageError):
    """A configuration that cannot be used; the message names the file and the key."""


LONGEST = 1 << 20
"""Bytes of a configuration."""
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def require(holds: bool, rule: str) -> None:
    """Raise if a rule is broken.

    Raises
    ------
    ConfigError
        With the rule as its message.
    """
    if not holds:
        raise ConfigError(rule)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        If the file is missing or not TOML.
    """
    try:
        raw = read_limited(path, LONGEST)
        # PowerShell 5 redirects `train --example > own.toml` as UTF-16
        text = raw.decode("utf-16" if raw[:2] in UTF16_MARKS else "utf-8-sig")
        return tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no readable TOML file: {reason_of(error)}") from error


def read_section(kind: type[Section], table: object, where: str) -> Section:
    """Build a dataclass from a TOML table, nested tables included.

    Parameters
    ----------
    kind : type
        A dataclass; its annotations define the expected keys and types.
    table : object
        Parsed TOML.
    where : str
        File and section, for error messages.

    Raises
    ------
    ConfigError
        If a key is unknown or missing, or a value is of another type or breaks a rule.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where} must be a table, found {shown(table)}")
    hints = get_type_hints(kind)
    if unknown := set(table) - set(hints):
        raise ConfigError(
            f"{where} has unknown keys {shown(sorted(unknown))}; known: {sorted(hints)}"
        )
    values = {
        key: _value(hints[key], value, where, f"[{key}]" if isinstance(value, dict) else key)
        for key, value in table.items()
    }
    try:
        return kind(**values)
    except TypeError:
        needed = sorted(
            entry.name
            for entry in fields(kind)  # type: ignore[arg-type]
            if entry.name not in values and repr(entry.default) == repr(entry.default_factory)
        )
        raise ConfigError(f"{where} lacks {', '.join(needed)}; add it") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _value(hint: object, value: object, where: str, name: str) -> object:
    inner = [kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)]
    if inner and isinstance(value, list):
        return tuple(read_section(inner[0], item, f"{where}: {name}") for item in value)  # type: ignore[arg-type]
    if inner and value is not None:
        return read_section(inner[0], value, f"{where}: {name}")  # type: ignore[arg-type]
    value = tuple(value) if isinstance(value, list) else value
    if not fits(value, hint):
        raise ConfigError(f"{where}: expected {words(hint)} for {name}, found {shown(value)}")
    return value
