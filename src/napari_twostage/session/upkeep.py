"""Tasks that keep a session abreast of its result folder: catch up, follow, repair."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.measure.completeness import completeness
from napari_twostage.method.steps import ChipFailed, ChipRefined, CoarseWindowDone
from napari_twostage.result.check import repair_metadata
from napari_twostage.session.advice import describe_writer
from napari_twostage.session.events import EditsChanged, Notice, Repaired, Standing
from napari_twostage.session.recovery import describe_repair
from napari_twostage.session.stopped_run import StoppedRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_twostage.engine.segmentation import Segmentation
    from napari_twostage.geometry import Box
    from napari_twostage.io.paths import Location
    from napari_twostage.method.selection import Curve


@dataclass(slots=True)
class Reported:
    """Windows, tiles and edits of a result that the session has taken."""

    windows: set[Box] = field(default_factory=set)
    tiles: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))
    edits: list[Box] = field(default_factory=list)
    """Boxes of the edits that are shown."""

    @classmethod
    def of(cls, seg: Segmentation) -> Reported:
        """All that are done now."""
        return cls(set(seg.windows_done), seg.refined, seg.edit_boxes)

    def changed_edits(self, seg: Segmentation) -> tuple[Box, ...]:
        """Boxes of edits that were made or undone since."""
        before, now = Counter(self.edits), Counter(seg.edit_boxes)
        return tuple((before - now) + (now - before))

    def lost_in(self, seg: Segmentation) -> bool:
        """Whether something that was done is no longer."""
        return bool((self.tiles & ~seg.refined).any() or self.windows - seg.windows_done)

    def add(
        self, windows: Iterable[CoarseWindowDone], chips: Iterable[ChipRefined | ChipFailed]
    ) -> None:
        """Add the windows and tiles of steps."""
        self.windows.update(step.core for step in windows)
        for step in chips:
            if isinstance(step, ChipRefined):
                self.tiles[tuple(np.transpose(step.chip.tiles))] = True


def stand(seg: Segmentation) -> Standing:
    """What is missing from a result, and who else is writing it."""
    owner = seg.other_writer
    return Standing(
        completeness(seg), "" if owner is None else describe_writer(seg.path, str(owner))
    )


def follow(
    seg: Segmentation, reported: Reported, seconds_per_tile: float | None
) -> Iterator[object]:
    """Yield what is on disk and was not reported: of a stopped run, or another process.

    Parameters
    ----------
    seg : Segmentation
        The result.
    reported : Reported
        What the session has taken.
    seconds_per_tile : float, optional
        Stage 2's time for a tile.
    """
    if reported.lost_in(seg):  # another process has repaired it
        yield Repaired(seg.path)
    elif boxes := reported.changed_edits(seg):
        yield EditsChanged(boxes)
    for core in seg.windows_done - reported.windows:
        yield CoarseWindowDone(core, seg.read_logits(core), {})
    for row, column in np.argwhere(seg.refined & ~reported.tiles).tolist():
        chip = seg.tiles.chip((row, column))
        inside = seg.read_labels(chip.core.clip(seg.grid.shape))
        beyond = [(0, chip.core.height - inside.shape[0]), (0, chip.core.width - inside.shape[1])]
        yield ChipRefined(chip, np.pad(inside, beyond, mode="edge"))
    if seg.coarse_complete:
        yield curve_of(seg, seconds_per_tile)
    yield stand(seg)


def repair(folder: Location, seg: Segmentation | None) -> Iterator[object]:
    """Check all parts of a result, restore what can be, and mark the rest to be computed again.

    Parameters
    ----------
    folder : Path or Url
        The result folder.
    seg : Segmentation, optional
        The result, if it could be opened.
    """
    yield Notice("checking all parts of the result", "busy")
    found = repair_metadata(folder)
    if seg is None:
        yield Repaired(folder)
    else:
        before = seg.refined
        found += seg.repair()
        lost = np.argwhere(before & ~seg.refined).tolist()
        again = any(finding.verdict == "computed again" for finding in found)
        yield Repaired(folder, StoppedRun.of_tiles(seg, lost) if again else None)
        if seg.coarse_complete:
            yield curve_of(seg, seg.seconds_per_tile)
        yield stand(seg)
    verdicts = [finding.verdict for finding in found]
    yield Notice(describe_repair(verdicts), "warning" if "lost" in verdicts else "info")


def curve_of(seg: Segmentation, seconds_per_tile: float | None) -> Curve:
    """Cost and gain of refining above each threshold, as the result stands."""
    return seg.ranking.curve(seg.settled, seconds_per_tile)
