"""Loaded model: its card, and both networks on a backend."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import ModelError
from napari_twostage.models import backends
from napari_twostage.models.backends import AUTO
from napari_twostage.models.card import window_px

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.card import ModelCard, Stage


class Model:
    """Both stages, ready to run; a window's logits depend on its pixels only.

    Parameters
    ----------
    bundle : Bundle
        Card and weights.
    device : str
        One of `backends.DEVICES`, or torch's name for a device.
    precision : str
        One of `backends.PRECISIONS`, or ``auto``.
    begun : str, optional
        Precision of labels that are gone on with, which ``auto`` keeps.

    Raises
    ------
    ModelError
        If the weights are not finite or do not fit the architecture, or the device or a package
        is missing.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        precision: str = AUTO,
        *,
        begun: str | None = None,
    ) -> None:
        bundle.require_finite()
        self.bundle = bundle
        self.card: ModelCard = bundle.card
        self.compute = backends.choose_for(bundle, device, precision, begun)
        """Backend, device and precision, and the reason for them."""
        self._device, self._precision = device, precision
        self._kept: dict[str, Model] = {}
        self._backend = backends.start(bundle, self.compute)
        self._warm: set[Stage] = set()

    def in_precision_of(self, begun: str) -> Model:
        """Model that goes on with labels that were begun in a precision.

        That is this one, unless its precision is ``auto`` and happens to be another: labels must
        not depend on the machine that a run is resumed on.

        Raises
        ------
        ModelError
            If the device does not compute in that precision.
        """
        if self._precision != AUTO or begun == self.compute.precision:
            return self
        if begun not in self._kept:
            try:
                self._kept[begun] = Model(self.bundle, self._device, begun=begun)
            except ModelError as error:
                raise ModelError(
                    f"the result was begun in {begun}: {error}, which changes labels a little, or "
                    "go on where it was begun"
                ) from error
        return self._kept[begun]

    @property
    def concurrent_batches(self) -> int:
        """Number of batches in flight, each from its own thread, that keep the backend busy."""
        return self._backend.concurrent_batches

    @property
    def coarse_batch(self) -> int:
        """Best number of windows for one call of `coarse`."""
        return self._backend.batch("coarse", self.side_px("coarse"))

    @property
    def refine_batch(self) -> int:
        """Best number of windows for one call of `refine`."""
        return self._backend.batch("refine", self.side_px("refine"))

    def side_px(self, stage: Stage) -> int:
        """Side of a stage's windows, halo included, in the pixels that they are read at."""
        return window_px(self.card, stage)

    def coarse(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Stage 1 over windows.

        Parameters
        ----------
        windows : sequence of (H, W, 3) uint8 arrays
            Any number, all of one shape.

        Returns
        -------
        (N, C, H - 2 halo, W - 2 halo) float32 array
            The card's `channels` without its `coarse_halo_px` at each side: calibrated logits, and
            the object output as it is.
        """
        maps = self._run("coarse", windows)
        maps[:, : self.card.outputs] /= np.float32(self.card.temperature)
        return maps

    def refine(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Stage 2 over windows of one shape: channels without the card's `halo_px` at each side."""
        return self._run("refine", windows)

    def warm_up(self, stage: Stage) -> None:
        """Compute an empty window unless one was computed: the first one allocates and compiles."""
        if stage not in self._warm:
            side = self.side_px(stage)
            self._run(stage, [np.zeros((side, side, 3), np.uint8)])

    @property
    def threads(self) -> int:
        """Number of threads that the backend keeps busy."""
        return self._backend.threads

    @property
    def notices(self) -> list[str]:
        """Events that a run's record should state, such as a batch that had to be halved."""
        return list(self._backend.notices)

    @cached_property
    def seconds_per_window(self) -> float:
        """Seconds of stage 1 per window on this machine, measured once, as `seconds_per_tile`."""
        return self._seconds_per_window("coarse", self.coarse_batch)

    @cached_property
    def seconds_per_tile(self) -> float:
        """Seconds of stage 2 per tile on this machine, measured once: median of three batches."""
        return self._seconds_per_window("refine", self.refine_batch)

    def _seconds_per_window(self, stage: Stage, batch: int) -> float:
        side = self.side_px(stage)
        windows = [np.zeros((side, side, 3), np.uint8)] * batch
        self._run(stage, windows)  # the first call allocates and plans
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            self._run(stage, windows)
            seconds.append(time.perf_counter() - started)
        return float(np.median(seconds)) / batch

    def _run(self, stage: Stage, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        logits = self._backend.run(stage, np.stack(windows))
        self._warm.add(stage)
        return logits
