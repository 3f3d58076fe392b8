"""Model on disk: ``card.json`` and ``weights.safetensors``, in a folder or a zip.

``openvino.safetensors`` and ``int8.safetensors`` are optional, see `converted`.
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

CARD, WEIGHTS = "card.json", "weights.safetensors"
CONVERTED, QUANTISED = "openvino.safetensors", "int8.safetensors"
OPTIONAL = {"converted": CONVERTED, "quantised": QUANTISED}
"""Files that a bundle may lack, by the field that holds their bytes."""
BUNDLED = Path(__file__).parent / "bundled"
UNREADABLE_ZIP = (
    KeyError,  # no weights in the card's folder
    zipfile.BadZipFile,
    zlib.error,
    UnicodeDecodeError,
    RuntimeError,  # encrypted
    NotImplementedError,  # a compression that Python does not know
)


@dataclass(frozen=True)
class Bundle:
    """Card, and bytes of the weights and of networks converted from them."""

    card: ModelCard
    weights: bytes
    source: str
    """Bundled name, or the absolute path it was read from."""
    quantised: bytes | None = None
    """Networks in 8-bit integers, if there are any; they follow from the weights."""
    converted: bytes | None = None
    """Networks in floating point for OpenVINO, if there are any; they follow from the weights."""

    @property
    def sha256(self) -> str:
        """Hash of what decides the labels: the card and the weights."""
        digest = hashlib.sha256(self.card.to_json().encode())
        digest.update(self.weights)
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write a bundle folder of the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CARD).write_text(self.card.to_json(), encoding="utf-8")
        (folder / WEIGHTS).write_bytes(self.weights)
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
        Bundled name, folder, or zip with the files at its top or in one folder.

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
    (folder / CARD).write_text(card.to_json(), encoding="utf-8")


def _from_folder(folder: Path, source: str) -> Bundle:
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
        weights = (folder / WEIGHTS).read_bytes()
        optional = {
            field: (folder / name).read_bytes()
            for field, name in OPTIONAL.items()
            if (folder / name).exists()
        }
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"{folder} is no model: it must hold {CARD} and {WEIGHTS} ({error})"
        ) from error
    return Bundle(ModelCard.from_json(text, source), weights, source, **optional)


def _from_zip(path: Path) -> Bundle:
    try:
        with zipfile.ZipFile(path) as archive:
            card = next((n for n in archive.namelist() if Path(n).name == CARD), None)
            if card is None:
                raise ModelError(f"{path} holds no {CARD}; a model has {CARD} and {WEIGHTS}")
            folder = card.removesuffix(CARD)
            weights = archive.read(folder + WEIGHTS)
            optional = {
                field: archive.read(folder + name)
                for field, name in OPTIONAL.items()
                if folder + name in archive.namelist()
            }
            text = archive.read(card).decode()
    except UNREADABLE_ZIP as error:
        raise ModelError(f"{path} is no usable model: {error}") from error
    return Bundle(ModelCard.from_json(text, str(path)), weights, str(path), **optional)
