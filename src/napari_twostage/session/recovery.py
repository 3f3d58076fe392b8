"""Ways to go on after trouble: with a run that was stopped, an edit, a damaged or locked result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.errors import DamagedFileError, LockedError, explained
from napari_twostage.io.paths import Location
from napari_twostage.session.advice import WayOn, press, result_of
from napari_twostage.session.stopped_run import StoppedRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.session.events import Standing


class Recovery:
    """What went wrong with a session's result and can be gone on with.

    It holds facts only; `Session.resume`, `Session.repair` and `Session.take_over` act on them.
    """

    def __init__(self) -> None:
        self.run: StoppedRun | None = None
        """Run that is under way, or was stopped."""
        self.damaged: Location | None = None
        """Result folder in which a damaged file was met."""
        self.locked_elsewhere = False
        """Whether a process of another machine holds the result."""

    def forget(self) -> None:
        """Forget everything: another result is worked on."""
        self.run, self.damaged, self.locked_elsewhere = None, None, False

    def stand(self, seg: Segmentation, standing: Standing) -> None:
        """Take in whether the result's last run came to its end."""
        there = standing.there
        done = there.coarse_complete and there.run_finished
        if self.run is None and not done and not standing.writer:
            self.run = StoppedRun.last_of(seg)

    def take(self, error: BaseException) -> None:
        """Take in an error."""
        match explained(error):
            case DamagedFileError(path=path) if isinstance(path, Location):
                self.damaged = result_of(path)
            case LockedError(here=here):
                self.locked_elsewhere = not here

    def ways(self, *, running: bool, unsaved: bool) -> list[WayOn]:
        """Buttons to offer.

        Parameters
        ----------
        running : bool
            Whether a run is under way.
        unsaved : bool
            Whether the open edit could not be written.
        """
        ways = [WayOn.SAVE] if unsaved else []
        if running:
            return ways
        if self.run is not None:
            ways.append(WayOn.RESUME)
        if self.damaged is not None:
            ways.append(WayOn.REPAIR)
        if self.locked_elsewhere:
            ways.append(WayOn.TAKE_OVER)
        return ways


def describe_repair(verdicts: Sequence[str]) -> str:
    """Describe in one line what a repair found.

    Parameters
    ----------
    verdicts : sequence of str
        Of `check.Finding`, one for each damaged part.

    Examples
    --------
    >>> describe_repair(["restored", "computed again", "computed again"])
    'repaired: 1 part restored, 2 parts to compute again; press Continue'
    >>> describe_repair([])
    'all parts were checked: nothing is damaged'
    """
    if not verdicts:
        return "all parts were checked: nothing is damaged"
    restored, again, lost = map([*verdicts].count, ("restored", "computed again", "lost"))
    found = {"restored": restored, "to compute again": again, "of what was painted lost": lost}
    parts = [f"{count:,} part{'s' * (count > 1)} {end}" for end, count in found.items() if count]
    return f"repaired: {', '.join(parts)}" + (f"; {press(WayOn.RESUME)}" if again else "")
