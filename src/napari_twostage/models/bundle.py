"""Model on disk: ``card.json`` and ``weights.safetensors``, in a folder or a zip.

In place of the weights there may be ``model.onnx``, a network that others trained.
``openvino.safetensors`` and ``int8.safetensors`` are optional, see `converted`.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.errors import ModelError, one_line, reason_of
from napari_twostage.models.bundle_files import read_folder, read_zip
from napari_twostage.models.card import LONGEST_CARD, ModelCard
from napari_twostage.models.weights_file import name_of_not_finite

if TYPE_CHECKING:
    from torch import Tensor

CARD, WEIGHTS, NETWORK = "card.json", "weights.safetensors", "model.onnx"
CONVERTED, QUANTISED = "openvino.safetensors", "int8.safetensors"
OPTIONAL = {"converted": CONVERTED, "quantised": QUANTISED}
"""Files that a bundle may lack, by the field that holds their bytes."""
DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml")
"""Files that describe a package of the BioImage Model Zoo."""
LONGEST_DESCRIPTION = 1 << 18
LARGEST_NETWORK = 1 << 29
"""Bytes of weights, or of an ONNX network."""
LIMITS = (
    {CARD: LONGEST_CARD}
    | dict.fromkeys((WEIGHTS, NETWORK, CONVERTED, QUANTISED), LARGEST_NETWORK)
    | dict.fromkeys(DESCRIPTIONS, LONGEST_DESCRIPTION)
)
"""Most bytes of each file: the largest network that is known takes a third in float16."""
BUNDLED = Path(__file__).parent / "bundled"


@dataclass(frozen=True)
class Bundle:
    """Card, and bytes of the weights and of networks converted from them."""

    card: ModelCard
    weights: bytes
    """Safetensors file, or an ONNX file if the card says so."""
    source: str
    """Bundled name, or the absolute path it was read from."""
    quantised: bytes | None = None
    """Networks in 8-bit integers, if there are any; they follow from the weights."""
    converted: bytes | None = None
    """Networks in floating point for OpenVINO, if there are any; they follow from the weights."""

    @property
    def sha256(self) -> str:
        """Hash of what decides the labels: the card and the weights.

        Left out is what changes no label of a precision: the least area of objects that are
        counted, what is known of precisions, and what is said of slides.
        """
        deciding = replace(self.card, least_object_um2=0.0, precision_loss={}, domain=None)
        digest = hashlib.sha256(deciding.to_json().encode())
        digest.update(self.weights)
        return digest.hexdigest()

    @property
    def path(self) -> Path:
        """Folder or zip that it was read from."""
        return BUNDLED / self.source if self.source in bundled_names() else Path(self.source)

    @property
    def losses(self) -> dict[str, float]:
        """Points of Dice that the precisions it can run in lose against f32, as far as stated."""
        stated = self.card.precision_loss
        return {name: lost for name, lost in stated.items() if name != "int8" or self.quantised}

    def save(self, folder: Path) -> None:
        """Write a bundle folder of the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        write_card(folder, self.card)
        (folder / _network_file(self.card)).write_bytes(self.weights)
        for field, name in OPTIONAL.items():
            content: bytes | None = getattr(self, field)
            if content is not None:
                (folder / name).write_bytes(content)

    def tensors(self) -> dict[str, Tensor]:
        """Decode the weights; nothing is unpickled.

        Raises
        ------
        ModelError
            If they are not a safetensors file.
        """
        self.require_weights()
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(self.weights)
        except SafetensorError as error:
            raise self._damaged(error) from error

    def require_weights(self) -> None:
        """Refuse an ONNX network where weights of an architecture of ours are needed.

        Raises
        ------
        ModelError
        """
        if self.card.is_onnx:
            raise ModelError(
                f"{self.source} is an ONNX network, which is neither converted nor quantised here; "
                "use it as it is"
            )

    def require_finite(self) -> None:
        """Refuse weights that are no safetensors file, or hold NaN or an infinity.

        Raises
        ------
        ModelError
            With the name of the first such tensor.
        """
        if self.card.is_onnx:
            return  # an ONNX file is checked whole when it is read
        try:
            name = name_of_not_finite(self.weights)
        except ModelError as error:
            raise self._damaged(error) from error
        if name is not None:
            raise ModelError(
                f"{self.source}: {WEIGHTS} holds values that are not finite, in {name[:80]!r}: the "
                "model would give no labels; train it again with a lower learning rate, or get "
                "the model again"
            )

    def _damaged(self, error: Exception) -> ModelError:
        return ModelError(
            f"{self.source}: {WEIGHTS} is damaged: {one_line(error)[:150]}; get the model again"
        )


