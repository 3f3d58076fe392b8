"""8-bit integer networks for a model bundle: ``napari-twostage quantise``.

Activation ranges come from windows that the engine itself reads from images or slides like those
that the model is for; no masks are needed. NNCF rounds the weights. The file is written into the
bundle, for ``--precision int8``; ``napari-twostage precision`` measures its cost in Dice.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from napari_twostage.engine.api import segment
from napari_twostage.errors import ModelError
from napari_twostage.models.backends import choose
from napari_twostage.models.backends.openvino import OpenVinoBackend
from napari_twostage.models.backends.quiet_openvino import import_openvino
from napari_twostage.models.bundle import QUANTISED, read_bundle, write_card
from napari_twostage.models.converted import pack
from napari_twostage.models.model import Model
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import openvino as ov
    from numpy.typing import NDArray

    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.card import Stage
    from napari_twostage.slides.base import Slide
else:
    ov = import_openvino()

WINDOWS = 300
"""Windows of each stage from which activation ranges are taken."""
FLOAT_CONVOLUTIONS = 3
"""First convolutions of a network, which stay in floating point. In the model `nuclei`, integers
throughout change 0.8 % of stage 2's pixels, with these exceptions 0.09 %: dark images use little
of the input range."""


def add_quantised(
    folder: Path,
    images: Sequence[Path],
    *,
    mpp: tuple[float, float] | None = None,
    tissue: bool = True,
    progress: bool = True,
) -> Path:
    """Quantise both stages of a bundle and write the result into its folder.

    Parameters
    ----------
    folder : path
        Folder of the bundle.
    images : sequence of path
        Images or slides like those that the model is for.
    mpp : (float, float), optional
        Micrometres per pixel (y, x) of images that state none.
    tissue : bool
        Use windows of tissue only.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    path
        The file ``int8.safetensors``.

    Raises
    ------
    ModelError, SlideError
        If the bundle or an image cannot be read, or the images hold no tissue.
    """
    bundle = read_bundle(folder.absolute())
    bundle.require_weights()
    model = RecordingModel(bundle)
    tiles = -(-WINDOWS // len(images))
    for path in tqdm(images, unit="image", disable=not progress):
        with open_slide(path, mpp=mpp) as slide:
            record_windows(model, slide, tiles, tissue=tissue)
    # NNCF draws its progress on stdout, which belongs to the verb's result
    with redirect_stdout(sys.stderr if progress else io.StringIO()):
        packed = quantise(bundle, model.windows)
    file = folder / QUANTISED
    file.write_bytes(packed)
    if "int8" in bundle.card.precision_loss:  # by other integers
        known = {name: lost for name, lost in bundle.card.precision_loss.items() if name != "int8"}
        write_card(folder, replace(bundle.card, precision_loss=known))
    return file


class RecordingModel(Model):
    """A model that records a uniform random sample of the windows it is given."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, "openvino", "f32")
        self.windows: dict[Stage, list[NDArray[np.uint8]]] = {"coarse": [], "refine": []}
        self._count = {"coarse": 0, "refine": 0}
        self._rng = np.random.default_rng(0)

    def coarse(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Stage 1, as `Model.coarse`."""
        self._record("coarse", windows)
        return super().coarse(windows)

    def refine(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Stage 2, as `Model.refine`."""
        self._record("refine", windows)
        return super().refine(windows)

    def _record(self, stage: Stage, windows: Iterable[NDArray[np.uint8]]) -> None:
        sampled = self.windows[stage]
        for window in windows:
            self._count[stage] += 1
            place = int(self._rng.integers(self._count[stage]))
            if len(sampled) < WINDOWS:  # reservoir sampling
                sampled.append(window)
            elif place < WINDOWS:
                sampled[place] = window


def record_windows(model: Model, slide: Slide, tiles: int, *, tissue: bool) -> None:
    """Run the engine over a slide: the coarse pass, then the most uncertain tiles."""
    with tempfile.TemporaryDirectory() as folder:
        seg = segment(slide, model, Path(folder) / "out.zarr", refine="none", tissue=tissue)
        seg.refine(seg.plan(n_tiles=tiles))


def quantise(bundle: Bundle, windows: dict[Stage, list[NDArray[np.uint8]]]) -> bytes:
    """Quantise both stages, with activation ranges from sample windows.

    Parameters
    ----------
    bundle : Bundle
    windows : dict of lists of (H, W, 3) uint8 arrays
        Windows of each stage; only those of the first one's shape are used.

    Returns
    -------
    bytes
        Content of the bundle's file ``int8.safetensors``.

    Raises
    ------
    ModelError
        If a stage has no window.
    """
    if not all(windows.values()):
        raise ModelError("there is no tissue in these images; give others, or --no-tissue")
    os.environ.setdefault("NNCF_CI", "1")  # disables its usage telemetry
    nncf = import_openvino("nncf")

    nncf.set_log_level(logging.WARNING)
    # of torch's own conversion: a network that the bundle carries folds weights when it is compiled
    backend = OpenVinoBackend(replace(bundle, converted=None), choose("openvino", "f32"))
    networks: dict[Stage, tuple[bytes, bytes]] = {}
    for stage, given in windows.items():
        alike = [window[None] for window in given if window.shape == given[0].shape]
        network = backend.network(stage, given[0].shape)
        names = [
            operation.get_friendly_name()
            for operation in network.get_ordered_ops()
            if "Convolution" in operation.get_type_name()
        ]
        quantised = nncf.quantize(
            network,
            nncf.Dataset(alike),
            subset_size=len(alike),
            preset=nncf.QuantizationPreset.PERFORMANCE,
            ignored_scope=nncf.IgnoredScope(names=names[:FLOAT_CONVOLUTIONS]),
        )
        networks[stage] = _as_bytes(quantised)
    return pack(networks, bundle)


def _as_bytes(network: ov.Model) -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        ov.save_model(network, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
