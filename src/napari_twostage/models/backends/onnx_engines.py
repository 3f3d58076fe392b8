"""Libraries that compute ONNX networks, behind one call; each window by one thread."""

from __future__ import annotations

import io
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_twostage.errors import ModelError
from napari_twostage.models.backends.quiet_openvino import import_openvino

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_twostage.models.backends.base import Compute


class Engine(Protocol):
    """Library that computes an ONNX network."""

    def run(self, pixels: NDArray[Any], output: str) -> NDArray[Any]:
        """Compute one window; any number of threads may call it concurrently."""


def start_engine(content: bytes, source: str, compute: Compute, threads: int) -> Engine:
    """Make a checked ONNX file ready to run.

    Raises
    ------
    ModelError
        If the library cannot read it.
    """
    kind = _OnnxRuntime if compute.backend == "onnxruntime" else _OpenVino
    with _unusable_as_model_error(source, compute.backend):
        return kind(content, source, compute.precision, threads)


@contextmanager
def _unusable_as_model_error(source: str, library: str) -> Iterator[None]:
    """Turn what a library says about a network that it cannot read or run into one line."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # libraries raise classes of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]  # first come places
        raise ModelError(
            f"{source}: {library} cannot run this ONNX network ({reason.strip()[:150]}); "
            "import it with a --tile and a --halo for which tile + 2 halo is a multiple of 64, or "
            "export it for windows of a fixed size"
        ) from error


class _OpenVino:
    """OpenVINO, which compiles the network for each size of windows."""

    def __init__(self, content: bytes, source: str, precision: str, threads: int) -> None:
        self._content, self._source, self._threads = content, source, threads
        self._options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": threads,
        }
        self._idle: dict[tuple[int, ...], SimpleQueue[Any]] = {}
        self._core = import_openvino().Core()

    def run(self, pixels: NDArray[Any], output: str) -> NDArray[Any]:
        with _unusable_as_model_error(self._source, "OpenVINO"):
            idle = self._requests(pixels)
            request = idle.get()
            try:
                request.infer({0: pixels}, share_inputs=True)
                return np.array(request.get_tensor(output).data)
            finally:
                idle.put(request)

    def _requests(self, pixels: NDArray[Any]) -> SimpleQueue[Any]:
        from napari_twostage.models.backends.openvino import COMPILING, is_moderate

        with COMPILING:
            if pixels.shape not in self._idle:
                network = self._core.read_model(io.BytesIO(self._content))
                network.reshape(list(pixels.shape))
                if not is_moderate(network):
                    raise ModelError(
                        f"{self._source}: a map of this ONNX network is too large, or of no fixed "
                        "size, for windows of "
                        f"{pixels.shape}; export it for windows of a fixed size"
                    )
                compiled = self._core.compile_model(network, "CPU", self._options)
                idle: SimpleQueue[Any] = SimpleQueue()
                for _ in range(self._threads):
                    idle.put(compiled.create_infer_request())
                request = idle.get()
                # alone: the first array that the binding meets sets it up
                request.infer({0: pixels}, share_inputs=True)
                idle.put(request)
                self._idle[pixels.shape] = idle
            return self._idle[pixels.shape]


class _OnnxRuntime:
    """onnxruntime, with one thread for each window."""

    def __init__(self, content: bytes, source: str, precision: str, threads: int) -> None:  # noqa: ARG002
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        self._source = source
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        self._input = self._session.get_inputs()[0].name

    def run(self, pixels: NDArray[Any], output: str) -> NDArray[Any]:
        with _unusable_as_model_error(self._source, "onnxruntime"):
            (found,) = self._session.run([output], {self._input: pixels})
            return np.asarray(found)
