"""OpenVINO on a CPU: both networks compiled, for windows of one shape each.

A window is a request of its own, computed by one thread; as many are computed at once as there are
threads. That is faster than batches, whose threads wait for each other at every layer, and it makes
a window's logits the same whatever was computed beside it and however many threads there are.
Twice as many requests are there: one call's windows wait in line when the other's end, so that
no thread is idle between two calls.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections import deque
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import openvino as ov
import platformdirs

from napari_twostage.errors import ModelError
from napari_twostage.models.backends.base import halo_px
from napari_twostage.models.backends.choice import multiplies
from napari_twostage.models.machine import thread_count
from napari_twostage.models.quantised import unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.models.backends.base import Compute, Stage
    from napari_twostage.models.backends.conversion import Converter
    from napari_twostage.models.bundle import Bundle

Requests: TypeAlias = "SimpleQueue[ov.InferRequest]"

BATCH_PX = 300_000
"""Pixels of one call: enough for two to eight cores, little enough for 1 GiB."""
CONVERTED = "network.xml"
COMPILING = Lock()
"""One at a time in a process, whatever the model."""
GRAPH = 2
"""To be raised when we build another graph of the same bundle: halo and folding are part of it."""
KEPT = 24
"""Converted networks that stay on disk, some 13 MB each; those that nobody used for longest go."""


class OpenVinoBackend:
    """Both networks in OpenVINO.

    Converting takes seconds, so what was converted is kept in the user's cache folder, by the
    hash of the bundle and the shape of its windows. Networks in 8-bit integers come with the
    bundle; what of them is not in integers is computed in bf16 where the CPU has it.

    Parameters
    ----------
    bundle : Bundle
    compute : Compute
    """

    abreast = 2

    def __init__(self, bundle: Bundle, compute: Compute) -> None:
        self.notices: list[str] = []
        self.threads = thread_count()
        self._bundle = bundle
        self._precision = compute.precision
        self._core = ov.Core()
        self._idle: dict[tuple[Stage, tuple[int, ...]], Requests] = {}
        self._quantised = unpack(bundle) if compute.precision == "int8" else None
        if not (self._quantised or any(cache_folder().glob(f"{bundle.sha256[:16]}*"))):
            _ = self._converter  # weights that do not fit are refused now, not in a run

    def batch(self, stage: Stage, side_px: int) -> int:  # noqa: ARG002 - both stages alike
        """Windows that keep all threads busy, with little waiting at the end."""
        rounds = max(1, BATCH_PX // side_px**2 // self.threads)
        return rounds * self.threads

    def run(self, stage: Stage, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, H, W, 3) pixels to logits of all but the halo."""
        idle = self._requests(stage, windows.shape[1:])
        logits: list[NDArray[np.float32]] = []
        started: deque[ov.InferRequest] = deque()

        def finish() -> None:
            request = started.popleft()
            try:
                request.wait()
                logits.append(request.get_output_tensor(0).data[0].copy())
            finally:
                idle.put(request)

        try:
            for index in range(len(windows)):
                while (request := _next(idle, wait=not started)) is None:
                    finish()
                started.append(request)
                request.start_async({0: windows[index : index + 1]}, share_inputs=True)
            while started:
                finish()
        finally:  # after an error; `windows` must outlive what reads them
            while started:
                with suppress(RuntimeError):
                    finish()
        return np.stack(logits)

    def _requests(self, stage: Stage, shape: tuple[int, ...]) -> Requests:
        """Those that nobody uses, of the network for windows of a shape."""
        key = (stage, shape)
        with COMPILING:
            if key not in self._idle:
                network = self._compiled(stage, shape)
                idle: Requests = SimpleQueue()
                for _ in range(self.abreast * self.threads):
                    idle.put(network.create_infer_request())
                _try_out(idle, shape)
                self._idle[key] = idle
        return self._idle[key]

    def _compiled(self, stage: Stage, shape: tuple[int, ...]) -> ov.CompiledModel:
        precision = self._precision
        if self._quantised:
            network = self._core.read_model(*self._quantised[stage])
            network.reshape([1, *shape])
            self._require_core(network, stage, shape)
            precision = "bf16" if multiplies("bf16") else "f32"
        else:
            network = self.network(stage, shape)
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": self.threads,
        }
        return self._core.compile_model(network, "CPU", options)

    def _require_core(self, network: ov.Model, stage: Stage, shape: tuple[int, ...]) -> None:
        expected = [side - 2 * self._halo(stage) for side in shape[:2]]
        found = list(network.output(0).shape)[2:]
        if found != expected:
            raise ModelError(
                f"{self._bundle.source}: its networks in 8-bit integers give {found} pixels where "
                f"{expected} are wanted; run `napari-twostage quantise` again"
            )

    def _halo(self, stage: Stage) -> int:
        return halo_px(self._bundle.card, stage)

    def network(self, stage: Stage, shape: tuple[int, ...]) -> ov.Model:
        """Convert a stage for windows of a (H, W, 3) shape, or take what was converted before."""
        sizes = "x".join(str(side) for side in shape[:2])
        # of the versions, too: what another one converted may not be what this one would
        makers = f"{ov.__version__} {version('torch')} {GRAPH}"
        versions = hashlib.sha256(makers.encode()).hexdigest()
        name = f"{self._bundle.sha256[:16]}-{stage}-{sizes}-{versions[:8]}"
        kept = cache_folder() / name
        with suppress(RuntimeError, OSError):  # absent, or damaged: it is made again
            network = self._core.read_model(kept / CONVERTED)
            with suppress(OSError):
                kept.touch()  # what is in use is the last to go
            return network
        network = self._converter.convert(stage, self._halo(stage), shape)
        # read back even now: what was not written yet is compiled into slightly other sums
        with tempfile.TemporaryDirectory() as folder:
            ov.save_model(network, Path(folder) / CONVERTED, compress_to_fp16=False)
            with suppress(OSError):  # a full or read-only disk costs time, and nothing else
                _keep(Path(folder), kept)
            return self._core.read_model(Path(folder) / CONVERTED)

    @cached_property
    def _converter(self) -> Converter:
        # only where there is something to convert: torch is half a gigabyte and three seconds
        from napari_twostage.models.backends.conversion import Converter

        return Converter(self._bundle)


def _try_out(idle: Requests, shape: tuple[int, ...]) -> None:
    """Compute a window once, alone.

    OpenVINO's binding sets itself up with the first array it meets, and two threads that both
    come first wait for each other for ever.
    """
    request = idle.get()
    request.infer({0: np.zeros((1, *shape), np.uint8)}, share_inputs=True)
    _ = request.get_output_tensor(0).data[0].copy()
    idle.put(request)


def _next(idle: Requests, *, wait: bool) -> ov.InferRequest | None:
    """An idle request, or None where there is none and it is not to be waited for."""
    try:
        return idle.get(block=wait)
    except Empty:
        return None


def cache_folder() -> Path:
    """Where converted networks are kept."""
    return platformdirs.user_cache_path("napari-twostage") / "openvino"


def _keep(converted: Path, kept: Path) -> None:
    """Copy a converted network into the cache in one step, and drop some of too many."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=kept.parent, prefix=".partial-"))
    shutil.copytree(converted, unfinished, dirs_exist_ok=True)
    shutil.rmtree(kept, ignore_errors=True)  # only what could not be read
    try:
        unfinished.rename(kept)
    except OSError:  # another process was first
        shutil.rmtree(unfinished)
    entries = sorted(kept.parent.iterdir(), key=lambda entry: entry.stat().st_mtime)
    for old in entries[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
