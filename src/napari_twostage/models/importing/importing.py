"""Import of a network: from its file and the facts that it lacks to a bundle that was tried."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_twostage.errors import ModelError
from napari_twostage.io.limited import read_limited
from napari_twostage.models.backends.choice import choose_for_onnx
from napari_twostage.models.backends.onnx_engines import start_engine
from napari_twostage.models.bundle import DESCRIPTIONS, LARGEST_NETWORK, Bundle
from napari_twostage.models.importing import trial
from napari_twostage.models.importing.card_of import card_of, windows_of
from napari_twostage.models.importing.facts import Facts, MissingFactsError, Normalisation
from napari_twostage.models.importing.package import Package, read_package
from napari_twostage.models.model import Model
from napari_twostage.models.onnx_models.convention import Convention, channels_first, network_input
from napari_twostage.models.onnx_models.network import read_network

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.models.importing.card_of import Windows
    from napari_twostage.models.onnx_models.network import OnnxNetwork


class Imported(NamedTuple):
    """Imported model, and what its trial has shown."""

    model: Model
    changed_by_place: float
    """Share of pixels whose label depends on where the windows lie."""


def import_model(
    path: Path, facts: Facts, picture: NDArray[np.uint8], *, device: str = "auto"
) -> Imported:
    """Make a model of a network that others trained, and try it; nothing is written.

    Parameters
    ----------
    path : Path
        ONNX file, or a folder or zip of the BioImage Model Zoo with ONNX weights.
    facts : Facts
        Facts that the file does not hold; they come before those of a package.
    picture : (H, W, 3) uint8 array
        Picture to try it on, with sides of 1.5 times the largest window at least.
    device : str
        One of `backends.choice.ONNX_DEVICES`.

    Raises
    ------
    MissingFactsError
        If something must be stated.
    ModelError
        If the file is unusable, or the network gives something else than was stated.
    """
    content, stated = read_source(path)
    known, source = facts.over(stated), str(path)
    network = read_network(content, source)
    compute = choose_for_onnx(device, "f32")
    missing = [name for name in ("mpp", "classes", "normalisation") if getattr(known, name) is None]
    if network.inputs[0].dtype == "uint8":  # it normalises by itself
        missing = [name for name in missing if name != "normalisation"]
    if missing:
        raise MissingFactsError(source, missing)
    windows, draft = _draft(known, network, source)
    card = card_of(known, windows, draft, stem=path.stem)
    engine = start_engine(content, source, compute, 1)
    window = picture[: windows.side_px, : windows.side_px]
    pixels = network_input(window, draft, card, network.inputs[0].dtype)
    output = engine.run(pixels, draft.output)
    convention = _tried(draft, output, known, network, windows, source)
    card = card_of(known, windows, convention, stem=path.stem)
    model = Model(Bundle(card, content, source), device)
    return Imported(model, trial.changed_by_place(model, picture))


def read_source(path: Path) -> Package:
    """Read an ONNX file, which states no facts, or a package, which states some.

    Raises
    ------
    ModelError
        If it is neither, or too large.
    """
    if not path.exists():
        raise ModelError(f"there is no file {path}; check the path")
    if path.is_dir() or path.suffix.lower() != ".onnx":
        return read_package(path.parent if path.name in DESCRIPTIONS else path)
    try:
        return Package(read_limited(path, LARGEST_NETWORK), Facts())
    except ValueError as error:
        raise ModelError(f"{path} {error}; give an ONNX file") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); check it") from error


def _draft(facts: Facts, network: OnnxNetwork, source: str) -> tuple[Windows, Convention]:
    """Windows, and the convention of the input; that of the output is found by a trial."""
    image = network.inputs[0]
    layout = trial.input_layout(network, facts, source)
    draft = Convention(
        output=trial.output_name(network, facts, source),
        input_layout=layout,
        output_layout=layout,
        channels=trial.input_channels(image, layout, facts),
        standardise=(facts.normalisation or Normalisation()).standardise,
        meaning="logits",
    )
    return windows_of(facts, trial.fixed_side(image, layout, source)), draft


def _tried(
    draft: Convention,
    output: NDArray[Any],
    facts: Facts,
    network: OnnxNetwork,
    windows: Windows,
    source: str,
) -> Convention:
    """Convention of a network, by its output for a window."""
    layout, margin = trial.output_layout(output, windows.side_px, draft.input_layout, source)
    if margin > windows.halo_px:
        raise ModelError(
            f"{source} leaves out {margin} pixels at each side of a window, found a halo of "
            f"{windows.halo_px}; add --halo {margin} or more"
        )
    channels = channels_first(output, layout).astype(np.float32)
    if not np.isfinite(channels).all():
        raise ModelError(
            f"{source} gives values that are not finite; see that --pixels is what it was "
            "trained with"
        )
    background = trial.background_channel(facts.classes or (), len(channels), source)
    last = network.last_operation(draft.output)
    return replace(
        draft,
        output_layout=layout,
        margin_px=margin,
        background=background,
        meaning=trial.meaning_of(channels, last, facts, source),
    )
