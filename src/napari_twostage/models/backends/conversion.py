"""Conversion of torch networks to OpenVINO's, for windows of one shape."""

from __future__ import annotations

import logging
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch

from napari_twostage.errors import ModelError
from napari_twostage.models.backends.quiet_openvino import import_openvino
from napari_twostage.models.card import Stage, halo_px, window_px
from napari_twostage.models.converted import pack, refer_to_weights
from napari_twostage.models.networks.fold import build_module, folding_factors, load_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino as ov
    from torch import Tensor

    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.networks.two_stage import TwoStage
else:
    ov = import_openvino()
ops = import_openvino("openvino.opset1")
FrontEndManager = import_openvino("openvino.frontend").FrontEndManager
TorchFXPythonDecoder = import_openvino("openvino.frontend.pytorch.fx_decoder").TorchFXPythonDecoder

# users of the panel, which keeps triton out, need not know that triton's operations are not counted
logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)


def convert_bundle(bundle: Bundle) -> bytes:
    """Make the file ``openvino.safetensors`` of a bundle.

    Its logits are those of networks that are converted when they run, to the last bit: constants
    that folding made from a weight are made again from it when a graph is compiled. The rest are
    stored in float32.

    Raises
    ------
    ModelError
        If the weights do not fit the architecture, or OpenVINO lacks an operation of it.
    """
    converter = Converter(bundle)
    sources = _weight_sources(bundle, converter.module)
    networks = {}
    for stage in get_args(Stage):
        side = window_px(bundle.card, stage)
        network = converter.convert(stage, halo_px(bundle.card, stage), (side, side, 3))
        _unfold(network, sources)
        networks[stage] = refer_to_weights(*network_bytes(network), bundle.weights)
    return pack(networks, bundle)


def network_bytes(network: ov.Model) -> tuple[bytes, bytes]:
    """Graph, as XML, and constants of a network, without loss."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        ov.save_model(network, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


class Converter:
    """Converter of a bundle's networks.

    Parameters
    ----------
    bundle : Bundle

    Raises
    ------
    ModelError
        If the weights do not fit the architecture.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._source = bundle.source
        self.module = build_module(bundle)
        """Both stages, folded."""

    def convert(self, stage: Stage, halo: int, shape: tuple[int, ...]) -> ov.Model:
        """Make a stage's network for windows of a (H, W, 3) shape.

        Raises
        ------
        ModelError
            If OpenVINO lacks an operation of it.
        """
        example = torch.zeros((1, *shape), dtype=torch.uint8)
        try:
            with torch.inference_mode():
                whole = _Stage(self.module, stage, halo)
                network = _translate(torch.export.export(whole, (example,)))
            network.reshape([1, *shape])
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(
                f"OpenVINO cannot convert {self._source}: {reason}; take --device cpu"
            ) from error
        return network


class _Stage(torch.nn.Module):
    """One stage as a module of its own: only modules can be exported."""

    def __init__(self, both: TwoStage, stage: Stage, halo: int) -> None:
        super().__init__()
        self.both = both
        self.stage = stage
        self.halo = halo

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        run = self.both.coarse_maps if self.stage == "coarse" else self.both.refine_maps
        return run(images, self.halo)


def _weight_sources(bundle: Bundle, folded: TwoStage) -> dict[bytes, tuple[Tensor, Tensor | None]]:
    """Tensor of the bundle, and factors of its channels, by the bytes of the folded weight."""
    given, weights = bundle.tensors(), folded.state_dict()
    factors = folding_factors(load_module(bundle))
    sources = {}
    for name, source in given.items():
        if name not in weights:
            continue
        weight, factor = weights[name], factors.get(name)
        if factor is not None:
            factor = factor.view(-1, *[1] * (source.ndim - 1))
        made = source.float() if factor is None else source.float() * factor
        if torch.equal(made, weight):
            sources[weight.contiguous().numpy().tobytes()] = source, factor
    return sources


def _unfold(network: ov.Model, sources: dict[bytes, tuple[Tensor, Tensor | None]]) -> None:
    """Let a network make folded weights from the bundle's, in place."""
    for constant in network.get_ordered_ops():
        if constant.get_type_name() != "Constant" or constant.get_element_type() != ov.Type.f32:
            continue
        source, factor = sources.get(constant.data.tobytes(), (None, None))
        if source is None:
            continue
        made = ops.convert(ops.constant(source.numpy()), "f32")
        if factor is not None:
            made = ops.multiply(made, ops.constant(factor.numpy()))
        if constant.data.shape != tuple(source.shape):
            made = ops.reshape(made, ops.constant(list(constant.data.shape)), special_zero=False)
        for taker in constant.output(0).get_target_inputs():
            taker.replace_source_output(made.output(0))
    network.validate_nodes_and_infer_types()


def _translate(exported: torch.export.ExportedProgram) -> ov.Model:
    """Convert as `openvino.convert_model` does, which also reports its use to the vendor."""
    front = FrontEndManager().load_by_framework("pytorch")
    with _without_chatter():
        decoder = TorchFXPythonDecoder.from_exported_program(exported, dynamic_shapes=False)
    return front.convert(front.load(decoder))


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Suppress the decoder's log entries on operations that newer torch has dropped."""

    def is_other(record: logging.LogRecord) -> bool:
        return record.module != "fx_decoder"

    root = logging.getLogger()
    root.addFilter(is_other)
    try:
        yield
    finally:
        root.removeFilter(is_other)
