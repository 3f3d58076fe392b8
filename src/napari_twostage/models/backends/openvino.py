"""OpenVINO on a CPU: both networks compiled, for windows of one shape each.

A window is a request of its own, computed by one thread, and every thread computes another window.
That is faster than batches, whose threads wait for each other at every layer, and it makes a
window's logits independent of its neighbours and of the number of threads. There are requests for
all windows of all calls at once: a call queues its windows before it waits for the first, so that
no thread of OpenVINO waits for the interpreter, which other threads hold for milliseconds.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
from collections import deque
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import platformdirs

from napari_twostage.errors import ModelError
from napari_twostage.models.backends.choice import INSTALL_TORCH, thread_count
from napari_twostage.models.backends.precision import multiplies
from napari_twostage.models.backends.quiet_openvino import import_openvino
from napari_twostage.models.card import channels, halo_px
from napari_twostage.models.converted import read_converted, read_quantised

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino as ov
    from numpy.typing import NDArray

    from napari_twostage.models.backends.base import Compute
    from napari_twostage.models.backends.conversion import Converter
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.card import Stage
else:
    ov = import_openvino()

Requests: TypeAlias = "SimpleQueue[ov.InferRequest]"

BATCH_PX = 300_000
"""Pixels of one call: enough for two to eight cores within 1 GiB."""
CACHED = "network.xml"
COMPILING = Lock()
"""Held while a network is compiled: one at a time in a process, whatever the model."""
GRAPH = 3
"""Version of our graphs; raise it when another graph is built of the same bundle."""
MOST_VALUES = 1 << 27
"""Values of the largest map of a network: 128 channels of the largest window."""
KEPT = 24
"""Converted networks that stay on disk, some 13 MB each; the least recently used are deleted."""


class OpenVinoBackend:
    """Both networks in OpenVINO.

    Converted networks come with the bundle. If it has none in floating point, its weights are
    converted by torch; that takes seconds, so the result is kept in the user's cache folder, by the
    hash of the bundle and the shape of its windows. Networks in 8-bit integers always come with
    the bundle; their other operations are computed in bf16 if the CPU has it.

    Parameters
    ----------
    bundle : Bundle
    compute : Compute

    Raises
    ------
    ModelError
        If converted networks are missing or unusable, or weights do not fit the architecture.
    """

    concurrent_batches = 2

    def __init__(self, bundle: Bundle, compute: Compute) -> None:
        self.notices: list[str] = []
        self.threads = thread_count()
        self._bundle = bundle
        self._precision = compute.precision
        self._core = ov.Core()
        self._idle: dict[tuple[Stage, tuple[int, ...]], Requests] = {}
        self._quantised = compute.precision == "int8"
        self._bundled = read_quantised(bundle) if self._quantised else read_converted(bundle)
        if self._bundled is None:
            _require_torch(bundle)
            if not any(cache_folder().glob(f"{bundle.sha256[:16]}*")):
                _ = self._converter  # weights that do not fit are refused now, not in a run

    def batch(self, stage: Stage, side_px: int) -> int:  # noqa: ARG002 - both stages alike
        """Number of windows that keeps all threads busy, with little waiting at the end."""
        rounds = max(1, BATCH_PX // side_px**2 // self.threads)
        return rounds * self.threads

    def run(self, stage: Stage, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map (N, H, W, 3) pixels to the networks' outputs without the halo."""
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
        finally:  # after an error; `windows` must outlive the requests that read them
            while started:
                with suppress(RuntimeError):
                    finish()
        return np.stack(logits)

    def _requests(self, stage: Stage, shape: tuple[int, ...]) -> Requests:
        """Idle requests of the network for windows of a shape."""
        key = (stage, shape)
        with COMPILING:
            if key not in self._idle:
                with self._unusable_as_model_error():
                    network = self._compiled(stage, shape)
                    idle: Requests = SimpleQueue()
                    for _ in range(self.concurrent_batches * self.batch(stage, max(shape[:2]))):
                        idle.put(network.create_infer_request())
                    _try_out(idle, shape)
                self._idle[key] = idle
        return self._idle[key]

    @contextmanager
    def _unusable_as_model_error(self) -> Iterator[None]:
        """Turn what OpenVINO says about a network that it cannot read or run into one line."""
        try:
            yield
        except RuntimeError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise ModelError(
                f"{self._bundle.source}: OpenVINO cannot run its networks ({reason[:150]}); get "
                "the model again, or take --device cpu"
            ) from error

    def _compiled(self, stage: Stage, shape: tuple[int, ...]) -> ov.CompiledModel:
        precision = self._precision
        if self._quantised:
            precision = "bf16" if multiplies("bf16", "openvino") else "f32"
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": self.threads,
        }
        return self._core.compile_model(self.network(stage, shape), "CPU", options)

    def network(self, stage: Stage, shape: tuple[int, ...]) -> ov.Model:
        """Network of a stage for windows of a (H, W, 3) shape.

        Raises
        ------
        ModelError
            If the bundle's networks do not fit that shape and cannot be converted anew.
        """
        if self._bundled is None:
            return self._cached(stage, shape)
        network = self._core.read_model(*self._bundled[stage])
        with suppress(RuntimeError):  # a network of fixed shape, which is checked next
            network.reshape([1, *shape])
        card = self._bundle.card
        halo = halo_px(card, stage)
        expected = [1, channels(card, stage), *(side - 2 * halo for side in shape[:2])]
        found = list(network.output(0).shape)
        if found == expected and is_moderate(network):
            return network
        if self._quantised:
            raise ModelError(
                f"{self._bundle.source}: its networks in 8-bit integers give maps of {found} where "
                f"{expected} are wanted; run `napari-twostage quantise` again"
            )
        _require_torch(self._bundle)
        return self._cached(stage, shape)

    def _cached(self, stage: Stage, shape: tuple[int, ...]) -> ov.Model:
        """Network converted by torch, now or earlier."""
        sizes = "x".join(str(side) for side in shape[:2])
        # other versions may convert the same weights into another graph
        makers = f"{ov.__version__} {version('torch')} {GRAPH}"
        versions = hashlib.sha256(makers.encode()).hexdigest()
        name = f"{self._bundle.sha256[:16]}-{stage}-{sizes}-{versions[:8]}"
        kept = cache_folder() / name
        with suppress(RuntimeError, OSError):  # absent, or damaged: it is made again
            network = self._core.read_model(kept / CACHED)
            with suppress(OSError):
                kept.touch()  # the least recently used are deleted first
            return network
        network = self._converter.convert(stage, halo_px(self._bundle.card, stage), shape)
        # read back even now: a network that was never saved compiles into slightly other sums
        with tempfile.TemporaryDirectory() as folder:
            ov.save_model(network, Path(folder) / CACHED, compress_to_fp16=False)
            with suppress(OSError):  # a full or read-only disk costs time, and nothing else
                _keep(Path(folder), kept)
            return self._core.read_model(Path(folder) / CACHED)

    @cached_property
    def _converter(self) -> Converter:
        # only if there is something to convert: torch takes half a gigabyte and three seconds
        from napari_twostage.models.backends.conversion import Converter

        return Converter(self._bundle)


