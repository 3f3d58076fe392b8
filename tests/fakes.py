"""A model without weights and slides without files, for unit tests of the engine."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter

from napari_twostage.errors import ReadError
from napari_twostage.geometry import Box, Grid
from napari_twostage.models.backends.base import Compute
from napari_twostage.models.bundle import Bundle
from napari_twostage.models.card import LabelClass, ModelCard
from napari_twostage.slides import open_slide
from napari_twostage.slides.base import Slide, reflected

CLASSES = (LabelClass("nucleus", "#ffcc00", 1), LabelClass("gland", "#2ca02c", 2))
MPP = 0.5


def make_card(**changes: Any) -> ModelCard:
    """Make a small card: tiles of 16 pixels with a halo of 4, four coarse tiles per window."""
    values: dict[str, Any] = {
        "name": "fake",
        "version": "1",
        "description": "thresholds",
        "architecture": {"name": "none"},
        "classes": CLASSES[:1],
        "fine_mpp": MPP,
        "mpp_range": (0.4, 0.6),
        "ratio": 4,
        "tile_px": 16,
        "halo_px": 4,
        "coarse_window_px": 12,
        "coarse_halo_px": 2,
        "context": True,  # as the results in tests/fixtures have it
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "default_threshold": 0.5,
        "refinement_gain": 0.5,
        "training_data": "none",
        "licence": "CC0",
    }
    return ModelCard(**{**values, **changes})


class FakeModel:
    """Model that thresholds box-filtered pixels: red for the first class, green for the second.

    Parameters
    ----------
    card : ModelCard, optional
    looks_far : bool
        Let a refined pixel depend on its whole window, as with most networks.
    refine_batch : int
        Windows that `refine` takes at most.
    concurrent_batches : int
        Threads that a run computes in.
    """

    compute = Compute("fake", "1", "cpu", "f32", "it is enough for a test")
    notices: tuple[str, ...] = ()
    threads = 1
    coarse_batch = 3
    seconds_per_tile = 0.25
    seconds_per_window = 0.5

    def __init__(
        self,
        card: ModelCard | None = None,
        *,
        looks_far: bool = False,
        refine_batch: int = 3,
        concurrent_batches: int = 1,
    ) -> None:
        self.card = card or make_card()
        self.bundle = Bundle(self.card, b"no weights", "fake")
        self.refine_batch = refine_batch
        self.concurrent_batches = concurrent_batches
        self.looks_far = looks_far
        self.calls = 0

    def warm_up(self, stage: str) -> None:
        """Do nothing: there is nothing to compile."""

    def coarse(self, windows: list[np.ndarray]) -> np.ndarray:
        """Uncertain logits of stage 1: 8 grey levels per unit."""
        assert len(windows) <= self.coarse_batch
        assert {w.shape for w in windows} == {(self.card.coarse_window_px,) * 2 + (3,)}
        maps = _without_halo(
            self.card.coarse_halo_px, [self._logits(window) / 8 for window in windows]
        )
        if self.card.gain_output:  # something that differs from place to place
            maps = np.concatenate([maps, maps[:, :1] / 4 - 2], axis=1)
        return maps

    def refine(self, windows: list[np.ndarray]) -> np.ndarray:
        """Certain logits of stage 2: one grey level per unit; see `looks_far`."""
        assert len(windows) <= self.refine_batch
        assert len({window.shape for window in windows}) == 1
        self.calls += 1
        logits = _without_halo(self.card.halo_px, [self._logits(window) for window in windows])
        if self.looks_far:
            means = [window.mean(dtype=np.float64) - 128 for window in windows]
            logits += np.array(means, np.float32)[:, None, None, None]
        return logits

    def _logits(self, window: np.ndarray) -> np.ndarray:
        count = len(self.card.classes)
        means = uniform_filter(window.astype(np.float64), size=(5, 5, 1))[..., :count]
        # the rounding of the filter's running sums depends on the window; 25 means are an integer
        above = np.moveaxis(np.rint(25 * means) - 25 * 128, -1, 0).astype(np.float32) / 25
        if count == 1:
            return above
        return np.concatenate([np.zeros_like(above[:1]), above])


def _without_halo(halo: int, logits: list[np.ndarray]) -> np.ndarray:
    return np.stack(
        [each[:, halo : each.shape[1] - halo, halo : each.shape[2] - halo] for each in logits]
    )


def noise(height: int, width: int, *, seed: int = 0, blob_px: int = 9) -> np.ndarray:
    """RGB noise with structures of about `blob_px` pixels, half of the pixels above 128."""
    rng = np.random.default_rng(seed)
    smooth = uniform_filter(rng.normal(size=(height, width, 3)), size=(blob_px, blob_px, 1))
    return np.rint((128 + 60 * smooth / smooth.std()).clip(0, 255)).astype(np.uint8)


def noise_slide(height: int = 70, width: int = 90, *, seed: int = 0) -> Slide:
    """Slide of one level with the pixels of `noise`."""
    return open_slide(noise(height, width, seed=seed), mpp=MPP)


def damage(slide: Slide, box: Box) -> None:
    """Make all later reads of level 0 that touch a box fail."""
    read = slide._read_inside

    def read_or_fail(wanted: Box, level: int) -> np.ndarray:
        if level == 0 and wanted.intersect(box).area:
            raise ReadError(f"{slide.name}: {box} is damaged")
        return read(wanted, level)

    slide._read_inside = read_or_fail  # type: ignore[method-assign]


class FakeReader:
    """Reader of an array that records the boxes read; boxes that touch `damaged` fail."""

    def __init__(self, pixels: np.ndarray, damaged: Box | None = None) -> None:
        self.pixels = pixels
        self.grid = Grid(pixels.shape[:2], (1.0, 1.0), (MPP, MPP))
        self.damaged = damaged
        self.read_boxes: list[Box] = []
        self._lock = threading.Lock()

    def read(self, box: Box) -> np.ndarray:
        """Read pixels, reflected beyond the edges."""
        with self._lock:
            self.read_boxes.append(box)
        if self.damaged and self.damaged.intersect(box).area:
            raise ReadError("damaged")
        height, width = self.grid.shape
        rows = reflected(box.top, box.bottom, height)
        return self.pixels[np.ix_(rows, reflected(box.left, box.right, width))]
