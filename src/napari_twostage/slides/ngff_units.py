"""Units of length of OME-Zarr, in micrometres."""

from __future__ import annotations

_PREFIXES = {
    "yocto": 1e-18, "zepto": 1e-15, "atto": 1e-12, "femto": 1e-9, "pico": 1e-6, "nano": 1e-3,
    "micro": 1.0, "milli": 1e3, "centi": 1e4, "deci": 1e5, "": 1e6, "deca": 1e7, "hecto": 1e8,
    "kilo": 1e9, "mega": 1e12, "giga": 1e15, "tera": 1e18, "peta": 1e21, "exa": 1e24,
    "zetta": 1e27, "yotta": 1e30,
}  # fmt: skip
"""Micrometres per metre with a prefix."""
_OTHERS = {
    "angstrom": 1e-4,
    "å": 1e-4,
    "thou": 25.4,
    "mil": 25.4,
    "inch": 25.4e3,
    "in": 25.4e3,
    "foot": 304.8e3,
    "yard": 914.4e3,
    "mile": 1609.344e6,
    "parsec": 3.0856775814913673e22,
    "pm": 1e-6,
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,  # micro sign
    "\u03bcm": 1.0,  # Greek mu
    "micron": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "dm": 1e5,
    "m": 1e6,
}
_MICROMETRES = {
    **{f"{prefix}met{end}": size for prefix, size in _PREFIXES.items() for end in ("er", "re")},
    **_OTHERS,
}
"""Micrometres per unit: the UDUNITS names that the format requires, and others in use."""
_NO_UNITS = {"", "pixel", "pixels", "px", "none", "unknown", "dimensionless", "arbitrary"}


def micrometres(unit: str | None) -> float | None:
    """Micrometres per unit; None for a missing or unknown one.

    Examples
    --------
    >>> micrometres("nanometer"), micrometres("Micrometers"), micrometres("pixel")
    (0.001, 1.0, None)
    """
    name = (unit or "").strip().lower()
    known = _MICROMETRES.get(name)
    return _MICROMETRES.get(name.removesuffix("s")) if known is None else known


def is_unknown(unit: str | None) -> bool:
    """Whether a unit is stated that is none of those above.

    Examples
    --------
    >>> is_unknown("furlong"), is_unknown("pixel"), is_unknown(None)
    (True, False, False)
    """
    return micrometres(unit) is None and (unit or "").strip().lower() not in _NO_UNITS
