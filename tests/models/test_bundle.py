"""Bundles: found by name, folder or zip; everything else is refused in one line."""

from __future__ import annotations

import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from dataclasses import replace
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
    write_card,
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


def test_the_least_area_of_objects_is_not_part_of_the_checksum(folder: Path) -> None:
    before, text = read_bundle(folder).sha256, (folder / "card.json").read_text()
    assert "least_object_um2" not in text  # earlier versions read the card
    weights = read_bundle(folder).tensors()
    write_bundle(folder, replace(read_bundle(folder).card, least_object_um2=8.0), weights)
    assert read_bundle(folder).card.least_object_um2 == 8
    assert read_bundle(folder).sha256 == before  # results go on, and count anew


def test_what_precisions_lose_is_stated_beside_the_checksum(folder: Path) -> None:
    before, text = read_bundle(folder).sha256, (folder / "card.json").read_text()
    assert "precision_loss" not in text  # earlier versions read the card
    weights, lost = read_bundle(folder).tensors(), {"bf16": 0.03, "int8": -1.0}
    write_bundle(folder, replace(read_bundle(folder).card, precision_loss=lost), weights)
    assert read_bundle(folder).card.precision_loss == lost
    assert read_bundle(folder).sha256 == before


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


def rezipped(folder: Path, method: int = zipfile.ZIP_DEFLATED, **contents: bytes) -> Path:
    """Zip of the folder's files, some with other contents."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in folder.iterdir():
            archive.writestr(file.name, contents.get(file.stem, file.read_bytes()))
    return path


def card_that_unpacks_to_much(folder: Path) -> Path:
    return rezipped(folder, card=bytes(32 << 20))


def weights_that_unpack_to_much(folder: Path) -> Path:
    return rezipped(folder, weights=bytes(32 << 20))


def zip_that_understates_its_weights(folder: Path) -> Path:
    path = rezipped(folder, weights=bytes(32 << 20))
    claimed = struct.pack("<L", 32 << 20), struct.pack("<L", 1000)
    path.write_bytes(path.read_bytes().replace(*claimed))
    return path


def zip_by_another_method(folder: Path) -> Path:
    return rezipped(folder, zipfile.ZIP_BZIP2)


def zip_of_many(folder: Path) -> Path:
    path = zipped(folder, "")
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(1001):
            archive.writestr(str(number), b"")
    return path


def zip_of_two_models(folder: Path) -> Path:
    path = zipped(folder, "a/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(folder / CARD, f"b/{CARD}")
    return path


def zip_that_leaves_its_folder(folder: Path) -> Path:
    return zipped(folder, "../")


def encrypted_zip(folder: Path) -> Path:
    path = zipped(folder, "")
    content = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(mark) + flags] |= 1
    path.write_bytes(content)
    return path


def sparse_weights(folder: Path) -> Path:
    with (folder / WEIGHTS).open("wb") as file:
        file.truncate(1 << 40)
    return folder


def folder_for_weights(folder: Path) -> Path:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()
    return folder


def header_that_points_outside(folder: Path) -> Path:
    entry = {"dtype": "F16", "shape": [1 << 40], "data_offsets": [0, 1 << 41]}
    header = json.dumps({"a": entry}).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header)
    return folder


def header_without_end(folder: Path) -> Path:
    (folder / WEIGHTS).write_bytes(b"\xff" * 7 + b"\x7f" + b"{" * 100)
    return folder


def nested_header(folder: Path) -> Path:
    header = b'{"a": ' + b"[" * 100_000
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header)
    return folder


def weights_that_are_no_numbers(folder: Path) -> Path:
    write_bundle(folder, small_card(name="mine"), {"a": torch.tensor([1.0, float("nan")])})
    return folder


def weights_that_overflow(folder: Path) -> Path:
    write_bundle(folder, small_card(name="mine"), {"a": torch.tensor([1e9])})  # in float16
    return folder


REFUSED = [
    card_that_unpacks_to_much,
    weights_that_unpack_to_much,
    zip_that_understates_its_weights,
    zip_by_another_method,
    zip_of_many,
    zip_of_two_models,
    zip_that_leaves_its_folder,
    encrypted_zip,
    sparse_weights,
    folder_for_weights,
    header_that_points_outside,
    header_without_end,
    nested_header,
    weights_that_are_no_numbers,
    weights_that_overflow,
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


@pytest.mark.parametrize(
    "broken", [card_that_unpacks_to_much, weights_that_unpack_to_much, sparse_weights]
)
def test_a_limit_is_checked_before_memory_is_taken(
    folder: Path, broken: Callable[[Path], Path]
) -> None:
    path = broken(folder)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError):
            read_bundle(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes among files")
@pytest.mark.parametrize("name", [CARD, WEIGHTS, CONVERTED])
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(ModelError, match=f"{name} is no regular file"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "~nobody-of-this-name/model"])
def test_a_name_that_no_file_has_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_bundle(name)
    assert str(caught.value).isprintable()


def test_a_network_larger_than_its_weights_is_refused_before_it_is_made(folder: Path) -> None:
    wide = {"name": "lite_unet", "widths": [4096] * 5}  # 14 GB of weights
    write_bundle(folder, small_card(architecture=wide), {"a": torch.ones(1)})
    with pytest.raises(ModelError, match="weights do not fit"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize(
    "architecture",
    [
        {"name": "lite_unet", "widths": [16, -1, 8, 8, 8]},
        {"name": "lite_unet", "widths": ["a"] * 5},
        {"name": "lite_unet", "widths": [16]},
        {"name": "unet", "width": 1e-9, "backbone": "../x"},
        {"name": "fcn", "width": 7},
    ],
)
def test_sizes_that_no_layer_has_are_refused_in_one_line(
    folder: Path, architecture: dict[str, object]
) -> None:
    write_bundle(folder, small_card(architecture=architecture), {"a": torch.ones(1)})
    with pytest.raises(ModelError, match="mine") as caught:
        load_model(folder, device="cpu")
    assert str(caught.value).isprintable()


def test_a_model_with_context_is_refused_in_one_line(folder: Path) -> None:
    write_card(folder, replace(read_bundle(folder).card, context=True))
    with pytest.raises(ModelError, match=r"\A[^\n]*window alone, .* train the model again[^\n]*\Z"):
        read_bundle(folder)
