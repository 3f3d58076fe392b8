"""Networks in 8-bit integers for a model.

Ranges of activations come from windows that the engine itself reads of images or slides like those
that the model is for; no masks are needed. Weights are rounded by NNCF. The file is written into
the model's folder, for ``--precision int8``; `training.precision` says what it costs in Dice.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
from tqdm import tqdm

from napari_twostage.cli.commands import pixel_size
from napari_twostage.engine.api import segment
from napari_twostage.errors import ModelError, TwoStageError
from napari_twostage.models.backends import choose
from napari_twostage.models.backends.openvino import OpenVinoBackend
from napari_twostage.models.bundle import QUANTISED, read_bundle
from napari_twostage.models.model import Model
from napari_twostage.models.quantised import pack
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.backends import Stage
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.slides.base import Slide

WINDOWS = 300
"""Of each stage, that ranges are taken from."""
KEPT_EXACT = 3
"""Convolutions from the input on that stay in floating point. With the model `nuclei` and all in
integers 0.8 % of the pixels of stage 2 change, with these kept 0.09 %: dark images use
little of the range."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Quantise both stages; 2 for what the user must correct."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_twostage.training.quantise", description=__doc__
    )
    parser.add_argument("--model", type=Path, required=True, help="bundle folder; it is added to")
    parser.add_argument("images", type=Path, nargs="+", help="images or slides; 60 images will do")
    parser.add_argument("--mpp", type=pixel_size, help="µm per pixel, of images that state none")
    parser.add_argument(
        "--no-tissue", dest="tissue", action="store_false", help="take windows of glass as well"
    )
    options = parser.parse_args(arguments)
    try:
        bundle = read_bundle(options.model.absolute())
        listening = Listening(bundle)
        each = -(-WINDOWS // len(options.images))
        for path in tqdm(options.images, unit="image"):
            with open_slide(path, mpp=options.mpp) as slide:
                show(listening, slide, each, tissue=options.tissue)
        packed = quantise(bundle, listening.seen)
    except TwoStageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    file = options.model / QUANTISED
    file.write_bytes(packed)
    sys.stdout.write(f"{file}: {file.stat().st_size / 1e6:.1f} MB\n")
    return 0


class Listening(Model):
    """A model that keeps windows that it is given: of all so far, each as likely as any other."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, "openvino")
        self.seen: dict[Stage, list[NDArray[np.uint8]]] = {"coarse": [], "refine": []}
        self._count = {"coarse": 0, "refine": 0}
        self._rng = np.random.default_rng(0)

    def coarse(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Stage 1, as `Model.coarse`."""
        self._keep("coarse", windows)
        return super().coarse(windows)

    def refine(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Stage 2, as `Model.refine`."""
        self._keep("refine", windows)
        return super().refine(windows)

    def _keep(self, stage: Stage, windows: Iterable[NDArray[np.uint8]]) -> None:
        kept = self.seen[stage]
        for window in windows:
            self._count[stage] += 1
            place = int(self._rng.integers(self._count[stage]))
            if len(kept) < WINDOWS:
                kept.append(window)
            elif place < WINDOWS:
                kept[place] = window


def show(model: Model, slide: Slide, tiles: int, *, tissue: bool) -> None:
    """Run the engine over a slide: all of stage 1, and stage 2 on its most uncertain tiles."""
    with tempfile.TemporaryDirectory() as folder:
        seg = segment(slide, model, Path(folder) / "out.zarr", refine="none", tissue=tissue)
        seg.refine(seg.plan(n_tiles=tiles))


def quantise(bundle: Bundle, seen: dict[Stage, list[NDArray[np.uint8]]]) -> bytes:
    """Quantise both stages by windows like those that they will see.

    Parameters
    ----------
    bundle : Bundle
    seen : dict of lists of (H, W, 3) uint8 arrays
        Windows of each stage; those count that have the first one's shape.

    Returns
    -------
    bytes
        Of the bundle's file ``int8.safetensors``.

    Raises
    ------
    ModelError
        If a stage has no window.
    """
    if not all(seen.values()):
        raise ModelError("there is no tissue in these images; give others, or --no-tissue")
    os.environ.setdefault("NNCF_CI", "1")  # else it reports its use to the vendor
    import nncf

    backend = OpenVinoBackend(bundle, choose("openvino"))
    networks: dict[Stage, tuple[bytes, bytes]] = {}
    for stage, windows in seen.items():
        alike = [window[None] for window in windows if window.shape == windows[0].shape]
        network = backend.network(stage, windows[0].shape)
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
            ignored_scope=nncf.IgnoredScope(names=names[:KEPT_EXACT]),
        )
        networks[stage] = _as_bytes(quantised)
    return pack(networks, bundle.weights)


def _as_bytes(network: ov.Model) -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        ov.save_model(network, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


if __name__ == "__main__":
    sys.exit(main())
