"""Advice on a slide: what full resolution would change, and whether it is worth its time.

Both stages run over a few coarse windows full of tissue, spread over the slide. What refinement is
worth follows from the Dice that the model expects before and after. Where it states none, stage 2
stands for the truth, of which there is none.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_twostage.engine.api import prepare
from napari_twostage.engine.domain_check import compare_with_training
from napari_twostage.engine.options import RunOptions
from napari_twostage.engine.runner import find_tissue
from napari_twostage.engine.slide_advice import Advice
from napari_twostage.errors import SelectionError, SlideError
from napari_twostage.geometry import Box
from napari_twostage.method.agreement import ChangeKinds, TileChanges, kinds_of_change
from napari_twostage.method.pipeline import Work, coarse_pass, open_gate, refine_tiles
from napari_twostage.method.ranking import Ranking
from napari_twostage.method.resample_labels import upsample
from napari_twostage.method.sample_windows import pick_windows
from napari_twostage.method.steps import ChipRefined
from napari_twostage.method.uncertainty import TileStatistics, tile_statistics
from napari_twostage.method.uncertainty import labels as likeliest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_twostage.engine.api import ModelLike, SlideLike
    from napari_twostage.engine.slide_advice import Choice, Measure
    from napari_twostage.method.steps import CoarseWindowDone
    from napari_twostage.method.tiling import Tile
    from napari_twostage.models.card import ModelCard
    from napari_twostage.result.result import Result

WINDOWS = 8
"""Coarse windows that are looked at."""
TOLERANCE = 0.005
"""Dice against stage 2 everywhere that may be lost."""
WORTH = 0.8
"""Share of the time of refining everything above which choosing tiles is not worth it."""

STEPS = 10_000
"""Thresholds from 0 to 1 that are chosen from."""


class _Seconds(NamedTuple):
    """Seconds of the whole slide."""

    coarse: float
    refining: float
    """Of refining every tile."""


@dataclass(frozen=True)
class _Compared:
    """One window by both stages."""

    statistics: TileStatistics
    """(n,) of its tiles."""
    coarse: list[NDArray[np.uint8]]
    """Labels of these tiles, by stage 1 ..."""
    refined: list[NDArray[np.uint8]]
    """... and by stage 2."""
    kinds: ChangeKinds
    unreadable: int
    """Tiles that could not be read."""


def advise(
    slide: SlideLike,
    model: ModelLike,
    *,
    windows: int = WINDOWS,
    tolerance: float = TOLERANCE,
    tissue: bool | None = None,
    tell: Callable[[int, int], None] | None = None,
) -> Advice:
    """Run both stages over a few places of a slide, and say what is worth its time.

    Parameters
    ----------
    slide, model, tissue
        See `segment`.
    windows : int
        Most coarse windows to look at.
    tolerance : float
        Dice against refining everything that the advice may lose, in [0, 1].
    tell : callable, optional
        Given the number of windows done, and of all.

    Returns
    -------
    Advice

    Raises
    ------
    SelectionError
        If `windows` or `tolerance` is out of range.
    SlideError
        If there is no tissue, or nothing in it can be read.
    TwoStageError
        If slide and model do not fit.
    """
    if not isinstance(windows, Integral) or windows < 1:
        raise SelectionError(
            f"expected a whole number of places to look at, 1 or more, found {windows!r}; try 8"
        )
    if not isinstance(tolerance, Real) or not 0 <= tolerance <= 1:
        raise SelectionError(f"expected a tolerance in [0, 1], found {tolerance!r}; try 0.005")
    with tempfile.TemporaryDirectory(
        prefix="napari-twostage-advice-", ignore_cleanup_errors=True
    ) as scratch:
        place = Path(scratch) / "advice.twostage.zarr"
        result = prepare(slide, model, place, RunOptions(tissue=tissue))
        result.model.warm_up("coarse")
        result.model.warm_up("refine")
        with result.writer.writing():
            for _ in find_tissue(result):
                pass
            for _ in compare_with_training(result, result.model, open_gate):
                pass
        work = Work(
            model=result.model,
            fine=result.view(result.grid),
            coarse=result.view(result.coarse_grid),
            tiles=result.tiles,
            windows=_cores(result, windows),
        )
        return _look_at(work, result, tolerance, tell)


def _look_at(
    work: Work, result: Result, tolerance: float, tell: Callable[[int, int], None] | None
) -> Advice:
    tissue = result.tissue
    started = time.perf_counter()
    done = list(coarse_pass(work))
    refining = time.perf_counter()
    compared = []
    for step in done:
        compared.append(_compare(work, step, tissue))
        if tell is not None:
            tell(len(compared), len(done))
    changes = TileChanges.count(
        np.concatenate([one.statistics.score for one in compared]),
        [labels for one in compared for labels in one.coarse],
        [labels for one in compared for labels in one.refined],
    )
    if not len(changes):
        raise SlideError("expected tissue that can be read, found none; there is nothing to advise")
    seconds = _Seconds(
        coarse=(refining - started) / len(done) * _windows_with(tissue, result.card),
        refining=(time.perf_counter() - refining) / len(changes) * int(tissue.sum()),
    )
    dice, measure = _dice_along(result, [one.statistics for one in compared], changes)
    choice, count = _choose(dice, changes, seconds, tolerance)
    share = count / len(changes)
    return Advice(
        choice=choice,
        threshold=changes.threshold(count, STEPS) if choice == "two stages" else None,
        fraction=share,
        measure=measure,
        dice=(float(dice[0]), float(dice[count]), float(dice[-1])),
        changed=float(changes.changed.sum() / changes.pixels.sum()),
        kinds=ChangeKinds(
            *(sum(part) for part in zip(*(one.kinds for one in compared), strict=True))
        ),
        windows=len(compared),
        tiles=len(changes),
        unreadable=sum(one.unreadable for one in compared),
        unfit=result.unfit,
        seconds=(
            seconds.coarse,
            seconds.coarse + seconds.refining * share,
            seconds.coarse + seconds.refining,
        ),
    )


def _dice_along(
    result: Result, parts: Sequence[TileStatistics], changes: TileChanges
) -> tuple[NDArray[np.float64], Measure]:
    """Dice once the first 0, 1, ... n tiles are refined: expected, or else agreement."""
    statistics = TileStatistics(
        *(np.concatenate([getattr(part, own.name) for part in parts]) for own in fields(parts[0]))
    )
    gain = result.card.refinement_gain
    found = statistics.true_positives.sum() + statistics.false_positives.sum()
    if result.unfit or not gain or not found:
        return changes.dice(), "agreement"
    ranking = Ranking(statistics, gain, predictor=result.predictor)
    dice = ranking.curve(np.zeros(len(changes), bool), None).dice
    if not changes.changed.any():  # whatever was expected, nothing comes of it here
        dice = np.full_like(dice, dice[0])
    return dice, "expected"


def _cores(result: Result, count: int) -> list[Box]:
    """Cores of coarse windows to look at."""
    side = result.card.coarse_core_px
    chosen = pick_windows(result.tissue, side // result.card.coarse_tile_px, count)
    return [Box.at(row * side, column * side, side, side) for row, column in chosen]


def _windows_with(tissue: NDArray[np.bool_], card: ModelCard) -> int:
    """Number of coarse windows that hold tissue."""
    aside = card.coarse_core_px // card.coarse_tile_px
    rows, columns = (np.arange(0, length, aside) for length in tissue.shape)
    held = np.add.reduceat(np.add.reduceat(tissue.astype(int), rows, 0), columns, 1)
    return int((held > 0).sum())


def _compare(work: Work, step: CoarseWindowDone, tissue: NDArray[np.bool_]) -> _Compared:
    """Refine the tiles of a coarse window that hold tissue, and compare both stages' labels."""
    card = work.model.card
    known = tile_statistics(step.logits, card.coarse_tile_px, card.uncertainty, step.gain)
    wanted = list(_tissue_tiles(work, step, tissue))
    tiles = [tile for tile in wanted if tile not in step.unreadable]
    box = step.core.scaled(card.ratio).clip(work.fine.grid.shape)
    logits = step.logits

    def read(part: Box) -> NDArray[np.floating]:
        """Logits of the window; beyond its core its last pixels repeat."""
        rows = np.clip(np.arange(part.top, part.bottom) - step.core.top, 0, logits.shape[1] - 1)
        columns = np.clip(np.arange(part.left, part.right) - step.core.left, 0, logits.shape[2] - 1)
        return logits[:, rows[:, None], columns]

    coarse = likeliest(upsample(read, work.coarse.grid.shape, box, card.ratio))
    refined = coarse.copy()
    done: list[Tile] = []
    for chip in refine_tiles(work, tiles):
        if isinstance(chip, ChipRefined):
            for tile, labels in _parts(work, chip):
                place = work.tiles.box(tile).shift(-box.top, -box.left).slices
                refined[place] = labels
                done.append(tile)
    first = step.core.top // card.coarse_tile_px, step.core.left // card.coarse_tile_px
    places = [work.tiles.box(tile).shift(-box.top, -box.left).slices for tile in done]
    rows, columns = (np.array(done, int).reshape(-1, 2) - first).T
    return _Compared(
        TileStatistics(*(getattr(known, own.name)[rows, columns] for own in fields(known))),
        [coarse[place] for place in places],
        [refined[place] for place in places],
        kinds_of_change(coarse, refined),
        unreadable=len(wanted) - len(done),
    )


