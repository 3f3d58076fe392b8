"""The method: segment coarsely everywhere, then finely where the coarse model is uncertain.

Generators of typed steps. Nothing runs until the first step is requested, and closing a generator
cancels the remaining work. This module never touches the disk: the caller stores the steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from napari_twostage.errors import LogitsError, ReadError
from napari_twostage.method.instances import parted
from napari_twostage.method.lookahead import compute_ahead, read_ahead
from napari_twostage.method.steps import (
    ChipFailed,
    ChipRefined,
    CoarsePassStarted,
    CoarseWindowDone,
    TilesSelected,
)
from napari_twostage.method.uncertainty import labels

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_twostage.geometry import Box, Grid
    from napari_twostage.method.selection import Plan
    from napari_twostage.method.steps import Step
    from napari_twostage.method.tiling import Chip, Tile, TileGrid
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.card import ModelCard

Logits: TypeAlias = "NDArray[np.float32]"

LOGIT_LIMIT = 16.0
"""Largest absolute logit stored. Probabilities reach 1e-7; float16 steps are at most 0.01."""

Focus = Callable[[], "Box | None"]
"""Callback that returns the visible region, a box on the fine grid, or None."""


def no_focus() -> Box | None:
    """Return None: no region is visible."""
    return None


Gate = Callable[[], None]
"""Callback before each batch is computed: blocks while a run is paused, raises to end it."""


def open_gate() -> None:
    """Return at once: the run is not paused."""


class Reader(Protocol):
    """Reader of 8-bit RGB pixels on one grid, such as `slides.view.View`."""

    grid: Grid

    def read(self, box: Box) -> NDArray[np.uint8]:
        """Read a box; pixels beyond the edges are reflected.

        Returns
        -------
        (box.height, box.width, 3) uint8 array

        Raises
        ------
        ReadError
            If a part of the slide is damaged.
        """


class Predictor(Protocol):
    """Network of both stages, such as `models.model.Model`."""

    card: ModelCard
    bundle: Bundle

    @property
    def concurrent_batches(self) -> int:
        """Batches to compute at the same time, each in a thread of its own."""

    @property
    def coarse_batch(self) -> int:
        """Windows per batch of `coarse`."""

    @property
    def refine_batch(self) -> int:
        """Windows per batch of `refine`."""

    def coarse(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Run stage 1 on N coarse windows, each (height + 2 halo, width + 2 halo, 3).

        Returns
        -------
        (N, C, height, width) float32 array
            The card's `channels`, halo removed: calibrated logits, and the object output.
        """

    def refine(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Run stage 2 on N fine windows of one shape, each (height + 2 halo, width + 2 halo, 3).

        Returns
        -------
        (N, C, height, width) float32 array
            The card's `channels`, halo removed: logits, and the object output.
        """


@dataclass(frozen=True, slots=True)
class Work:
    """Inputs of a run, and the windows left to do."""

    model: Predictor
    fine: Reader
    """Slide at the pixel size of stage 2."""
    coarse: Reader
    """Slide at the pixel size of stage 1."""
    tiles: TileGrid
    windows: Sequence[Box]
    """Cores of the coarse windows still to do, before clipping to the slide."""
    focus: Focus = no_focus
    """Region to compute first; called before each window or chip starts."""
    gate: Gate = open_gate
    """Called before each batch is computed."""


def segment_slide(work: Work, select: Callable[[], Plan]) -> Generator[Step, None, None]:
    """Run both stages.

    Parameters
    ----------
    work : Work
        Inputs of the run.
    select : callable
        Returns the plan. Called once, after the caller has taken the step of every coarse window,
        so all scores are known. Tiles are refined in the order of the plan, highest score first:
        a run that stops early leaves the best result for its time.

    Yields
    ------
    Step
        `CoarsePassStarted`; `CoarseWindowDone` for each window; `TilesSelected`; `ChipRefined`
        or `ChipFailed` for each chip.
    """
    yield CoarsePassStarted(len(work.windows))
    yield from coarse_pass(work)
    plan = select()
    yield TilesSelected(plan)
    yield from refine_tiles(work, plan.tiles)


def coarse_pass(work: Work) -> Iterator[CoarseWindowDone]:
    """Run stage 1 over windows; damaged pixels lose only the tiles that contain them.

    Parameters
    ----------
    work : Work
        Inputs of the run.

    Yields
    ------
    CoarseWindowDone
        One for each window: those in view first, then in the order of ``work.windows``.
    """
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
        logits = model.coarse([pixels for _, (pixels, _) in batch])
        _require_finite(logits, [core for core, _ in batch], model, "stage 1, coarse window")
        return list(logits)

    edges = _edges(work.windows) * card.ratio
    ordered = (work.windows[index] for index in _in_view_first(edges, work.focus))
    batches = read_ahead(read, ordered, model.coarse_batch)
    for (core, (_, unreadable)), logits in compute_ahead(
        compute, batches, model.concurrent_batches
    ):
        yield _coarse_step(work, core, logits, unreadable)


def _require_finite(logits: Logits, cores: Sequence[Box], model: Predictor, place: str) -> None:
    """Refuse logits that are no numbers: in a result NaN means outside the tissue.

    Raises
    ------
    LogitsError
        With the stage and the first such window.
    """
    if np.isfinite(logits).all():
        return
    core = next(c for c, own in zip(cores, logits, strict=True) if not np.isfinite(own).all())
    raise LogitsError(
        f"model {model.bundle.source} gives values that are not finite in {place} at row "
        f"{core.top}, column {core.left}: its labels would mean nothing; take precision f32, or "
        "another model"
    )


def _coarse_step(
    work: Work, core: Box, logits: NDArray[np.float32], unreadable: dict[Tile, str]
) -> CoarseWindowDone:
    inside = core.clip(work.coarse.grid.shape)
    cropped = logits[:, *inside.shift(-core.top, -core.left).slices]
    gain = _halves(cropped[-1]) if work.model.card.gain_output else None
    own, depth = parted(cropped[: work.model.card.channels], work.model.card)
    return CoarseWindowDone(inside, _halves(own), unreadable, depth, gain)


def _halves(logits: NDArray[np.float32]) -> NDArray[np.float16]:
    return np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT).astype(np.float16)


def _read_around_damage(
    view: Reader, window: Box, core: Box, tile: int
) -> tuple[NDArray[np.uint8], dict[Tile, str]]:
    """Read a window tile by tile; fill unreadable tiles with the mean colour of the others."""
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
    """Run stage 2 over tiles.

    Parameters
    ----------
    work : Work
        Inputs of the run; its windows are ignored.
    tiles : sequence of (row, column)
        Tiles to refine, the most important first.

    Yields
    ------
    ChipRefined or ChipFailed
        One for each chip: those in view first, then in the order of `tiles`.
    """
    model = work.model

    def read(chip: Chip) -> NDArray[np.uint8] | ReadError:
        try:
            return work.fine.read(chip.window)
        except ReadError as error:
            return error

    def compute(
        batch: list[tuple[Chip, NDArray[np.uint8] | ReadError]],
    ) -> list[Logits | ReadError]:
        outputs: dict[int, Logits | ReadError] = {}
        groups: dict[tuple[int, ...], dict[int, NDArray[np.uint8]]] = {}
        for index, (_, pixels) in enumerate(batch):
            if isinstance(pixels, ReadError):
                outputs[index] = pixels
            else:  # a batch holds one shape, and merged chips have several
                groups.setdefault(pixels.shape, {})[index] = pixels
        for same in groups.values():
            work.gate()
            logits = model.refine(list(same.values()))
            cores = [batch[index][0].core for index in same]
            _require_finite(logits, cores, model, "stage 2, tile")
            outputs.update(zip(same, logits, strict=True))
        return [outputs[index] for index in range(len(batch))]

    batches = read_ahead(read, _chips(work, tiles), model.refine_batch)
    for (chip, _), logits in compute_ahead(compute, batches, model.concurrent_batches):
        if isinstance(logits, ReadError):
            yield ChipFailed(chip, str(logits))
        else:
            own, depth = parted(logits, model.card)
            yield ChipRefined(chip, labels(own), depth)


def _chips(work: Work, tiles: Sequence[Tile]) -> Iterator[Chip]:
    """Chips of tiles, built one at a time: a slide may have hundreds of thousands."""
    if work.model.card.mergeable:
        merged = work.tiles.chips(tiles, merge=True)
        edges = _edges(chip.core for chip in merged)
        yield from (merged[index] for index in _in_view_first(edges, work.focus))
        return
    corners = np.array(tiles, np.int64).reshape(-1, 2) * work.tiles.tile_px
    edges = np.hstack([corners, corners + work.tiles.tile_px])
    yield from (work.tiles.chip(tiles[index]) for index in _in_view_first(edges, work.focus))


def _edges(boxes: Iterable[Box]) -> NDArray[np.int64]:
    """Top, left, bottom and right of each box: (n, 4)."""
    return np.array([box.as_list() for box in boxes], np.int64).reshape(-1, 4)


def _in_view_first(edges: NDArray[np.integer], focus: Focus) -> Iterator[int]:
    """Indices of boxes, each once: boxes that touch the visible region first, then the others.

    Parameters
    ----------
    edges : (n, 4) int array
        Top, left, bottom and right of each box, on the fine grid.
    focus : callable
        Called before each index; boxes are searched again only when its result has changed.
    """
    left = np.ones(len(edges), bool)
    following = iter(range(len(edges)))
    in_view: deque[int] = deque()
    seen = None
    for _ in range(len(edges)):
        view = focus()
        if view != seen:
            seen = view
            touching = left & _touches(edges, view) if view is not None else left[:0]
            in_view = deque(np.flatnonzero(touching).tolist())
        index = in_view.popleft() if in_view else next(i for i in following if left[i])
        left[index] = False
        yield index


def _touches(edges: NDArray[np.integer], view: Box) -> NDArray[np.bool_]:
    """Mask of the boxes that share a pixel with `view`: (n,)."""
    top, left, bottom, right = edges.T
    rows = np.minimum(bottom, view.bottom) > np.maximum(top, view.top)
    return np.asarray(rows & (np.minimum(right, view.right) > np.maximum(left, view.left)))
