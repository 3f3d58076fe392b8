"""Eager torch, on any device that it knows."""

from __future__ import annotations

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from threading import Lock, RLock
from typing import TYPE_CHECKING

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from napari_twostage.errors import ModelError
from napari_twostage.models.card import halo_px
from napari_twostage.models.networks.fold import build_module

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_twostage.models.backends.base import Compute
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.card import Stage

BATCH_PX = 130_000
"""Pixels of one batch on a core; fewer are slower, more only take memory."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_BYTES = 1 << 30
"""Blocks that glibc keeps and reuses: what it gives back, the kernel must zero again."""
GPU_SHARE = 0.5
"""Share of a GPU's free memory that all batches in flight may take."""
GPU_MOST = 64
"""Maximum number of windows of a batch on a GPU; more do not make it faster."""
GPU_WORKERS = 2
"""Batches in flight on a GPU: one is computed while another's pixels and logits are copied."""
CUDNN = {"enabled": True, "deterministic": True, "allow_tf32": False}
"""Flags for true float32: TensorFloat-32 would change logits by a hundredth."""
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class EagerBackend:
    """Both networks in torch.

    On a processor each thread computes a batch of its own: threads that share an operation wait
    for each other at its end, and longer while another process holds one of their cores. On a GPU
    each batch in flight has a stream.

    Every call of a network sees the same batch shape; short batches are padded with zeros.
    Libraries choose their algorithm, and so their rounding, by shape, and a window's logits must
    not depend on the windows that are computed with it.

    Parameters
    ----------
    bundle : Bundle
    compute : Compute
        Its device is one of torch's.
    """

    concurrent_batches = 2

    def __init__(self, bundle: Bundle, compute: Compute) -> None:
        self.notices: list[str] = []
        self.threads = torch.get_num_threads()
        self._device = torch.device(compute.device)
        tune_allocator()  # before the first large tensor; OpenVINO keeps its own memory
        module = build_module(bundle).to(self._device)
        for network in (module.stage1, module.stage2):  # pixels are normalised in float32
            network.to(DTYPES[compute.precision])
        self._module = module
        self._card = bundle.card
        self._batches: dict[tuple[Stage, int], int] = {}
        self._sizing = RLock()
        self._flagged = Lock()
        if self._on_cuda:
            torch.cuda.synchronize(self._device)  # other streams do not wait for the weights
        at_once = {"cpu": self.threads, "cuda": GPU_WORKERS}
        self._n_workers = at_once.get(self._device.type, 1)
        self._workers = ThreadPoolExecutor(
            self._n_workers, "compute", initializer=_begin, initargs=(self._device,)
        )

    def batch(self, stage: Stage, side_px: int) -> int:
        """Number of windows that gives every worker a batch, by free memory on a GPU."""
        return self._each(stage, side_px) * self._n_workers

    def run(self, stage: Stage, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map (N, H, W, 3) pixels to outputs without the halo; batches are halved for memory."""
        side = max(windows.shape[1:3])
        while True:
            size = self._each(stage, side)
            batches = [windows[first : first + size] for first in range(0, len(windows), size)]
            parts = [self._workers.submit(self._compute, stage, batch, size) for batch in batches]
            try:
                return np.concatenate([part.result() for part in parts])
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _lacks_memory(error):
                    raise
                self._halve(stage, side, size)
            finally:
                _drop(parts)

    def _compute(self, stage: Stage, windows: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        stacked = torch.zeros((size, *windows.shape[1:]), dtype=torch.uint8)
        stacked[: len(windows)] = torch.from_numpy(windows)
        if self._on_cuda:
            stacked = stacked.pin_memory()
        with torch.inference_mode():
            pixels = stacked.to(self._device, non_blocking=True)
            with self._flags():
                run = self._module.coarse_maps if stage == "coarse" else self._module.refine_maps
                maps: Tensor = run(pixels, halo_px(self._card, stage))
            wanted = maps[: len(windows)].float()
            result: NDArray[np.float32] = wanted.cpu().numpy()  # waits for its stream
            return result

    @contextmanager
    def _flags(self) -> Iterator[None]:
        """Set cuDNN's flags, which are global, while work is queued on a GPU."""
        if not self._on_cuda:
            yield
            return
        with self._flagged, torch.backends.cudnn.flags(**CUDNN):
            yield

    def _each(self, stage: Stage, side_px: int) -> int:
        """Number of windows of one batch."""
        key = (stage, side_px)
        with self._sizing:
            if key not in self._batches:
                self._batches[key] = self._fitting(stage, side_px)
            return self._batches[key]

    def _fitting(self, stage: Stage, side_px: int) -> int:
        if not self._on_cuda:
            return max(1, BATCH_PX // side_px**2)
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        window = np.zeros((1, side_px, side_px, 3), np.uint8)
        self._workers.submit(self._compute, stage, window, 1).result()
        each = torch.cuda.max_memory_allocated(self._device) - before
        free, _ = torch.cuda.mem_get_info(self._device)
        fitting = max(1, min(GPU_MOST, int(free * GPU_SHARE / self._n_workers / each)))
        return 1 << (fitting.bit_length() - 1)  # a power of two is stable under small changes

    def _halve(self, stage: Stage, side_px: int, size: int) -> None:
        """Halve a batch size that was too large, unless another thread has done so."""
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


def tune_allocator() -> bool:
    """Make glibc reuse large blocks; call it before the first large tensor is made.

    Returns
    -------
    bool
        Whether the C library took both settings; other systems than Linux do not have glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False  # another C library, such as musl
    return bool(mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)) and bool(
        mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)
    )


def _begin(device: torch.device) -> None:
    """Give a worker its own stream of a GPU, or one core, without changing other threads."""
    if device.type == "cuda":
        torch.cuda.set_stream(torch.cuda.Stream(device))
    elif device.type == "cpu":
        torch.get_num_threads()  # torch sets OpenMP's number once, when a thread first asks
        threadpool_limits(1, user_api="openmp")
        with suppress(OSError, AttributeError):  # a torch without MKL, or one that hides it
            ctypes.CDLL(_torch_library()).MKL_Set_Num_Threads_Local(1)


def _torch_library() -> str:
    """Path of the extension module that links to torch's other libraries."""
    spec = find_spec("torch._C")
    return spec.origin if spec and spec.origin else ""


def _drop(parts: list[Future[NDArray[np.float32]]]) -> None:
    """Cancel batches after an error, and wait for those that have begun."""
    for part in parts:
        part.cancel()
    wait(parts)


def _lacks_memory(error: BaseException) -> bool:
    """Whether an error means a lack of memory; on a CPU torch has no class for it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return "not enough memory" in text or "can't allocate memory" in text