def _tissue_tiles(work: Work, step: CoarseWindowDone, tissue: NDArray[np.bool_]) -> Iterator[Tile]:
    side = work.model.card.coarse_tile_px
    for block in step.core.blocks(side):
        tile = block.top // side, block.left // side
        if tissue[tile]:
            yield tile


def _parts(work: Work, chip: ChipRefined) -> Iterator[tuple[Tile, NDArray[np.uint8]]]:
    """Labels of each tile of a chip, inside the slide."""
    core = chip.chip.core
    for tile in chip.chip.tiles:
        box = work.tiles.box(tile)
        yield tile, chip.labels[box.shift(-core.top, -core.left).slices]


def _choose(
    dice: NDArray[np.float64], changes: TileChanges, seconds: _Seconds, tolerance: float
) -> tuple[Choice, int]:
    """Take the fewest tiles that are as good as refining all, unless that saves little.

    Returns the choice, and the number of tiles that it refines.
    """
    enough = np.isnan(dice) | (dice >= dice[-1] - tolerance)
    count = int(np.argmax(enough))
    if not count:
        return "coarse", 0
    # those that exceed the threshold that can be stated
    count = int((changes.scores > changes.threshold(count, STEPS)).sum())
    chosen_s = seconds.coarse + seconds.refining * count / len(changes)
    if count == len(changes) or chosen_s > WORTH * (seconds.coarse + seconds.refining):
        return "everything", len(changes)
    return "two stages", count
