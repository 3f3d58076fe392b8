"""Weights to start from: what is read, and what is refused in one line."""

from __future__ import annotations

import random
import urllib.error
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from napari_twostage.errors import ModelError
from napari_twostage.models.networks.pretrained import encoder_part, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_come_back_as_saved(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)({"a": torch.arange(3.0)}, file)
    assert read_weights(file, {})["a"].tolist() == [0, 1, 2]


class Payload:
    """Unpickling this would run it."""

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return pytest.fail, ("a weights file ran code",)


@pytest.mark.parametrize(
    "content",
    [Payload(), torch.zeros(3), [torch.zeros(3)]],
    ids=["code", "tensor", "list"],
)
def test_a_file_of_anything_else_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(ModelError, match=r"^expected .*, found .*; .*$"):
        read_weights(tmp_path / "odd.pth", {})


@pytest.mark.parametrize("content", [b"", b"hello\n", b"PK\x03\x04", bytes(range(256))])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"odd{suffix}"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"^expected .*, found .*odd.*; .*$"):
        read_weights(file, {})


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("zipped", [True, False])
def test_flipped_bytes_never_surface_as_anything_but_a_model_error(
    zipped: bool, tmp_path: Path
) -> None:
    file = tmp_path / "odd.pth"
    torch.save({"a": torch.zeros(4)}, file, _use_new_zipfile_serialization=zipped)
    sound = file.read_bytes()
    noise = random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(sound)
        damaged[noise.randrange(len(sound))] = noise.randrange(256)
        file.write_bytes(damaged)
        try:
            read_weights(file, {})
        except ModelError:
            refused += 1
    assert refused > 10


def test_other_tensors_are_no_encoder() -> None:
    with pytest.raises(ModelError, match=r"^expected .*ResNet in odd\.pth, found .*; .*$"):
        encoder_part({"weights": torch.zeros(3)}, "odd.pth")


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(ModelError, match=r"^expected to download .*no route to host.*; .*$"):
        read_weights("imagenet", {"imagenet": "ResNet18_Weights.IMAGENET1K_V1"})
