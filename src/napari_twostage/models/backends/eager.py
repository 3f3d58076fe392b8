"""torch, operation by operation, on any device that it knows."""

from __future__ import annotations

from contextlib import nullcontext
from queue import SimpleQueue
from threading import Lock, RLock
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_twostage.errors import ModelError
from napari_twostage.models.allocator import tune_allocator
from napari_twostage.models.backends.base import BATCH_PX
from napari_twostage.models.module import build_module

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.models.backends.base import Compute, Stage
    from napari_twostage.models.bundle import Bundle

GPU_SHARE = 0.5
"""Of the memory that is free on a GPU, for all batches under way."""
GPU_MOST = 64
"""Windows of a batch on a GPU: more do not make it faster."""
GPU_ABREAST = 2
"""Batches under way on a GPU: one is computed while another's pixels and logits are copied."""
CUDNN = {"enabled": True, "deterministic": True, "allow_tf32": False}
"""What is called float32 is: TensorFloat-32 would move logits by a hundredth."""
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class EagerBackend:
    """Both networks in torch.

    Every call of a network sees the same batch shape, short batches filled up with zeros:
    libraries choose their algorithm, and so their rounding, by shape, and a window's logits must
    not depend on what was computed with it.

    Parameters
    ----------
    bundle : Bundle
    compute : Compute
        With a device that torch knows.
    """

    def __init__(self, bundle: Bundle, compute: Compute) -> None:
        self.notices: list[str] = []
        self._device = torch.device(compute.device)
        tune_allocator()  # before the first large tensor; OpenVINO keeps its own memory
        module = build_module(bundle).to(self._device)
        for network in (module.stage1, module.stage2):  # pixels are normalised in float32
            network.to(DTYPES[compute.precision])
        self._module = module
        self._batches: dict[tuple[Stage, int], int] = {}
        self._sizing = RLock()
        self._computing = Lock()
        self._lanes: SimpleQueue[AbstractContextManager[object]] = SimpleQueue()
        if self._on_cuda:
            torch.cuda.synchronize(self._device)  # other streams do not wait for the weights
        for _ in range(self.abreast):
            stream = torch.cuda.Stream(self._device) if self._on_cuda else None
            self._lanes.put(torch.cuda.stream(stream) if stream else nullcontext())

    @property
    def abreast(self) -> int:
        """On a CPU one operation has all threads."""
        return GPU_ABREAST if self._on_cuda else 1

    @property
    def threads(self) -> int:
        """Threads of one operation; with another number the last bits of logits differ."""
        return torch.get_num_threads()

    def batch(self, stage: Stage, side_px: int) -> int:
        """Windows of one batch: fixed on a CPU, by free memory on a GPU."""
        key = (stage, side_px)
        with self._sizing:
            if key not in self._batches:
                self._batches[key] = self._fitting(stage, side_px)
            return self._batches[key]

    def run(self, stage: Stage, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, H, W, 3) pixels to (N, K, H, W) logits; out of memory, the batch is halved."""
        side = max(windows.shape[1:3])
        while True:
            size = self.batch(stage, side)
            try:
                parts = [
                    self._run_batch(stage, windows[first : first + size], size)
                    for first in range(0, len(windows), size)
                ]
                return np.concatenate(parts)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _lacks_memory(error):
                    raise
                self._halve(stage, side, size)

    def _run_batch(
        self, stage: Stage, windows: NDArray[np.uint8], size: int
    ) -> NDArray[np.float32]:
        stacked = torch.zeros((size, *windows.shape[1:]), dtype=torch.uint8)
        stacked[: len(windows)] = torch.from_numpy(windows)
        if self._on_cuda:
            stacked = stacked.pin_memory()
        lane = self._lanes.get()
        try:
            with lane, torch.inference_mode():
                pixels = stacked.to(self._device, non_blocking=True)
                # the flags are the process's, and a GPU only queues what is asked for in here
                with self._computing, torch.backends.cudnn.flags(**CUDNN):
                    logits: Tensor = getattr(self._module, stage)(pixels)[: len(windows)]
                result: NDArray[np.float32] = logits.float().cpu().numpy()  # waits for its stream
                return result
        finally:
            self._lanes.put(lane)

    def _fitting(self, stage: Stage, side_px: int) -> int:
        if not self._on_cuda:
            return max(1, BATCH_PX // side_px**2)
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        self._run_batch(stage, np.zeros((1, side_px, side_px, 3), np.uint8), 1)
        each = torch.cuda.max_memory_allocated(self._device) - before
        free, _ = torch.cuda.mem_get_info(self._device)
        fitting = max(1, min(GPU_MOST, int(free * GPU_SHARE / self.abreast / each)))
        return 1 << (fitting.bit_length() - 1)  # a power of two, which small changes leave alone

    def _halve(self, stage: Stage, side_px: int, size: int) -> None:
        """Take half of a size that was too much, unless another thread did so meanwhile."""
        with self._sizing:
            if self._batches[stage, side_px] != size:
                return
            if size == 1:
                raise ModelError(
                    f"{self._device} has too little memory for one window of {side_px} pixels; "
                    "close other programs, or take --device cpu"
                )
            half = self._batches[stage, side_px] = size // 2
            self.notices.append(f"out of memory: {stage} in batches of {half} in place of {size}")
        if self._on_cuda:
            torch.cuda.empty_cache()

    @property
    def _on_cuda(self) -> bool:
        return self._device.type == "cuda"


def _lacks_memory(error: BaseException) -> bool:
    """Whether an error says that memory was too little; torch has no class of its own on a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return "not enough memory" in text or "can't allocate memory" in text
