"""Stains by the names of channels: which one shows nuclei, and the colours to show them all in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.slides.channels import Colour

_NUCLEAR = (
    r"dapi|hoechst|33342|33258",
    r"nuc(lei|leus|lear)?(?![a-z])|dna(?![a-z])|draq[57]|sytox|syto\s?\d+|to-?pro|yoyo|"
    r"propidium|7-?aad|h2b|histone",
    r"405|bfp",
)
"""Names of nuclear stains; those of a later line count only where there are none of an earlier."""
_BLUE: Colour = (70, 120, 255)
"""Lighter than full blue, which the eye sees as dark."""
_DYES: tuple[tuple[str, Colour], ...] = (
    (r"dapi|hoechst|33342|33258|nuc(lei|leus|lear)?(?![a-z])|sytox\s?blue|405|bfp", _BLUE),
    (r"e?gfp|fitc|alexa\s?488|af\s?488|cy2|sytox\s?green|opal\s?520|488", (0, 255, 0)),
    (r"cy3(?![.5])|tritc|rhodamine|dsred|tdtomato|opal\s?570|546|555|561|568", (255, 170, 0)),
    (r"texas|mcherry|rfp|cy3\.?5|propidium|opal\s?620|590|594", (255, 50, 50)),
    (r"cy5|draq|opal\s?690|633|640|647|660|680", (255, 0, 255)),
    (r"cy7|750|780|790", (0, 255, 255)),
)
_OTHERS: tuple[Colour, ...] = (
    (0, 255, 0), (255, 50, 50), (255, 0, 255), (255, 255, 0), (0, 255, 255), (255, 150, 0), _BLUE,
    (160, 110, 255),
)  # fmt: skip
"""Colours of channels that nothing is known of, in this order."""
_TRANSMITTED = re.compile(r"bright\s?field|transmi|phase|\bdic\b|\btl\b|\bbf\b", re.IGNORECASE)


def nuclear_channel(names: Sequence[str]) -> int:
    """Index of the channel that shows nuclei, by its name; 0 if no name says so.

    Examples
    --------
    >>> nuclear_channel(["CD3", "DAPI", "PanCK"]), nuclear_channel(["0", "1"])
    (1, 0)
    >>> nuclear_channel(["SYTOX Green", "Hoechst 33342"])
    1
    """
    found = named_nuclear_channel(names)
    return 0 if found is None else found


def named_nuclear_channel(names: Sequence[str]) -> int | None:
    """Index of the channel whose name is that of a nuclear stain; None if there is none."""
    for stains in _NUCLEAR:
        for number, name in enumerate(names):
            if _says(stains, name):
                return number
    return None


def is_transmitted(name: str) -> bool:
    """Whether a channel is one of transmitted light, whose bright ground would hide the others.

    Examples
    --------
    >>> is_transmitted("TL Brightfield"), is_transmitted("DAPI")
    (True, False)
    """
    return _TRANSMITTED.search(name) is not None


def display_colours(names: Sequence[str], stated: Sequence[Colour | None] = ()) -> list[Colour]:
    """Colour in which to show each channel: the file's, else that of its stain, else another.

    Parameters
    ----------
    names : sequence of str
        Name of each channel.
    stated : sequence of Colour or None
        Colour that the file states for each; empty if it states none. Colours without a hue, and
        one colour for all, are what programs write by default.

    Examples
    --------
    >>> display_colours(["DAPI", "FITC"], [(0, 0, 255), (1, 200, 3)])
    [(0, 0, 255), (1, 200, 3)]
    >>> display_colours(["DAPI", "FITC", "CD3"])
    [(70, 120, 255), (0, 255, 0), (255, 50, 50)]
    """
    told: list[Colour | None] = [*stated] if len(stated) == len(names) else [None] * len(names)
    hues = {colour for colour in told if colour is not None and len({*colour}) > 1}
    alike = len(hues) == 1 and len(names) > 1 and None not in told
    if alike or not hues:
        told = [None] * len(names)
    chosen = [
        (colour if colour in hues else None) or _of_stain(name)
        for name, colour in zip(names, told, strict=True)
    ]
    free = [colour for colour in _OTHERS if colour not in chosen] or list(_OTHERS)
    colours, used = [], 0
    for colour in chosen:
        if colour is None:
            colour, used = free[used % len(free)], used + 1  # noqa: PLW2901 - the next free one
        colours.append(colour)
    return colours


def _of_stain(name: str) -> Colour | None:
    if is_transmitted(name):
        return (255, 255, 255)
    return next((colour for dyes, colour in _DYES if _says(dyes, name)), None)


def _says(stains: str, name: str) -> bool:
    """Whether a name has one of the words, not as part of another word or number."""
    return re.search(rf"(?<![a-z0-9])({stains})(?!\d)", name, re.IGNORECASE) is not None
