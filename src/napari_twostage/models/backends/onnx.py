"""ONNX networks on a CPU, by OpenVINO or onnxruntime: one network, which is both stages.

A window is a request of its own, computed by one thread, as in `openvino`: its logits depend on
its pixels only.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import ModelError
from napari_twostage.models.backends.choice import thread_count
from napari_twostage.models.backends.onnx_engines import start_engine
from napari_twostage.models.card import halo_px
from napari_twostage.models.onnx_models.convention import Convention, logits_of, network_input
from napari_twostage.models.onnx_models.network import read_network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.models.backends.base import Compute
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.card import Stage

BATCH_PX = 300_000
"""Pixels of one call, as for other networks on a CPU."""


class OnnxBackend:
    """Network of both stages, from an ONNX file.

    Parameters
    ----------
    bundle : Bundle
        Its weights are an ONNX file.
    compute : Compute

    Raises
    ------
    ModelError
        If the file or the card's convention is unusable.
    """

    concurrent_batches = 2

    def __init__(self, bundle: Bundle, compute: Compute) -> None:
        self.notices: list[str] = []
        self.threads = thread_count()
        self._card = bundle.card
        self._convention = Convention.of(bundle.card)
        self._dtype = read_network(bundle.weights, bundle.source).inputs[0].dtype
        self._engine = start_engine(bundle.weights, bundle.source, compute, self.threads)
        self._workers = ThreadPoolExecutor(self.threads, "compute")

    def batch(self, stage: Stage, side_px: int) -> int:  # noqa: ARG002 - both stages alike
        """Number of windows that keeps all threads busy."""
        rounds = max(1, BATCH_PX // side_px**2 // self.threads)
        return rounds * self.threads

    def run(self, stage: Stage, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map (N, H, W, 3) pixels to logits without the halo."""
        compute = partial(self._compute, halo_px(self._card, stage))
        return np.stack(list(self._workers.map(compute, windows)))

    def _compute(self, halo: int, window: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = network_input(window, self._convention, self._card, self._dtype)
        output = self._engine.run(pixels, self._convention.output)
        logits = logits_of(output, self._convention, halo)
        expected = (self._card.outputs, *(side - 2 * halo for side in window.shape[:2]))
        if logits.shape != expected:
            raise ModelError(
                f"the ONNX network of model {self._card.name} gives maps of {logits.shape} where "
                f"{expected} are wanted; import it again"
            )
        return logits
