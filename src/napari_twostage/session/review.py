"""The review of a result: which place is looked at, what is left, and what the user accepted."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SelectionError
from napari_twostage.method.steps import ChipRefined
from napari_twostage.method.tiling import TileState
from napari_twostage.method.uncertainty import GAIN, block_areas, expected_wrong_px
from napari_twostage.session.events import Notice
from napari_twostage.session.failures import count_of_failed
from napari_twostage.session.places import PlaceQueue, place_of
from napari_twostage.session.stopped_run import only
from napari_twostage.session.upkeep import curve_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box
    from napari_twostage.method.selection import Selection
    from napari_twostage.method.steps import ChipFailed
    from napari_twostage.method.tiling import Tile
    from napari_twostage.session.places import Place, Rank
    from napari_twostage.session.scheduler import Scheduler
    from napari_twostage.session.state import SessionState


class Review:
    """Queue of uncertain places, and beside it the failed tiles.

    A tile waits while its score is above the session's threshold and it is neither refined, edited,
    failed nor accepted. The position is kept while tiles leave the queue, whoever sees to that:
    `next` goes on behind the place that was shown, also if that no longer waits.

    Parameters
    ----------
    state : SessionState
        State of the session; `review_changed` is the only signal that is emitted.
    jobs : Scheduler
        Jobs of the session.
    """

    def __init__(self, state: SessionState, jobs: Scheduler) -> None:
        self._state = state
        self._jobs = jobs
        self._rank: Rank | None = None
        """Rank of the uncertain place that was shown last, when it was shown."""
        self._accepting: list[Place] = []
        """Accepted places that are on their way to the disk."""
        self._queue: tuple[object, PlaceQueue] | None = None
        """The queue, and what it was made from."""
        self._shown: Place | None = None
        self._of_failures = False
        """Whether the place is shown for the tiles that have failed in it."""
        self.refined_at: dict[Tile, float] = {}
        """Tiles that were refined in this session, and when, in seconds since the epoch."""
        state.events.result_changed.connect(self._forget)
        state.events.chips_done.connect(self._note_times)

    # -- going from place to place -------------------------------------------------------------

    @property
    def queue(self) -> PlaceQueue | None:
        """Places that wait; None before the coarse pass is done."""
        seg, state = self._state.seg, self._state
        if seg is None or not state.coarse_done:
            return None
        made_from = seg, seg.events_taken, state.threshold, len(self._accepting)
        if self._queue is None or self._queue[0] != made_from:
            waiting = (seg.states == TileState.COARSE) & (seg.scores > state.threshold)
            waiting &= ~seg.accepted
            for place in self._accepting:
                waiting[tuple(np.transpose(place.tiles))] = False
            self._queue = made_from, PlaceQueue(seg.tiles, waiting, seg.scores)
        return self._queue[1]

    @property
    def place(self) -> Place | None:
        """Place that is shown; once it no longer waits, as it was. None before the first."""
        return self._waiting() or self._shown

    @property
    def waits(self) -> bool:
        """Whether the place that is shown waits in the queue."""
        return self._waiting() is not None

    @property
    def can_be_refined(self) -> bool:
        """Whether the place that is shown has tiles that wait, or have failed."""
        return self.waits or bool(self._failed_here())

    def _waiting(self) -> Place | None:
        """The place that is shown, with the tiles of it that wait now; None if none does."""
        queue = self.queue
        if self._shown is None or self._of_failures or queue is None:
            return None
        index = queue.index_of(self._shown)
        return None if index is None else queue[index]

    def next(self) -> Place:
        """Show the next less uncertain place; after the last one, the first.

        Raises
        ------
        SelectionError
            If no place waits.
        """
        return self._go(forward=True)

    def previous(self) -> Place:
        """Show the next more uncertain place; before the first one, the last.

        Raises
        ------
        SelectionError
            If no place waits.
        """
        return self._go(forward=False)

    def next_failed(self) -> Place:
        """Show the next place with failed tiles, row by row; after the last one, the first.

        Raises
        ------
        SelectionError
            If no tile has failed.
        """
        seg = self._require_result()
        failed = np.zeros(seg.tiles.shape, bool)
        failed[tuple(np.transpose(self._require_failed(seg)))] = True
        places = PlaceQueue(seg.tiles, failed, np.zeros(failed.shape))
        shown = -1 if self._shown is None else self._shown.number
        behind = (one for one in map(places.__getitem__, range(len(places))) if one.number > shown)
        return self._show(next(behind, places[0]), of_failures=True)

    def _go(self, *, forward: bool) -> Place:
        queue = self._require_queue()
        index = 0 if forward else len(queue) - 1
        if self._rank is not None:
            index = queue.before(self._rank)
            here = index < len(queue) and queue.rank(index) == self._rank
            index = index + here if forward else index - 1
        index %= len(queue)
        self._rank = queue.rank(index)
        return self._show(queue[index])

    def _show(self, place: Place, *, of_failures: bool = False) -> Place:
        self._shown, self._of_failures = place, of_failures
        self._state.events.review_changed.emit()
        return place

    # -- what to do with a place ---------------------------------------------------------------

    def accept(self) -> Place | None:
        """Leave the labels of the shown place as they are, for good, and show the next place.

        Returns
        -------
        Place or None
            The next place; None if it was the last one.

        Raises
        ------
        SelectionError
            If no place is shown, or it does not wait.
        """
        seg, place = self._require_result(), self._require_waiting()
        self._accepting.append(place)
        self._add_task("accept", _record(seg, place.tiles, self._speed), self._accepted, place)
        queue = self.queue
        if queue is not None and len(queue):
            return self.next()
        self._state.events.review_changed.emit()
        return None

    def take_back(self) -> Place:
        """Take the last acceptance back, and show its place.

        Raises
        ------
        SelectionError
            If there is none.
        """
        seg = self._require_result()
        tiles = self._last_accepted(seg)
        place = place_of(seg.tiles, tiles)
        steps = _record(seg, tiles, self._speed, take_back=True)
        self._add_task("take back", steps, self._taken_back, place)
        return self._show(place)

    @property
    def accepted_places(self) -> int:
        """Number of places that the user accepted."""
        seg = self._state.seg
        return 0 if seg is None else len(seg.acceptances) + len(self._accepting)

    def selection(self) -> Selection:
        """Tiles of the shown place that wait or have failed, to be refined.

        Raises
        ------
        SelectionError
            If no place is shown, or there are none.
        """
        seg = self._require_result()
        return only(seg, self._failed_here() or self._require_waiting().tiles)

    def surroundings(self) -> Box:
        """Box of the slide's level 0 around the shown place, to be edited.

        Raises
        ------
        SelectionError
            If no place is shown.
        """
        seg, place = self._require_result(), self._require_shown()
        box = place.box.grow(seg.card.tile_px // 2).clip(seg.grid.shape)
        return box.scaled(seg.grid.downsample)

    def failed_selection(self) -> Selection:
        """All failed tiles, to be refined.

        Raises
        ------
        SelectionError
            If no tile has failed.
        """
        seg = self._require_result()
        return only(seg, self._require_failed(seg))

    # -- in words ------------------------------------------------------------------------------

    def describe(self) -> str:
        """Position in the queue and doubt of the shown place: ``3 of 144 · about …``."""
        queue, place, seg = self.queue, self.place, self._state.seg
        if queue is None or seg is None:
            return ""
        left = f"{len(queue):,} place{'s' * (len(queue) != 1)}"
        if place is None:
            if not len(queue):
                return "No place is above the threshold."
            return " · ".join(filter(None, (f"{left} to review", self._doubt(seg, queue.waiting))))
        left = f"{left} left" if len(queue) else "no place left"
        if failed := self._failed_here():
            return f"{count_of_failed(len(failed))} here · {left}"
        if not self.waits or self._rank is None:
            return f"{self._outcome(seg, place)} · {left}"
        inside = np.zeros(seg.tiles.shape, bool)
        inside[tuple(np.transpose(place.tiles))] = True
        position = f"{min(queue.before(self._rank) + 1, len(queue)):,} of {len(queue):,}"
        return " · ".join(filter(None, (position, self._doubt(seg, inside & queue.waiting))))

    def _doubt(self, seg: Segmentation, tiles: NDArray[np.bool_]) -> str:
        """Expected doubtful pixels of some tiles; empty if the measure does not state them."""
        measure = self._state.uncertainty
        rate = expected_wrong_px(measure, 1.0, 1)
        if rate is None:
            return ""
        px = seg.scores[tiles].astype(float) @ block_areas(seg.grid.shape, seg.card.tile_px)[tiles]
        return describe_doubt(measure, rate * float(px))

    def _outcome(self, seg: Segmentation, place: Place) -> str:
        """What became of a place that no longer waits."""
        first = place.tiles[0]
        if any(first in one.tiles for one in self._accepting) or seg.accepted[first]:
            return "Accepted"
        state = TileState(int(seg.states[first]))
        words = {TileState.REFINED: "Refined", TileState.EDITED: "Edited"}
        return words.get(state, "Below the threshold")

    # -- changes -------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Begin anew: another result is shown."""
        self._rank, self._shown, self._queue = None, None, None
        self._accepting, self.refined_at = [], {}

    def _note_times(self, steps: Sequence[ChipRefined | ChipFailed]) -> None:
        now = time.time()
        for step in steps:
            if isinstance(step, ChipRefined):
                self.refined_at.update(dict.fromkeys(step.chip.tiles, now))

    @property
    def _speed(self) -> float | None:
        """Seconds of stage 2 for a tile, as far as they are known."""
        return None if self._state.curve is None else self._state.curve.seconds_per_tile

    def _add_task(
        self,
        name: str,
        steps: Iterator[object],
        on_end: Callable[[Place], None],
        place: Place,
    ) -> None:
        """Write what the user said of a place, in a thread, also if the window is closed."""
        self._jobs.add_task(
            name, lambda _job: steps, must_finish=True, on_end=partial(on_end, place)
        )

    def _accepted(self, place: Place) -> None:
        if place in self._accepting:  # not if another result came meanwhile
            self._accepting.remove(place)
            self._state.events.review_changed.emit()

    def _taken_back(self, place: Place) -> None:
        """Go on from the place, which waits again."""
        queue = self.queue
        index = queue.index_of(place) if queue is not None and self._shown == place else None
        if queue is not None and index is not None:
            self._rank = queue.rank(index)
        self._state.events.review_changed.emit()

    # -- what is asked for ---------------------------------------------------------------------

    def _require_result(self) -> Segmentation:
        if self._state.seg is None:
            raise SelectionError("there is no result yet; run the quick pass first")
        return self._state.seg

    def _require_queue(self) -> PlaceQueue:
        self._require_result()
        queue = self.queue
        if queue is None:
            raise SelectionError("the quick pass is not done; run it first")
        if not len(queue):
            raise SelectionError("no place above the threshold is left; lower the threshold")
        return queue

    def _require_shown(self) -> Place:
        place = self.place
        if place is None:
            raise SelectionError("no place is shown; press Next first")
        return place

    def _require_waiting(self) -> Place:
        self._require_shown()
        place = self._waiting()
        if place is None:
            raise SelectionError("this place is done; press Next")
        return place

    def _require_failed(self, seg: Segmentation) -> list[Tile]:
        failed = sorted(seg.failures)
        if not failed:
            raise SelectionError("no tile has failed")
        return failed

    def _last_accepted(self, seg: Segmentation) -> tuple[Tile, ...]:
        if self._accepting:
            return self._accepting[-1].tiles
        if not seg.acceptances:
            raise SelectionError("no place was accepted")
        return seg.acceptances[-1]

    def _failed_here(self) -> list[Tile]:
        """Failed tiles for which the place is shown."""
        seg, place = self._state.seg, self._shown
        if seg is None or place is None or not self._of_failures:
            return []
        failures = seg.failures
        return [tile for tile in place.tiles if tile in failures]


def _record(
    seg: Segmentation,
    tiles: Sequence[Tile],
    seconds_per_tile: float | None,
    *,
    take_back: bool = False,
) -> Iterator[object]:
    """Write an acceptance, or that it is taken back; parameters as for `curve_of`."""
    seg.accept(tiles, take_back=take_back)
    yield curve_of(seg, seconds_per_tile)
    if take_back:
        yield Notice("the last acceptance was taken back")


def describe_doubt(measure: str, pixels: float) -> str:
    """Expected wrong pixels, to two digits, in words that the measure allows.

    Examples
    --------
    >>> describe_doubt("tent", 1683.0), describe_doubt("gain", 38.4)
    ('about 1,700 doubtful pixels', 'refining corrects about 38 pixels')
    """
    count = f"about {float(f'{pixels:.2g}'):,.0f}"
    if measure == GAIN:
        return f"refining corrects {count} pixels"
    return f"{count} doubtful pixels"
