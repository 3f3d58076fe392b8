"""Networks in 8-bit integers for a model: ``python -m training.quantise --model M --data D``.

Ranges of activations come from windows that the engine itself reads of training images; weights
are rounded by NNCF. The file is written into the model's folder, for `--precision int8`.
`python -m training.precision --on openvino:f32 openvino:int8` then says what it costs in Dice.
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

from napari_twostage.errors import ModelError
from napari_twostage.models.backends import choose
from napari_twostage.models.backends.openvino import OpenVinoBackend
from napari_twostage.models.bundle import QUANTISED, read_bundle
from napari_twostage.models.model import Model
from napari_twostage.models.quantised import pack
from training.datasets import DatasetError, load_split
from training.outcomes import run_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_twostage.models.backends import Stage
    from napari_twostage.models.bundle import Bundle

IMAGES, WINDOWS = 60, 300
KEPT_EXACT = 3
"""Convolutions from the input on that stay in floating point. With the model `nuclei` and all in
integers 0.8 % of the pixels of stage 2 change, with these kept 0.09 %: dark images use a hundredth
of the range."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Quantise both stages; 2 for what the user must correct."""
    parser = argparse.ArgumentParser(prog="python -m training.quantise", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="bundle folder; it is added to")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--split", default="train")
    parser.add_argument(
        "--images", type=int, default=IMAGES, help=f"at random (default {IMAGES}, 0 for all)"
    )
    options = parser.parse_args(arguments)
    try:
        bundle = read_bundle(options.model.absolute())
        choose("openvino")  # which must be there
        samples = load_split(options.data, options.split)
    except (DatasetError, ModelError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(samples))[: options.images or None]
    listening = Listening(bundle)
    run_engine(listening, [samples[index] for index in chosen])
    file = options.model / QUANTISED
    file.write_bytes(quantise(bundle, listening.seen))
    sys.stdout.write(f"{file}: {file.stat().st_size / 1e6:.1f} MB\n")
    return 0


class Listening(Model):
    """A model that keeps the windows it is given."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, "openvino")
        self.seen: dict[Stage, list[NDArray[np.uint8]]] = {"coarse": [], "refine": []}

    def coarse(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Stage 1, as `Model.coarse`."""
        self.seen["coarse"].extend(windows)
        return super().coarse(windows)

    def refine(self, windows: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Stage 2, as `Model.refine`."""
        self.seen["refine"].extend(windows)
        return super().refine(windows)


def quantise(bundle: Bundle, seen: dict[Stage, list[NDArray[np.uint8]]]) -> bytes:
    """Quantise both stages by windows like those that they will see.

    Parameters
    ----------
    bundle : Bundle
    seen : dict of lists of (H, W, 3) uint8 arrays
        Windows of each stage, those of one stage of one shape.

    Returns
    -------
    bytes
        Of the bundle's file ``int8.safetensors``.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else it reports its use to the vendor
    import nncf

    backend = OpenVinoBackend(bundle, choose("openvino"))
    rng = np.random.default_rng(0)
    networks: dict[Stage, tuple[bytes, bytes]] = {}
    for stage, windows in seen.items():
        chosen = rng.permutation(len(windows))[:WINDOWS]
        network = backend.network(stage, windows[0].shape)
        names = [
            operation.get_friendly_name()
            for operation in network.get_ordered_ops()
            if "Convolution" in operation.get_type_name()
        ]
        quantised = nncf.quantize(
            network,
            nncf.Dataset([windows[index][None] for index in chosen]),
            subset_size=len(chosen),
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
