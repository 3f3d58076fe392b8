"""A loaded model: card, networks, device, and fixed batches through them."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_twostage.errors import ModelError
from napari_twostage.models.build import build_two_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.card import ModelCard
    from napari_twostage.models.two_stage import TwoStage

BATCH_PX = 300_000
"""Pixels of one batch: enough to fill two to eight cores, little enough for 1 GiB."""


class Model:
    """Both stages, ready to run.

    Every call of a network sees the same batch shape, short batches filled up with zeros:
    libraries choose their algorithm, and so their rounding, by shape, and a tile's labels must
    not depend on what was computed with it.

    Parameters
    ----------
    bundle : Bundle
        Card and weights.
    device : str
        ``auto``, or what torch calls it: ``cpu``, ``cuda``, ``mps``.

    Raises
    ------
    ModelError
        If the weights do not fit the architecture, or the device is not there.
    """

    def __init__(self, bundle: Bundle, device: str = "auto") -> None:
        self.bundle = bundle
        self.card: ModelCard = bundle.card
        self.device = pick_device(device)
        self._module = _module(bundle).to(self.device)
        window = self.card.tile_px + 2 * self.card.halo_px
        self.coarse_batch = max(1, BATCH_PX // self.card.coarse_window_px**2)
        self.refine_batch = max(1, BATCH_PX // window**2)

    def coarse(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Stage 1 over windows.

        Parameters
        ----------
        windows : sequence of (H, W, 3) uint8 arrays
            All of one shape; at most `coarse_batch` of them.

        Returns
        -------
        (N, K, H, W) float32 array
            Calibrated logits.
        """
        logits = self._run(self._module.coarse, windows, self.coarse_batch)
        return logits / np.float32(self.card.temperature)

    def refine(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Stage 2 over windows: at most `refine_batch` of one shape, to (N, K, H, W) logits."""
        return self._run(self._module.refine, windows, self.refine_batch)

    @property
    def threads(self) -> int:
        """Threads of one operation; with another number the last bits of logits differ."""
        return torch.get_num_threads()

    @cached_property
    def seconds_per_tile(self) -> float:
        """Stage 2's time for a tile on this machine, measured once: the median of three batches."""
        side = self.card.tile_px + 2 * self.card.halo_px
        windows = [np.zeros((side, side, 3), np.uint8)] * self.refine_batch
        self.refine(windows)  # the first call allocates and plans
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            self.refine(windows)
            seconds.append(time.perf_counter() - started)
        return float(np.median(seconds)) / self.refine_batch

    def _run(
        self,
        network: Callable[[Tensor], Tensor],
        windows: Sequence[NDArray[np.uint8]],
        batch: int,
    ) -> NDArray[np.float32]:
        stacked = np.zeros((batch, *windows[0].shape), np.uint8)
        stacked[: len(windows)] = windows
        with torch.inference_mode():
            logits = network(torch.from_numpy(stacked).to(self.device))
        result: NDArray[np.float32] = logits[: len(windows)].float().cpu().numpy()
        return result


def pick_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes CUDA or MPS where there is one, else the CPU."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"device '{name}' cannot be used here: {reason}; try cpu") from error
    return device


def _module(bundle: Bundle) -> TwoStage:
    module = build_two_stage(bundle.card)
    try:
        module.load_state_dict(bundle.tensors())
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ModelError(
            f"{bundle.source}: weights do not fit the architecture: {reason}"
        ) from error
    module.eval().requires_grad_(requires_grad=False)
    fold_normalisation(module)
    return module.to(memory_format=torch.channels_last)


def fold_normalisation(module: nn.Module) -> None:
    """Fold each batch normalisation into the convolution before it, in place."""
    for child in module.modules():
        if not isinstance(child, torch.nn.Sequential):
            continue
        for index in range(len(child) - 1):
            first, second = child[index], child[index + 1]
            if isinstance(first, torch.nn.Conv2d) and isinstance(second, torch.nn.BatchNorm2d):
                child[index] = fuse_conv_bn_eval(first, second)
                child[index + 1] = torch.nn.Identity()
