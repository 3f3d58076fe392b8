"""Advice on a slide as values and as sentences; `advisor` gives it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from napari_twostage.method.selection import describe_seconds

if TYPE_CHECKING:
    from napari_twostage.method.agreement import ChangeKinds

Choice = Literal["coarse", "two stages", "everything"]
Measure = Literal["expected", "agreement"]


@dataclass(frozen=True)
class Advice:
    """What refinement would change on a slide, and what to run."""

    choice: Choice
    """Coarse pass alone, refinement of uncertain tiles, or of every tile."""
    threshold: float | None
    """Score above which to refine; None unless `choice` is ``two stages``."""
    fraction: float
    """Share of the tiles that `choice` refines."""
    measure: Measure
    """Meaning of the values of Dice: expected, or agreement with stage 2 everywhere."""
    dice: tuple[float, float, float]
    """Dice of the coarse pass, of `choice` and of every tile refined; NaN without any object."""
    changed: float
    """Share of the pixels whose label stage 2 changes."""
    kinds: ChangeKinds
    """Number of those pixels, by what is changed."""
    windows: int
    """Coarse windows that were looked at."""
    tiles: int
    """Tiles in them that both stages labelled."""
    unreadable: int
    """Tiles in them that could not be read."""
    unfit: str
    """Reason why nothing is known of the quality on this slide; empty if there is none."""
    seconds: tuple[float, float, float]
    """Seconds of the whole slide as measured on the windows: the coarse pass, `choice`, and every
    tile refined, both with the coarse pass."""

    def as_dict(self) -> dict[str, Any]:
        """Return the values in types that JSON holds; NaN as None."""
        dice = [None if math.isnan(value) else value for value in self.dice]
        return {**asdict(self), "kinds": self.kinds._asdict(), "dice": dice}

    def describe(self) -> str:
        """State the advice in one sentence or two."""
        coarse_s, chosen_s, whole_s = map(describe_seconds, self.seconds)
        if math.isnan(self.dice[-1]):
            return "Neither stage finds an object: check the model and the pixel size."
        if self.choice == "coarse":
            return (
                f"The coarse pass is enough ({coarse_s}): {self._worth}. Refining every tile takes "
                f"{whole_s}."
            )
        if self.choice == "everything":
            return f"Refine every tile ({whole_s}): {self._worth}. Choosing tiles saves little."
        share = f"{100 * self.fraction:.0f} % of the tiles"
        saves = (
            f"{chosen_s} in place of {whole_s}" if chosen_s != whole_s else f"about {whole_s} as"
        )
        return (
            f"Refine tiles that score above {self.threshold:g}: {share}, {saves} for every tile; "
            f"{self._worth}."
        )

    @property
    def _worth(self) -> str:
        """Dice before and after, such as ``expected Dice 0.66 → 0.67, with every tile 0.68``."""
        before, after, best = self.dice
        change = f"{before:.3f}" if self.choice == "coarse" else f"{before:.3f} → {after:.3f}"
        if self.measure == "expected":
            with_all = "" if self.choice == "everything" else f", with every tile {best:.3f}"
            return f"expected Dice {change}{with_all}"
        unknown = f"quality unknown ({self.unfit})" if self.unfit else "quality unknown"
        if self.choice == "everything":
            return f"{unknown}; the coarse labels agree with it by a Dice of {before:.3f}"
        return f"{unknown}; agreement with every tile refined, as Dice, {change}"

    def describe_changes(self) -> str:
        """State what full resolution changes, and where."""
        total = sum(self.kinds)
        if not total:
            return "Full resolution changes nothing in the places looked at."
        found, dropped, edges = (100 * part / total for part in self.kinds)
        return (
            f"Full resolution changes {100 * self.changed:.2g} % of the pixels looked at: "
            f"{edges:.0f} % of these at outlines, {found:.0f} % in objects that only it finds, "
            f"{dropped:.0f} % in objects that only the coarse pass finds."
        )

    def describe_places(self) -> str:
        """State what was looked at, and what could not be read."""
        places = f"{self.windows} place{'s' * (self.windows != 1)}"
        tiles = f"{self.tiles:,} tile{'s' * (self.tiles != 1)}"
        lost = f"; {self.unreadable:,} more cannot be read" if self.unreadable else ""
        return f"{places}, {tiles}{lost}"
