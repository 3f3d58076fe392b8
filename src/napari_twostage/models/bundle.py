"""A model on disk: ``card.json`` beside ``weights.safetensors``, in a folder or a zip.

``int8.safetensors`` may stand beside them, see `quantised`.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.errors import ModelError
from napari_twostage.models.card import ModelCard

if TYPE_CHECKING:
    from torch import Tensor

CARD, WEIGHTS, QUANTISED = "card.json", "weights.safetensors", "int8.safetensors"
BUNDLED = Path(__file__).parent / "bundled"
UNREADABLE_ZIP = (
    KeyError,  # no weights beside the card
    zipfile.BadZipFile,
    zlib.error,
    UnicodeDecodeError,
    RuntimeError,  # encrypted
    NotImplementedError,  # a compression that Python does not know
)


@dataclass(frozen=True)
class Bundle:
    """A card and the bytes of its weights."""

    card: ModelCard
    weights: bytes
    source: str
    """A bundled name, or the absolute path it was read from."""
    quantised: bytes | None = None
    """Networks in 8-bit integers, where they were made; what they hold follows from the weights."""

    @property
    def sha256(self) -> str:
        """Names what decides the labels: the card and the weights."""
        digest = hashlib.sha256(self.card.to_json().encode())
        digest.update(self.weights)
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the same bytes as a bundle folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CARD).write_text(self.card.to_json())
        (folder / WEIGHTS).write_bytes(self.weights)
        if self.quantised is not None:
            (folder / QUANTISED).write_bytes(self.quantised)

    def tensors(self) -> dict[str, Tensor]:
        """Decode the weights; nothing is unpickled.

        Raises
        ------
        ModelError
            If they are no safetensors file.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(self.weights)
        except SafetensorError as error:
            raise ModelError(f"{self.source}: {WEIGHTS} is damaged: {error}") from error


def bundled_names() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD}"))


def read_bundle(model: str | Path) -> Bundle:
    """Find and read a bundle.

    Parameters
    ----------
    model : str or path
        A bundled name, a folder, or a zip with both files at its top or in one folder.

    Raises
    ------
    ModelError
        For anything else.
    """
    if str(model) in bundled_names():
        return _from_folder(BUNDLED / str(model), str(model))
    path = Path(model).expanduser().absolute()
    if path.is_dir():
        return _from_folder(path, str(path))
    if path.is_file() and zipfile.is_zipfile(path):
        return _from_zip(path)
    names = ", ".join(bundled_names())
    found = "is no folder or zip" if path.exists() else "does not exist"
    raise ModelError(
        f"model '{model}' {found}; give a bundled name ({names}) "
        f"or a folder or zip with {CARD} and {WEIGHTS}"
    )


def write_bundle(folder: Path, card: ModelCard, tensors: dict[str, Tensor]) -> None:
    """Write a bundle folder, the floating-point weights as float16."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    halves = {
        name: (tensor.half() if tensor.is_floating_point() else tensor.clone()).contiguous()
        for name, tensor in tensors.items()
    }
    save_file(halves, folder / WEIGHTS)
    (folder / CARD).write_text(card.to_json())


def _from_folder(folder: Path, source: str) -> Bundle:
    try:
        text, weights = (folder / CARD).read_text(), (folder / WEIGHTS).read_bytes()
        file = folder / QUANTISED
        quantised = file.read_bytes() if file.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{folder} is no model: it must hold {CARD} and {WEIGHTS} ({error})"
        ) from error
    return Bundle(ModelCard.from_json(text, source), weights, source, quantised)


def _from_zip(path: Path) -> Bundle:
    try:
        with zipfile.ZipFile(path) as archive:
            card = next((n for n in archive.namelist() if Path(n).name == CARD), None)
            if card is None:
                raise ModelError(f"{path} holds no {CARD}; a model has {CARD} and {WEIGHTS}")
            folder = card.removesuffix(CARD)
            weights = archive.read(folder + WEIGHTS)
            has_integers = folder + QUANTISED in archive.namelist()
            quantised = archive.read(folder + QUANTISED) if has_integers else None
            text = archive.read(card).decode()
    except UNREADABLE_ZIP as error:
        raise ModelError(f"{path} is no usable model: {error}") from error
    return Bundle(ModelCard.from_json(text, str(path)), weights, str(path), quantised)
