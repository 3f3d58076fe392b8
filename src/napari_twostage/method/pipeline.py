"""The method: segment coarsely everywhere, then finely where the coarse model hesitates.

Generators of typed steps. Nothing runs until the first step is asked for, and closing a
generator cancels what it has not done. They know no disk: whoever takes the steps keeps them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import numpy as np

from napari_twostage.errors import ReadError
from napari_twostage.method.steps import (
    ChipFailed,
    ChipRefined,
    CoarsePassStarted,
    CoarseWindowDone,
    TilesSelected,
)
from napari_twostage.method.uncertainty import labels
from napari_twostage.utils.threads import pool

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid
    from napari_twostage.method.selection import Plan
    from napari_twostage.method.steps import Step
    from napari_twostage.method.tiling import Chip, Tile, TileGrid
    from napari_twostage.models.card import ModelCard

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
Logits: TypeAlias = "NDArray[np.float32]"

READERS = 2
"""Threads that decode ahead of the model."""
READ_AHEAD = 1
"""Batches they may be ahead: enough to keep the model busy, few enough to follow `Focus` soon."""
COMPUTE_AHEAD = 1
"""Batches that wait for the model while whoever takes the steps has others in hand."""
LOGIT_LIMIT = 16.0
"""Logits are kept as float16 within this: probabilities of 1e-7, and steps of 0.01 at most."""


Focus = Callable[[], "Box | None"]
"""Returns the region in view, a box of the fine grid, or None."""


def no_focus() -> Box | None:
    """No region is in view."""
    return None


Gate = Callable[[], None]
"""Called before each batch is computed: blocks while a run is paused, raises to end it."""


def open_gate() -> None:
    """Let every batch through."""


class Reader(Protocol):
    """What reads 8-bit RGB on one grid: a `slides.view.View`."""

    grid: Grid

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Read (box.height, box.width, 3), reflected beyond the edges."""


class Predictor(Protocol):
    """What computes: a `models.model.Model`."""

    card: ModelCard

    @property
    def abreast(self) -> int:
        """Batches that are best under way at once, each from a thread of its own."""

    @property
    def coarse_batch(self) -> int:
        """Windows that are best given to `coarse` at once."""

    @property
    def refine_batch(self) -> int:
        """Windows that are best given to `refine` at once."""

    def coarse(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, K, height, width) calibrated logits of coarse windows less their halo."""

    def refine(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, K, height, width) logits of fine windows less their halo."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a run reads, computes with and has left to do."""

    model: Predictor
    fine: Reader
    coarse: Reader
    tiles: TileGrid
    windows: Sequence[Box]
    """Cores of the coarse windows still to do, before clipping to the slide."""
    focus: Focus = no_focus
    """The region to compute first; asked again before each window or chip is begun."""
    gate: Gate = open_gate
    """Passed before each batch is computed."""


def segment_slide(work: Work, select: Callable[[], Plan]) -> Generator[Step, None, None]:
    """Run both stages.

    Parameters
    ----------
    work : Work
        What to run on.
    select : callable
        Asked for the plan once every coarse window's step has been taken, so that it can know
        all scores. Its tiles are refined in its order: the highest score first, so that
        stopping at any time leaves the best result so far.

    Yields
    ------
    Step
        `CoarsePassStarted`, `CoarseWindowDone` for each window, `TilesSelected`, `ChipRefined`
        or `ChipFailed` for each chip.
    """
    yield CoarsePassStarted(len(work.windows))
    yield from coarse_pass(work)
    plan = select()
    yield TilesSelected(plan)
    yield from refine_tiles(work, plan.tiles)


def coarse_pass(work: Work) -> Iterator[CoarseWindowDone]:
    """Run stage 1 over windows; a damaged place costs the tiles it is in, no more."""
    model, card = work.model, work.model.card

    def read(core: Box) -> tuple[NDArray[np.uint8], dict[Tile, str]]:
        window = core.grow(card.coarse_halo_px)
        try:
            return work.coarse.read(window), {}
        except ReadError:
            return _read_around_damage(work.coarse, window, core, card.coarse_tile_px)

    def compute(
        batch: list[tuple[Box, tuple[NDArray[np.uint8], dict[Tile, str]]]],
    ) -> list[Logits]:
        work.gate()
        return list(model.coarse([pixels for _, (pixels, _) in batch]))

    places = _corners(work.windows) * card.ratio
    ordered = (work.windows[index] for index in _in_view_first(places, work.focus))
    batches = _read_ahead(read, ordered, model.coarse_batch)
    for (core, (_, unreadable)), logits in _compute_ahead(compute, batches, model.abreast):
        yield _coarse_step(work, core, logits, unreadable)


def _coarse_step(
    work: Work, core: Box, logits: NDArray[np.float32], unreadable: dict[Tile, str]
) -> CoarseWindowDone:
    inside = core.clip(work.coarse.grid.shape)
    cropped = logits[:, *inside.shift(-core.top, -core.left).slices]
    halves = np.clip(cropped, -LOGIT_LIMIT, LOGIT_LIMIT).astype(np.float16)
    return CoarseWindowDone(inside, halves, unreadable)


