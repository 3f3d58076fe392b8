"""Bundles: found by name, folder or zip; everything else is refused in one line."""

from __future__ import annotations

import pickle
import zipfile
from typing import TYPE_CHECKING

import pytest
import torch
from tests.models.random_model import random_module, small_card

from napari_twostage.errors import ModelError
from napari_twostage.models import load_model
from napari_twostage.models.bundle import (
    CARD,
    CONVERTED,
    QUANTISED,
    WEIGHTS,
    bundled_names,
    read_bundle,
    write_bundle,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle of a few tensors."""
    path = tmp_path / "mine"
    tensors = {"weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(3)}
    write_bundle(path, small_card(name="mine"), tensors)
    return path


def zipped(folder: Path, inside: str) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, inside + file.name)
    return path


def test_what_is_written_is_read(folder: Path) -> None:
    bundle = read_bundle(folder)
    tensors = bundle.tensors()
    assert bundle.card == small_card(name="mine")
    assert bundle.source == str(folder)
    assert torch.equal(tensors["weight"], torch.arange(6.0).view(2, 3).half())
    assert torch.equal(tensors["count"], torch.tensor(3))


@pytest.mark.parametrize("inside", ["", "mine/"])
def test_a_zip_holds_the_same_model(folder: Path, inside: str) -> None:
    assert read_bundle(zipped(folder, inside)).sha256 == read_bundle(folder).sha256


@pytest.mark.parametrize("inside", ["", "mine/"])
@pytest.mark.parametrize(("file", "field"), [(QUANTISED, "quantised"), (CONVERTED, "converted")])
def test_converted_networks_travel_with_it_and_are_no_other_model(
    folder: Path, inside: str, file: str, field: str, tmp_path: Path
) -> None:
    before = read_bundle(folder)
    assert getattr(before, field) is None
    (folder / file).write_bytes(b"networks")
    bundle = read_bundle(zipped(folder, inside))
    assert getattr(bundle, field) == getattr(read_bundle(folder), field) == b"networks"
    assert bundle.sha256 == before.sha256
    bundle.save(tmp_path / "copy")
    for each in folder.iterdir():
        assert (tmp_path / "copy" / each.name).read_bytes() == each.read_bytes()


def test_networks_of_other_weights_do_not_stay(folder: Path) -> None:
    for name in (QUANTISED, CONVERTED):
        (folder / name).write_bytes(b"networks")
    tensors = read_bundle(folder).tensors()
    write_bundle(folder, small_card(name="mine", temperature=2.0), tensors)
    assert read_bundle(folder).converted == read_bundle(folder).quantised == b"networks"
    write_bundle(folder, small_card(name="mine"), {**tensors, "count": torch.tensor(4)})
    assert read_bundle(folder).converted is read_bundle(folder).quantised is None


def test_the_checksum_follows_card_and_weights(folder: Path) -> None:
    before = read_bundle(folder).sha256
    write_bundle(folder, small_card(name="mine", default_threshold=0.1), {"a": torch.ones(1)})
    other_weights = read_bundle(folder).sha256
    write_bundle(folder, small_card(name="mine", default_threshold=0.2), {"a": torch.ones(1)})
    assert len({before, other_weights, read_bundle(folder).sha256}) == 3


def test_the_bundled_model_is_found_by_its_name() -> None:
    assert "nuclei" in bundled_names()
    bundle = read_bundle("nuclei")
    assert (bundle.card.name, bundle.source) == ("nuclei", "nuclei")


def test_a_written_model_runs(tmp_path: Path) -> None:
    card = small_card()
    write_bundle(tmp_path / "model", card, random_module(card).state_dict())
    assert load_model(tmp_path / "model", device="cpu").card == card


def missing_path(folder: Path) -> Path:
    return folder / "nothing"


def pickled(folder: Path) -> Path:
    path = folder / "model.pkl"
    path.write_bytes(pickle.dumps({"weight": 1}))
    return path


def torch_file(folder: Path) -> Path:
    torch.save({"weight": torch.ones(1)}, folder / "model.pt")
    return folder / "model.pt"


def without_weights(folder: Path) -> Path:
    (folder / WEIGHTS).unlink()
    return folder


def without_card(folder: Path) -> Path:
    (folder / CARD).unlink()
    return folder


def damaged_weights(folder: Path) -> Path:
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[:-5])
    return folder


def pickle_for_weights(folder: Path) -> Path:
    torch.save({"weight": torch.ones(1)}, folder / WEIGHTS)
    return folder


def binary_card(folder: Path) -> Path:
    (folder / CARD).write_bytes(b"\xff\xfe\x00")
    return folder


def zip_without_weights(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / CARD, CARD)
    return path


def damaged_zip(folder: Path) -> Path:
    path = zipped(folder, "")
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)
    return path


def damaged_deflated_zip(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (CARD, WEIGHTS):
            archive.write(folder / file, file)
    content = bytearray(path.read_bytes())
    content[60:90] = b"\xff" * 30
    path.write_bytes(content)
    return path


REFUSED = [
    missing_path,
    pickled,
    torch_file,
    without_weights,
    without_card,
    damaged_weights,
    pickle_for_weights,
    binary_card,
    zip_without_weights,
    damaged_zip,
    damaged_deflated_zip,
]


@pytest.mark.parametrize("broken", REFUSED, ids=lambda make: make.__name__)
def test_what_is_no_model_is_refused_in_one_line(
    folder: Path, broken: Callable[[Path], Path]
) -> None:
    path = broken(folder)
    with pytest.raises(ModelError) as caught:
        load_model(path, device="cpu")
    assert "\n" not in str(caught.value)
    assert path.stem in str(caught.value)