def bundled_names() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD}"))


def read_bundle(model: str | Path) -> Bundle:
    """Find and read a bundle.

    Parameters
    ----------
    model : str or path
        Bundled name, folder, or zip with the files at its top or in one folder.

    Raises
    ------
    ModelError
        For anything else.
    """
    if str(model) in bundled_names():
        return _bundle(read_folder(BUNDLED / str(model), LIMITS), str(model))
    try:
        path = Path(model).expanduser().absolute()
        if path.is_dir():
            return _bundle(read_folder(path, LIMITS), str(path))
        if path.is_file() and zipfile.is_zipfile(path):
            return _bundle(read_zip(path, LIMITS), str(path))
        if path.is_file() and path.suffix.lower() == ".onnx":
            raise _to_be_imported(path, "an ONNX file")
        found = "is no folder or zip" if path.exists() else "does not exist"
    except (OSError, RuntimeError, ValueError) as error:  # no home folder, or no possible name
        found = f"cannot be read ({reason_of(error)})"
    names = ", ".join(bundled_names())
    raise ModelError(
        f"model {str(model)[:200]!r} {found}; give a bundled name ({names}) "
        f"or a folder or zip with {CARD} and {WEIGHTS}"
    )


def write_bundle(folder: Path, card: ModelCard, tensors: dict[str, Tensor]) -> None:
    """Write a bundle folder, with floating-point weights as float16.

    Networks that were converted from other weights are deleted.
    """
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    halves = {
        name: (tensor.half() if tensor.is_floating_point() else tensor.clone()).contiguous()
        for name, tensor in tensors.items()
    }
    weights, file = save(halves), folder / WEIGHTS
    if file.exists() and file.read_bytes() != weights:
        for name in OPTIONAL.values():
            (folder / name).unlink(missing_ok=True)
    file.write_bytes(weights)
    write_card(folder, card)


def write_card(folder: Path, card: ModelCard) -> None:
    """Write the card of a bundle folder."""
    (folder / CARD).write_text(card.to_json(), encoding="utf-8")


def _bundle(files: dict[str, bytes], source: str) -> Bundle:
    if CARD not in files and not files.keys().isdisjoint(DESCRIPTIONS):
        raise _to_be_imported(source, "a package of the BioImage Model Zoo")
    card = ModelCard.from_json(_text(files, CARD, source), source)
    if card.context:
        raise ModelError(
            f"{source}: expected a stage 2 that sees its window alone, found one with context, "
            "which is no longer offered; train the model again with network.context = false"
        )
    network = _network_file(card)
    if network not in files:
        raise ModelError(
            f"{source} is no model: it must hold {CARD} and {network}, it lacks the "
            "latter; get the model again"
        )
    optional = {field: files.get(name) for field, name in OPTIONAL.items()}
    return Bundle(card, files[network], source, **optional)


def _text(files: dict[str, bytes], name: str, source: str) -> str:
    if name not in files:
        raise ModelError(
            f"{source} is no model: it holds no {name}; a model is a folder or zip with {CARD} and "
            f"{WEIGHTS}"
        )
    try:
        return files[name].decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"{source} is no model: its {name} is no text ({error})") from error


def _network_file(card: ModelCard) -> str:
    """Name of the file that holds the network of a card."""
    return NETWORK if card.is_onnx else WEIGHTS


def _to_be_imported(source: object, what: str) -> ModelError:
    return ModelError(
        f"{source} is {what}, which says too little for slides; make a model of it with "
        "`napari-twostage import FILE --mpp UM --classes NAME,NAME --out FOLDER`, and give that "
        "folder"
    )