def _read_around_damage(
    view: Reader, window: Box, core: Box, tile: int
) -> tuple[NDArray[np.uint8], dict[Tile, str]]:
    """Read a window tile by tile; what cannot be read takes the mean colour of the rest."""
    pixels = np.zeros((*window.shape, 3), np.uint8)
    missing = np.zeros(window.shape, bool)
    unreadable: dict[Tile, str] = {}
    for block in window.blocks(tile):
        place = block.shift(-window.top, -window.left).slices
        try:
            pixels[place] = view.read(block)
        except ReadError as error:
            missing[place] = True
            if core.clip(view.grid.shape).intersect(block).area:
                unreadable[block.top // tile, block.left // tile] = str(error)
    if not missing.all():
        pixels[missing] = np.rint(pixels[~missing].mean(axis=0))
    return pixels, unreadable


def refine_tiles(work: Work, tiles: Sequence[Tile]) -> Iterator[ChipRefined | ChipFailed]:
    """Run stage 2 over tiles, those in view first, else in their order."""
    model = work.model

    def read(chip: Chip) -> NDArray[np.uint8] | ReadError:
        try:
            return work.fine.read(chip.window)
        except ReadError as error:
            return error

    def compute(
        batch: list[tuple[Chip, NDArray[np.uint8] | ReadError]],
    ) -> list[Logits | ReadError]:
        made: dict[int, Logits | ReadError] = {}
        groups: dict[tuple[int, ...], dict[int, NDArray[np.uint8]]] = {}
        for index, (_, pixels) in enumerate(batch):
            if isinstance(pixels, ReadError):
                made[index] = pixels
            else:  # merged chips come in a few sizes
                groups.setdefault(pixels.shape, {})[index] = pixels
        for same in groups.values():
            work.gate()
            made.update(zip(same, model.refine(list(same.values())), strict=True))
        return [made[index] for index in range(len(batch))]

    batches = _read_ahead(read, _chips(work, tiles), model.refine_batch)
    for (chip, _), logits in _compute_ahead(compute, batches, model.abreast):
        if isinstance(logits, ReadError):
            yield ChipFailed(chip, str(logits))
        else:
            yield ChipRefined(chip, labels(logits))


def _chips(work: Work, tiles: Sequence[Tile]) -> Iterator[Chip]:
    """Chips of tiles, made as they are begun: a slide may have hundreds of thousands."""
    if work.model.card.mergeable:
        merged = work.tiles.chips(tiles, merge=True)
        places = _corners(chip.core for chip in merged)
        yield from (merged[index] for index in _in_view_first(places, work.focus))
        return
    corners = np.array(tiles, np.int64).reshape(-1, 2) * work.tiles.tile_px
    places = np.hstack([corners, corners + work.tiles.tile_px])
    yield from (work.tiles.chip(tiles[index]) for index in _in_view_first(places, work.focus))


def _corners(boxes: Iterable[Box]) -> NDArray[np.int64]:
    """(n, 4): top, left, bottom, right of each."""
    return np.array([box.as_list() for box in boxes], np.int64).reshape(-1, 4)


def _in_view_first(places: NDArray[np.integer], focus: Focus) -> Iterator[int]:
    """Numbers of places, each once: those that touch what is in view, then the others, in order.

    Parameters
    ----------
    places : (n, 4) int array
        Top, left, bottom, right of each on the fine grid.
    focus : callable
        Asked before each; places are only searched when its answer has changed.
    """
    left = np.ones(len(places), bool)
    following = iter(range(len(places)))
    in_view: deque[int] = deque()
    seen = None
    for _ in range(len(places)):
        view = focus()
        if view != seen:
            seen = view
            touching = left & _touches(places, view) if view is not None else left[:0]
            in_view = deque(np.flatnonzero(touching).tolist())
        index = in_view.popleft() if in_view else next(i for i in following if left[i])
        left[index] = False
        yield index


def _touches(places: NDArray[np.integer], view: Box) -> NDArray[np.bool_]:
    top, left, bottom, right = places.T
    rows = np.minimum(bottom, view.bottom) > np.maximum(top, view.top)
    return np.asarray(rows & (np.minimum(right, view.right) > np.maximum(left, view.left)))


def _compute_ahead(
    compute: Callable[[list[Item]], Sequence[Made]],
    batches: Generator[list[Item], None, None],
    abreast: int,
) -> Generator[tuple[Item, Made], None, None]:
    """Compute batches in threads of their own; hand out in order, item by item, what was made."""
    waiting: deque[tuple[list[Item], Future[Sequence[Made]]]] = deque()

    def taken() -> Iterator[tuple[Item, Made]]:
        batch, future = waiting.popleft()
        return zip(batch, future.result(), strict=True)

    # closed here and now: an error's traceback would keep it, and its threads, for a while
    with closing(batches), pool(abreast, "compute", drop_waiting=True) as owners:
        for batch in batches:
            waiting.append((batch, owners.submit(compute, batch)))
            if len(waiting) >= abreast + COMPUTE_AHEAD:
                yield from taken()
        while waiting:
            yield from taken()


def _read_ahead(
    read: Callable[[Item], Read], items: Iterable[Item], batch: int
) -> Generator[list[tuple[Item, Read]], None, None]:
    """Read items in threads, a bounded number ahead, and hand them out in order, in batches."""
    waiting: deque[tuple[Item, Future[Read]]] = deque()
    source = iter(items)
    with pool(READERS, "read-ahead", drop_waiting=True) as readers:
        while True:
            while len(waiting) < batch * (READ_AHEAD + 1):
                item = next(source, None)
                if item is None:
                    break
                waiting.append((item, readers.submit(read, item)))
            if not waiting:
                return
            taken = [waiting.popleft() for _ in range(min(batch, len(waiting)))]
            yield [(item, future.result()) for item, future in taken]