def is_moderate(network: ov.Model) -> bool:
    """Whether no map of a network takes more than a model of ours could ask for."""
    shapes = [output.partial_shape for op in network.get_ops() for output in op.outputs()]
    return all(shape.is_static and math.prod(shape.to_shape()) <= MOST_VALUES for shape in shapes)


def _require_torch(bundle: Bundle) -> None:
    if not find_spec("torch"):
        raise ModelError(
            f"{bundle.source} has no networks for OpenVINO, and converting its weights needs "
            f"torch, which is not installed; {INSTALL_TORCH}"
        )


def _try_out(idle: Requests, shape: tuple[int, ...]) -> None:
    """Compute a window once, alone.

    OpenVINO's binding sets itself up with the first array it meets, and two threads that both
    come first deadlock.
    """
    request = idle.get()
    request.infer({0: np.zeros((1, *shape), np.uint8)}, share_inputs=True)
    _ = request.get_output_tensor(0).data[0].copy()
    idle.put(request)


def _next(idle: Requests, *, wait: bool) -> ov.InferRequest | None:
    """Idle request; None if there is none and `wait` is not set."""
    try:
        return idle.get(block=wait)
    except Empty:
        return None


def cache_folder() -> Path:
    """Folder that converted networks are kept in."""
    return platformdirs.user_cache_path("napari-twostage") / "openvino"


def _keep(converted: Path, kept: Path) -> None:
    """Copy a converted network into the cache in one step, and delete the oldest of too many."""
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
