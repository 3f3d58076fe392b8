"""From torch's networks to OpenVINO's, once for a bundle and a shape of its windows."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

from napari_twostage.errors import ModelError
from napari_twostage.models.networks.fold import build_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino as ov

    from napari_twostage.models.backends.base import Stage
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.networks.two_stage import TwoStage

# it would tell users of the panel, which keeps triton out, that it counts no operations of triton's
logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)


class Converter:
    """Makes OpenVINO's networks of a bundle's.

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
        self._module = build_module(bundle)

    def convert(self, stage: Stage, halo: int, shape: tuple[int, ...]) -> ov.Model:
        """Make a stage's network for windows of a (H, W, 3) shape.

        Raises
        ------
        ModelError
            If OpenVINO does not know what it is made of.
        """
        example = torch.zeros((1, *shape), dtype=torch.uint8)
        try:
            with torch.inference_mode():
                whole = _Stage(self._module, stage, halo)
                network = _translate(torch.export.export(whole, (example,)))
            network.reshape([1, *shape])
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(
                f"OpenVINO cannot convert {self._source}: {reason}; take --device cpu"
            ) from error
        return network


class _Stage(torch.nn.Module):
    """One stage as a module of its own, which is what can be exported."""

    def __init__(self, both: TwoStage, stage: Stage, halo: int) -> None:
        super().__init__()
        self.both = both
        self.stage = stage
        self.halo = halo

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = getattr(self.both, self.stage)(images, self.halo)
        return logits


def _translate(exported: torch.export.ExportedProgram) -> ov.Model:
    """What `openvino.convert_model` does, which also reports its use to the vendor."""
    front = FrontEndManager().load_by_framework("pytorch")
    with _without_chatter():
        decoder = TorchFXPythonDecoder.from_exported_program(exported, dynamic_shapes=False)
    return front.convert(front.load(decoder))


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep from the user what the decoder logs of operations that newer torch has no more."""

    def is_other(record: logging.LogRecord) -> bool:
        return record.module != "fx_decoder"

    root = logging.getLogger()
    root.addFilter(is_other)
    try:
        yield
    finally:
        root.removeFilter(is_other)
