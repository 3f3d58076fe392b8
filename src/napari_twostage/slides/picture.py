"""Which picture of a file is the slide: its scene, channel, focal plane and time point."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from napari_twostage.errors import SlideError, brief

if TYPE_CHECKING:
    from collections.abc import Mapping

COLOURS = "rgb"
"""Channel that stands for three grey planes as red, green and blue."""
_NOUNS = {"scene": "scene", "channel": "channel", "z": "focal plane", "t": "time point"}


def _check_index(name: str, value: object, other: str = "") -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is not None and not whole:
        raise SlideError(
            f"{name} must be a number from 0 on{other}; found {brief(value)}; pass {name}=0"
        )


def _checked_range(given: object) -> tuple[float, float]:
    try:
        low, high = (float(value) for value in given)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise SlideError(
            f"intensity must be two pixel values, black and white, the lower first; "
            f"found {brief(given)}; pass intensity=(0, 4095), say"
        )
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The user's choice among the pictures of a file; None leaves it to the reader.

    Raises
    ------
    SlideError
        If a value is of another type, or out of its range.
    """

    scene: int | str | None = None
    """Number or name of a scene, series, section or well."""
    channel: int | str | None = None
    """Number or name of a channel; ``rgb`` for three grey planes that are colours."""
    z: int | Literal["max"] | None = None
    """Number of a focal plane, or ``max`` for the maximum over all."""
    t: int | None = None
    """Number of a time point."""
    intensity: tuple[float, float] | None = None
    """Pixel values that are shown as black and white; the slide's own range if None."""

    def __post_init__(self) -> None:
        for name in ("scene", "channel"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | str | None):
                raise SlideError(
                    f"{name} must be a number or a name; found {brief(value)}; pass {name}=0"
                )
        if not isinstance(self.z, str) or self.z != "max":
            _check_index("z", self.z, " or 'max'")
        _check_index("t", self.t)
        if self.intensity is not None:
            object.__setattr__(self, "intensity", _checked_range(self.intensity))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values by name, those alone that were chosen."""
        chosen = {name: value for name, value in asdict(self).items() if value is not None}
        if self.intensity is not None:
            chosen["intensity"] = list(self.intensity)
        return chosen

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_dict` made.

        Raises
        ------
        SlideError
            If a value makes no sense.
        TypeError
            If a name is unknown.
        """
        return cls(**values)


WHOLE = Picture()
"""No choice: what the file holds, if that is one picture."""


def refuse_choices(picture: Picture, *names: str) -> None:
    """Refuse to choose what a file has only one of.

    Parameters
    ----------
    picture : Picture
        The user's choice; 0, and ``max`` for z, are right where there is one.
    *names : str
        Fields of which there is one: ``scene``, ``channel``, ``z``, ``t``.

    Raises
    ------
    SlideError
        The message begins with its verb, to follow the file's name.
    """
    for name in names:
        value = getattr(picture, name)
        if value not in {None, 0, "0"} and (name, value) != ("z", "max"):
            raise SlideError(f"has one {_NOUNS[name]}, {value!r} was asked for; leave out {name}=")
